"""The labels of subjects: set by an ingest, added from a table, listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from embstore.errors import EmbstoreError
from embstore.ingest.label_join import join_labels
from embstore.ingest.work import check_dataset
from embstore.sources.columns import named_columns
from embstore.sources.labels import LABEL_LEVELS, LabelTable, read_label_table
from embstore.sources.record import Label, Subject, labels_of
from embstore.store import LabelRow, Store, quoted, require_dataset, rows
from embstore.tabular import Tabular, arrow_table

LABEL_SETS_SQL = """
SELECT label_set, level, count(DISTINCT location) AS locations, count(DISTINCT subject_id) AS subjects,
    count(*) AS labels, max(revision) AS revision, string_agg(DISTINCT source, ';' ORDER BY source) AS source
FROM labels GROUP BY label_set, level ORDER BY label_set, level
"""


@dataclass(frozen=True)
class LabelSet:
    """One label set at one level, with how many labels it has and where they are from (sources joined by `;`)."""

    label_set: str
    level: str
    locations: int
    subjects: int
    labels: int
    revision: int
    source: str


@dataclass(frozen=True, repr=False)
class LabelSets(Tabular):
    """The label sets of a store, by name and level; iterates over them."""

    records: tuple[LabelSet, ...]

    def __iter__(self) -> Iterator[LabelSet]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def to_arrow(self) -> pa.Table:
        """Return a row for each label set and level."""
        return arrow_table(self.records, LabelSet)

    @property
    def headline(self) -> str:
        """Return how many label sets there are."""
        return f"{len(self.records)} label sets"


@dataclass(frozen=True, repr=False)
class LabelsAdded(Tabular):
    """What a table of labels contains and how it met the dataset."""

    label_sets: list[str]
    level: str
    subjects: int  # in the table
    joined: dict[str, int]  # how -> subjects of the dataset that have labels now
    changed: int  # subjects, counted in each label set
    failures: list[str]
    notes: list[str]
    version: int = 0  # of the table `labels` now

    def to_arrow(self) -> pa.Table:
        """Return how many subjects were joined in which way: columns `joined_by` and `subjects`."""
        counts = list(self.joined.values())
        return pa.table({"joined_by": pa.array(self.joined, pa.string()), "subjects": pa.array(counts, pa.int64())})

    @property
    def headline(self) -> str:
        """Return which label sets the table gave, and how many subjects changed."""
        return f"{', '.join(self.label_sets)}: {self.changed} of {self.subjects} {self.level}s new or changed"


def add_labels(
    store: Store,
    path: str | Path,
    *,
    dataset: str,
    scheme: str | None = None,
    level: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> LabelsAdded:
    """Make a table's locations the labels of a dataset; what it says of a subject replaces what was said before.

    `join_labels` tells how subjects join, `columns` what the table's columns are called here (`{"Where is it?":
    "locations"}`). Changed subjects get the next revision; earlier table versions keep the old labels. EmbstoreError
    where nothing in the dataset is meant. Writes.
    """
    check_dataset(dataset)
    path = Path(path)
    if level not in (None, *LABEL_LEVELS):
        raise EmbstoreError(f"the level is {level!r}; wanted one of {', '.join(LABEL_LEVELS)}")
    table = read_label_table(path, scheme=scheme, level=level, renaming=named_columns(columns))
    joined = join_labels(store, table, dataset)
    label_sets = [f"{dataset}/{scheme}" for scheme in joined.table.schemes]
    _check_level(store, [f"{dataset}/{scheme}" for scheme in table.schemes], table)
    if not any(joined.how.values()):
        require_dataset(store, dataset)
        raise EmbstoreError(
            f"{path} names no {table.level} of the dataset {dataset!r}; check --level and what its columns name"
        )
    changed = set_labels(store, dataset, labels_of(joined.table.said, path.name), joined.table.said)
    return LabelsAdded(
        label_sets=label_sets,
        level=table.level,
        subjects=len({subject for _, _, subject in table.said}),
        joined=dict(joined.how),
        changed=changed,
        failures=[failure.error for failure in table.failures],
        notes=[*table.notes, *joined.notes],
        version=store.versions()["labels"],
    )


def _check_level(store: Store, label_sets: Sequence[str], table: LabelTable) -> None:
    for known in list_labels(store):
        if known.label_set in label_sets and known.level != table.level:
            raise EmbstoreError(
                f"{known.label_set} holds labels of each {known.level} and {table.path.name} speaks of each "
                f"{table.level}; one label set has one level: give another name with --scheme"
            )


def list_labels(store: Store) -> LabelSets:
    """Return a record for each label set and level: how many locations, subjects and labels it contains."""
    return LabelSets(tuple(LabelSet(**row) for row in rows(store, *list_labels_sql())))


def list_labels_sql() -> tuple[str, dict[str, Any]]:
    """Return the SQL that `list_labels` runs, and its parameters."""
    return LABEL_SETS_SQL.strip(), {}


def set_labels(store: Store, dataset: str, labels: Sequence[Label], asked: Iterable[Subject] = ()) -> int:
    """Make these the labels of their subjects in `<dataset>/<scheme>`; returns how many subjects changed.

    A subject whose labels differ from the stored ones gets the new ones at the next revision; earlier table versions
    keep the old ones. `asked` are further subjects, as (scheme, level, subject), that now have no location at all.
    """
    wanted = {_subject(dataset, *named): dict[str, Label]() for named in asked}
    for label in labels:
        wanted.setdefault(_subject(dataset, label.scheme, label.level, label.subject), {})[label.location] = label
    stored: dict[Subject, list[LabelRow]] = {}
    for row in cast("list[LabelRow]", rows(store, "SELECT * FROM labels ORDER BY ALL")):
        stored.setdefault((row["label_set"], row["level"], row["subject_id"]), []).append(row)

    changed = {subject: new for subject, new in wanted.items() if not _same(stored.get(subject, []), new)}
    upserts = [row for subject, new in changed.items() for row in _next_rows(subject, new, stored.get(subject, []))]
    store.upsert("labels", upserts)
    # dropped last: a reader or a kill in between meets a location too many, never a subject without any
    _drop_labels(
        store, [(s, r["location"]) for s in changed for r in stored.get(s, []) if r["location"] not in changed[s]]
    )
    return len(changed)


def _next_rows(subject: Subject, new: Mapping[str, Label], old: Sequence[LabelRow]) -> list[LabelRow]:
    label_set, level, subject_id = subject
    revision = 1 + max((row["revision"] for row in old), default=0)
    return [
        {
            "label_set": label_set,
            "level": level,
            "subject_id": subject_id,
            "location": location,
            "grade": label.grade,
            "source": label.source,
            "revision": revision,
        }
        for location, label in new.items()
    ]


def _same(old: Sequence[LabelRow], new: Mapping[str, Label]) -> bool:
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
