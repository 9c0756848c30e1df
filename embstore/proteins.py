"""Which proteins the store knows, their groups, and the labels asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embstore.ids import connected_groups
from embstore.query import rows
from embstore.sources.record import Label
from embstore.store import Store, quoted


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


Subject = tuple[str, str, str]  # label set, level, subject id


def set_labels(store: Store, dataset: str, labels: Sequence[Label], asked: Iterable[Subject] = ()) -> int:
    """Make these the labels of their subjects in `<dataset>/<scheme>`; returns how many subjects changed.

    A subject whose labels differ from the stored ones gets the new ones at the next revision; earlier table versions
    keep the old ones. `asked` are further subjects, as (scheme, level, subject), that now have no location at all.
    """
    wanted = {_subject(dataset, *named): dict[str, Label]() for named in asked}
    for label in labels:
        wanted.setdefault(_subject(dataset, label.scheme, label.level, label.subject), {})[label.location] = label
    stored: dict[Subject, list[dict[str, Any]]] = {}
    for row in rows(store, "SELECT * FROM labels ORDER BY ALL"):
        stored.setdefault((row["label_set"], row["level"], row["subject_id"]), []).append(row)

    changed = {subject: new for subject, new in wanted.items() if not _same(stored.get(subject, []), new)}
    upserts = []
    for (label_set, level, subject), new in changed.items():
        revision = 1 + max((row["revision"] for row in stored.get((label_set, level, subject), [])), default=0)
        key = {"label_set": label_set, "level": level, "subject_id": subject, "revision": revision}
        upserts += [key | {"location": o, "grade": v.grade, "source": v.source} for o, v in new.items()]
    store.upsert("labels", upserts)
    # dropped last: a reader or a kill in between meets a location too many, never a subject without any
    _drop_labels(
        store, [(s, r["location"]) for s in changed for r in stored.get(s, []) if r["location"] not in changed[s]]
    )
    return len(changed)


def _same(old: list[dict[str, Any]], new: Mapping[str, Label]) -> bool:
    return {(r["location"], r["grade"]) for r in old} == {(o, v.grade) for o, v in new.items()}


def _subject(dataset: str, scheme: str, level: str, subject: str) -> Subject:
    return f"{dataset}/{scheme}", level, subject if level == "protein" else f"{dataset}/{subject}"


def _drop_labels(store: Store, stale: Sequence[tuple[Subject, str]]) -> None:
    together: dict[tuple[str, str, str], list[str]] = {}
    for (label_set, level, subject), location in stale:
        together.setdefault((label_set, level, location), []).append(quoted(subject))
    for (label_set, level, location), subjects in together.items():
        where = f"label_set = {quoted(label_set)} AND level = {quoted(level)} AND location = {quoted(location)}"
        store.delete("labels", f"{where} AND subject_id IN ({', '.join(subjects)})")


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
