"""The proteins of a store, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from embstore.ids import connected_groups
from embstore.store.connection import select
from embstore.store.row_types import ProteinRow
from embstore.store.store import Store


def add_proteins(store: Store, named: Iterable[tuple[Sequence[str], Sequence[str]]]) -> int:
    """Add the proteins of images or profiles, given as (protein ids, genes), and update every group that they join.

    A group is a connected component over ids that occur together, within and across datasets. Writes only rows that
    change, and returns how many. See `join_groups` for two processes that do this at once.
    """
    pairs, n_written = list(named), 0
    while changed := _changed(store, pairs):  # repeated, because another process may have written in between
        store.upsert("proteins", changed)
        n_written += len(changed)
    return n_written


def join_groups(store: Store) -> int:
    """Join the groups of proteins that a stored image or profile names together (writes); return how many rows changed.

    Two ingests that add proteins at the same time may each overwrite a group that the other joined. Each therefore
    calls this function after its images are stored: whichever reads last sees the images of both.
    """
    sql = """
        SELECT DISTINCT protein_ids FROM (FROM images SELECT protein_ids UNION ALL FROM profiles SELECT protein_ids)
        ORDER BY protein_ids"""
    linked = select(store, sql, tables=["images", "profiles"])["protein_ids"].to_pylist()
    return add_proteins(store, [(ids, ()) for ids in linked if ids])


def _changed(store: Store, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[ProteinRow]:
    """Return the rows of proteins that are new, or whose group or gene changed."""
    known: dict[str, ProteinRow] = {row["protein_id"]: row for row in store.read("proteins").to_pylist()}
    linked = [(p["group_id"], p["protein_id"]) for p in known.values()] + [ids for ids, _ in pairs]
    genes = {protein: gene for ids, names in pairs for protein, gene in _named(ids, names)}
    rows = (_protein(protein, group, genes, known.get(protein)) for protein, group in connected_groups(linked).items())
    return [row for row in rows if _differs(row, known.get(row["protein_id"]))]


def _named(ids: Sequence[str], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    # ids and genes of one antibody are in the same order; several ids of one gene all belong to it, and lists of
    # different lengths cannot be paired
    if len(names) == 1:
        return [(protein, names[0]) for protein in ids]
    return zip(ids, names, strict=True) if len(ids) == len(names) else ()


def _differs(row: ProteinRow, old: ProteinRow | None) -> bool:
    return old is None or (old["group_id"], old["gene"]) != (row["group_id"], row["gene"])


def _protein(protein: str, group: str, genes: Mapping[str, str], old: ProteinRow | None) -> ProteinRow:
    """Return the row of a protein; a gene that is already known is kept."""
    unnamed = protein.removeprefix("gene:")
    gene = (old and old["gene"]) or unnamed
    return {
        "protein_id": protein,
        "gene": (genes.get(protein) or unnamed) if gene == unnamed else gene,
        "synonyms": (old and old["synonyms"]) or [],
        "group_id": group,
        "seen_in_pretraining": (old and old["seen_in_pretraining"]) or [],
    }


def protein_names(store: Store) -> dict[str, list[str]]:
    """Return the ids of the proteins that each name stands for, sorted.

    A name, in lower case, is a gene symbol, a synonym, or a protein id with or without its namespace. Reads only.
    """
    columns = store.read("proteins", ["protein_id", "gene", "synonyms"]).sort_by("protein_id").to_pydict()
    named: dict[str, list[str]] = {}
    for protein, gene, synonyms in zip(*columns.values(), strict=True):
        for name in {n.lower() for n in (protein, protein.split(":", 1)[1], gene, *(synonyms or ()))}:
            named.setdefault(name, []).append(protein)
    return named
