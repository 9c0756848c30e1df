"""Which proteins the store knows, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from embstore.ids import connected_groups
from embstore.store.row_types import ProteinRow
from embstore.store.store import Store


def add_proteins(store: Store, named: Iterable[tuple[Sequence[str], Sequence[str]]]) -> int:
    """Add the proteins of images or profiles, given as (protein ids, genes), and renew every group that they join.

    A group is a connected component over ids that occur together, within and across datasets. Writes only the rows
    that change; returns how many.
    """
    known: dict[str, ProteinRow] = {row["protein_id"]: row for row in store.read("proteins").to_pylist()}
    pairs = list(named)
    linked = [(p["group_id"], p["protein_id"]) for p in known.values()] + [ids for ids, _ in pairs]
    groups = connected_groups(linked)
    genes = {protein: gene for ids, names in pairs for protein, gene in _named(ids, names)}
    rows = (_protein(protein, group, genes, known.get(protein)) for protein, group in groups.items())
    changed = [row for row in rows if _differs(row, known.get(row["protein_id"]))]
    store.upsert("proteins", changed)
    return len(changed)


def _named(ids: Sequence[str], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    # ids and genes of one antibody come in one order; a list of another length cannot be paired
    return zip(ids, names, strict=True) if len(ids) == len(names) else ()


def _differs(row: ProteinRow, old: ProteinRow | None) -> bool:
    return old is None or (old["group_id"], old["gene"]) != (row["group_id"], row["gene"])


def _protein(protein: str, group: str, genes: Mapping[str, str], old: ProteinRow | None) -> ProteinRow:
    """Return the row of a protein; a gene that is known already stays."""
    unnamed = protein.removeprefix("gene:")
    gene = (old and old["gene"]) or unnamed
    return {
        "protein_id": protein,
        "gene": (genes.get(protein) or unnamed) if gene == unnamed else gene,
        "synonyms": (old and old["synonyms"]) or [],
        "group_id": group,
        "seen_in_pretraining": (old and old["seen_in_pretraining"]) or [],
    }


def find_proteins(store: Store, name: str) -> list[str]:
    """Return the ids of the proteins that a gene symbol, a synonym or a protein id (namespace or not) names."""
    table = store.read("proteins", ["protein_id", "gene", "synonyms"])
    return [
        row["protein_id"]
        for row in table.to_pylist()
        if name.lower() in {row["protein_id"].lower(), row["protein_id"].split(":", 1)[1].lower(), row["gene"].lower()}
        or name.lower() in {s.lower() for s in row["synonyms"] or []}
    ]
