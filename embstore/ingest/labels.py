"""Labels after the ingest: a new release of annotations, and what is asked of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.ingest.work import check_dataset
from embstore.sources.labels import LEVELS, LabelTable, read_label_table
from embstore.sources.record import Label, Subject, labels_of
from embstore.store import Store, quoted, rows

SUMMARY = """
SELECT label_set, level, count(DISTINCT location) AS locations, count(DISTINCT subject_id) AS subjects,
    count(*) AS labels, max(revision) AS revision, string_agg(DISTINCT source, ';' ORDER BY source) AS source
FROM labels GROUP BY label_set, level ORDER BY label_set, level
"""
PROTEINS = """
SELECT DISTINCT p.protein_id, p.gene FROM proteins AS p
INNER JOIN (
    SELECT unnest(protein_ids) AS protein_id FROM images WHERE dataset = $dataset
    UNION SELECT unnest(protein_ids) FROM profiles WHERE dataset = $dataset
) USING (protein_id)
"""
KEYS = {
    "image": "SELECT DISTINCT image_id AS id FROM images WHERE dataset = $dataset",
    "cell": "SELECT cell_id AS id FROM cells WHERE dataset = $dataset",
}


@dataclass(frozen=True)
class LabelsAdded:
    """What a table of labels said and how it met the dataset."""

    label_sets: list[str]
    level: str
    subjects: int  # in the table
    joined: dict[str, int]  # how -> subjects of the dataset that have labels now
    changed: int  # subjects, counted in each label set
    failures: list[str]
    notes: list[str]


def add_labels(
    store: Store, path: Path, *, dataset: str, scheme: str | None = None, level: str | None = None
) -> LabelsAdded:
    """Make a table's locations the labels of a dataset; what it says of a subject replaces what was said before.

    Proteins join by id, else by gene; images and cells by id or source key. Changed subjects get the next revision;
    earlier table versions keep the old labels. EmbstoreError where nothing in the dataset is meant. Writes.
    """
    check_dataset(dataset)
    if level not in (None, *LEVELS):
        raise EmbstoreError(f"the level is {level!r}; wanted one of {', '.join(LEVELS)}")
    table = read_label_table(path, scheme=scheme, level=level)
    joined, how = _by_protein(store, table, dataset) if table.level == "protein" else _by_key(store, table, dataset)
    for row in list_labels(store):
        if row["label_set"] in {f"{dataset}/{s}" for s in table.schemes} and row["level"] != table.level:
            raise EmbstoreError(
                f"{row['label_set']} holds labels of each {row['level']} and {path.name} speaks of each {table.level}; "
                "one label set has one level: give another name with --scheme"
            )
    if not any(how.values()):
        raise EmbstoreError(
            f"{path} names no {table.level} of the dataset {dataset!r}; check --dataset and --level, or ingest it first"
        )
    changed = set_labels(store, dataset, labels_of(joined.said, path.name), joined.said)
    subjects = len({subject for _, _, subject in table.said})
    failures = [failure.error for failure in table.failures]
    sets = [f"{dataset}/{scheme}" for scheme in joined.schemes]
    return LabelsAdded(sets, table.level, subjects, how, changed, failures, list(table.notes))


def list_labels(store: Store) -> list[dict[str, Any]]:
    """Return a row for each label set and level: how many locations, subjects and labels it holds."""
    return rows(store, SUMMARY)


def _by_protein(store: Store, table: LabelTable, dataset: str) -> tuple[LabelTable, dict[str, int]]:
    """Take the store's own ids of proteins that it knows by gene; all others keep the table's, as ingest does."""
    there = {row["protein_id"]: row["gene"] for row in rows(store, PROTEINS, {"dataset": dataset})}
    by_gene = {gene: protein for protein, gene in there.items()}
    ids = {
        s: s if s in there else by_gene.get(table.genes.get(s, ""), s)
        for s in dict.fromkeys(subject for _, _, subject in table.said)
    }
    met = [(s, t) for s, t in ids.items() if t in there]
    by_id = sum(s == t for s, t in met)
    return _renamed(table, ids), {"id": by_id, "gene": len(met) - by_id}


def _by_key(store: Store, table: LabelTable, dataset: str) -> tuple[LabelTable, dict[str, int]]:
    """Keep what speaks of images or cells that are here: published tables name thousands that are not."""
    prefix = f"{dataset}/"
    keys = [row["id"].removeprefix(prefix) for row in rows(store, KEYS[table.level], {"dataset": dataset})]
    subjects = {subject.removeprefix(prefix): subject for _, _, subject in table.said}
    ids = {subjects[key]: key for key in keys if key in subjects}
    by_name = {subjects[n]: key for key in keys if key not in subjects and (n := Path(key).name) in subjects}
    return _renamed(table, by_name | ids), {"id": len(ids), "name": len(by_name.keys() - ids.keys())}


def _renamed(table: LabelTable, ids: Mapping[str, str]) -> LabelTable:
    """Return the table with other names for its subjects, those without one left out; two under one name unite."""
    said: dict[Subject, dict[str, int | None]] = {}
    for (scheme, level, subject), locations in _named(table, ids):
        said.setdefault((scheme, level, ids[subject]), {}).update(locations)
    return replace(table, said=said)


def _named(table: LabelTable, ids: Mapping[str, str]) -> Iterable[tuple[Subject, Mapping[str, int | None]]]:
    return ((subject, locations) for subject, locations in table.said.items() if subject[2] in ids)


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
