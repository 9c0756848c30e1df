"""Which proteins the store knows, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embstore.ids import connected_groups
from embstore.store.store import Store


def add_proteins(store: Store, found: Iterable[tuple[Sequence[str], Sequence[str]]]) -> int:
    """Add the proteins of images or profiles, given as (protein ids, genes), and renew every group that they join.

    A group is a connected component over ids that occur together, within and across datasets. Writes only the rows
    that change; returns how many.
    """
    known = {row["protein_id"]: row for row in store.read("proteins").to_pylist()}
    pairs = list(found)
    linked = [(p["group_id"], p["protein_id"]) for p in known.values()] + [ids for ids, _ in pairs]
    groups = connected_groups(linked)
    genes = {protein: gene for ids, names in pairs for protein, gene in _named(ids, names)}
    changed = []
    for protein, group in groups.items():
        old = known.get(protein)
        unnamed = protein.removeprefix("gene:")
        gene = (old or {}).get("gene") or unnamed
        if gene == unnamed:
            gene = genes.get(protein) or unnamed
        if old is None or (old["group_id"], old["gene"]) != (group, gene):
            changed.append(_protein(protein, gene, group, old or {}))
    store.upsert("proteins", changed)
    return len(changed)


def _named(ids: Sequence[str], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    # ids and genes of one antibody come in one order; a list of another length cannot be paired
    return zip(ids, names, strict=True) if len(ids) == len(names) else ()


def _protein(protein: str, gene: str, group: str, old: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"synonyms": old.get("synonyms") or [], "seen_in_pretraining": old.get("seen_in_pretraining") or []}
    return {"protein_id": protein, "gene": gene, "group_id": group} | kept


def find_proteins(store: Store, name: str) -> list[str]:
    """Return the ids of the proteins that a gene symbol, a synonym or a protein id (namespace or not) names."""
    table = store.read("proteins", ["protein_id", "gene", "synonyms"])
    return [
        row["protein_id"]
        for row in table.to_pylist()
        if name.lower() in {row["protein_id"].lower(), row["protein_id"].split(":", 1)[1].lower(), row["gene"].lower()}
        or name.lower() in {s.lower() for s in row["synonyms"] or []}
    ]
