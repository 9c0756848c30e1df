"""The labels of subjects: set by an ingest, added from a table, listed."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from embstore.errors import EmbstoreError
from embstore.ingest.label_join import join_labels
from embstore.ingest.label_report import LocationCount, count_locations, stored_subject, suspect_notes
from embstore.ingest.report import Report
from embstore.ingest.work import check_dataset
from embstore.sources.columns import named_columns
from embstore.sources.kaggle import KAGGLE_2018_BEFORE, KAGGLE_2018_SCHEME
from embstore.sources.labels import LABEL_LEVELS, read_label_table
from embstore.sources.location_map import Mapped, map_locations, read_location_map
from embstore.sources.record import Label, Subject, labels_of
from embstore.store import TABLES, LabelRow, LocationMapRow, Store, now, put_rows, quoted, require_dataset, rows
from embstore.tabular import Tabular, arrow_table

LABEL_SETS_SQL = """
SELECT label_set, level, count(DISTINCT location) AS locations, count(DISTINCT subject_id) AS subjects,
    count(*) AS labels, max(revision) AS revision, string_agg(DISTINCT source, ';' ORDER BY source) AS source
FROM labels GROUP BY label_set, level ORDER BY label_set, level
"""
REVISIONS_SQL = """
SELECT label_set, max(revision) AS revision
FROM (SELECT label_set, revision FROM labels UNION ALL SELECT label_set, revision FROM location_maps)
GROUP BY label_set ORDER BY label_set
"""


@dataclass(frozen=True)
class LabelSet:
    """One label set at one level, with how many labels it has and their sources (separated by `;`)."""

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
    """What a table of labels contains and how its subjects joined the dataset."""

    label_sets: list[str]
    level: str
    subjects: int  # in the table
    joined: dict[str, int]  # way -> number of subjects of the dataset that have labels now
    changed: int  # subjects, counted in each label set
    failures: list[str]
    notes: list[str]
    version: int = 0  # of the table `labels` now
    locations: tuple[LocationCount, ...] = ()  # of the subjects that joined

    def to_arrow(self) -> pa.Table:
        """Return how many subjects were joined in which way: columns `joined_by` and `subjects`."""
        counts = list(self.joined.values())
        return pa.table({"joined_by": pa.array(self.joined, pa.string()), "subjects": pa.array(counts, pa.int64())})

    @property
    def headline(self) -> str:
        """Return the label sets of the table, and how many subjects changed."""
        return f"{', '.join(self.label_sets)}: {self.changed} of {self.subjects} {self.level}s new or changed"


def add_labels(
    store: Store,
    path: str | Path,
    *,
    dataset: str,
    scheme: str | None = None,
    level: str | None = None,
    columns: Mapping[str, str] | None = None,
    location_map: str | Path | None = None,
    dry_run: bool = False,
) -> LabelsAdded:
    """Make a table's locations the labels of a dataset (writes); they replace the subject's earlier labels.

    See `join_labels` for how subjects are matched. `columns` renames the table's columns (`{"Where is it?":
    "locations"}`). Changed subjects get the next revision; earlier table versions keep the old labels. `location_map`
    is a table (`from`, `to`) of other names for locations, or `hpa`, or a grouping of SubCell's; what it renamed is
    recorded with the revision. The notes list suspects among the names of locations. With `dry_run` nothing is
    written, and `changed` is 0. Raises EmbstoreError if no subject of the dataset is named, and for an unknown level.
    """
    check_dataset(dataset)
    path = Path(path)
    if level not in (None, *LABEL_LEVELS):
        raise EmbstoreError(f"the level is {level!r}; wanted one of {', '.join(LABEL_LEVELS)}")
    renames = read_location_map(location_map)
    table = read_label_table(path, scheme=scheme, level=level, renaming=named_columns(columns))
    joined = join_labels(store, table, dataset)
    label_sets = [f"{dataset}/{scheme}" for scheme in joined.table.schemes]
    check_levels(store, dataset, table.locations, path.name, "give another name with --scheme")
    if not any(joined.how.values()):
        require_dataset(store, dataset)
        raise EmbstoreError(
            f"{path} names no {table.level} of the dataset {dataset!r}; check --level and what its columns name"
        )
    mapped = map_locations(labels_of(joined.table.locations, path.name), renames)
    suspected = suspect_notes(store, dataset, mapped.labels, joined.table.locations)
    changed = 0 if dry_run else set_labels(store, dataset, mapped.labels, joined.table.locations, mapped=mapped)
    return LabelsAdded(
        label_sets=label_sets,
        level=table.level,
        subjects=len({subject for _, _, subject in table.locations}),
        joined=dict(joined.how),
        changed=changed,
        failures=[failure.error for failure in table.failures],
        notes=[*table.notes, *joined.notes, *mapped.notes, *suspected],
        version=store.versions()["labels"],
        locations=tuple(count_locations(dataset, mapped.labels)),
    )


def report_labels(report: Report, store: Store | None, mapped: Mapped, asked: Collection[Subject]) -> None:
    """Add to a report how often each location of some labels occurs, what was renamed, and which names are suspects."""
    report.notes += (*mapped.notes, *suspect_notes(store, report.dataset, mapped.labels, asked))
    report.locations = count_locations(report.dataset, mapped.labels)


def check_levels(store: Store, dataset: str, subjects: Iterable[Subject], source: str, todo: str) -> None:
    """Raise EmbstoreError where a label set has labels of another level than these subjects, which are of `source`."""
    levels = dict.fromkeys((f"{dataset}/{scheme}", level) for scheme, level, _ in subjects)
    known: dict[str, list[str]] = {}
    for each in list_labels(store):
        known.setdefault(each.label_set, []).append(each.level)
    for label_set, level in levels:
        # an older version may have made a label set of two levels, which can be added to
        if level not in known.get(label_set, [level]):
            raise EmbstoreError(
                f"{label_set} has labels of {known[label_set][0]}s and {source} has labels of {level}s; one label set "
                f"has one level: {todo}"
            )


def list_labels(store: Store) -> LabelSets:
    """Return a record for each label set and level: how many locations, subjects and labels it contains."""
    return LabelSets(tuple(LabelSet(**row) for row in rows(store, *list_labels_sql())))


def list_labels_sql() -> tuple[str, dict[str, Any]]:
    """Return the SQL that `list_labels` runs, and its parameters."""
    return LABEL_SETS_SQL.strip(), {}


def set_labels(
    store: Store,
    dataset: str,
    labels: Sequence[Label],
    asked: Iterable[Subject] = (),
    *,
    mapped: Mapped | None = None,
) -> int:
    """Make these the labels of their subjects in `<dataset>/<scheme>` (writes); returns how many subjects changed.

    A subject whose labels differ from the stored ones gets the new ones at the next revision; earlier table versions
    keep the old ones. `asked` are further subjects, as (scheme, level, subject), that now have no location at all.
    What a map renamed (`mapped`) is recorded where a subject of that label set changed; all subjects that changed then
    get one revision, which the label set did not have before.
    """
    stored: dict[Subject, list[LabelRow]] = {}
    for row in cast("list[LabelRow]", rows(store, "SELECT * FROM labels ORDER BY ALL")):
        stored.setdefault((row["label_set"], row["level"], row["subject_id"]), []).append(row)
    spelled = {(label_set, row["location"]) for (label_set, _, _), old in stored.items() for row in old}
    wanted = {stored_subject(dataset, *named): dict[str, Label]() for named in asked}
    for label in labels:
        subject = stored_subject(dataset, label.scheme, label.level, label.subject)
        wanted.setdefault(subject, {})[_kept_spelling(subject[0], label, spelled)] = label

    changed = {subject: new for subject, new in wanted.items() if not _same(stored.get(subject, []), new)}
    recorded = {f"{dataset}/{scheme}" for scheme, _ in (mapped.renamed if mapped else ())} & {s for s, _, _ in changed}
    revisions = _unused_revisions(store, recorded)
    upserts = [
        row
        for subject, new in changed.items()
        for row in _next_rows(subject, new, revisions.get(subject[0]) or _next_revision(stored.get(subject, [])))
    ]
    store.upsert("labels", upserts)
    # deleted last: readers, or a kill, in between see a location too many, never a subject without any
    _drop_labels(
        store, [(s, r["location"]) for s in changed for r in stored.get(s, []) if r["location"] not in changed[s]]
    )
    if mapped is not None and revisions:
        put_rows(store, TABLES["location_maps"], _map_rows(dataset, mapped, revisions))
    return len(changed)


def _kept_spelling(label_set: str, label: Label, spelled: Container[tuple[str, str]]) -> str:
    """Return a label's location as its label set spells it: old ones keep the names that Kaggle's indices had then."""
    before = KAGGLE_2018_BEFORE.get(label.location, "") if label.scheme == KAGGLE_2018_SCHEME else ""
    return before if (label_set, before) in spelled else label.location


def _map_rows(dataset: str, mapped: Mapped, revisions: Mapping[str, int]) -> list[LocationMapRow]:
    """Return a row for each name that was renamed in a label set of which a subject changed."""
    return [
        {
            "label_set": f"{dataset}/{scheme}",
            "revision": revisions[f"{dataset}/{scheme}"],
            "name": name,
            "locations": list(locations),
            "n_labels": n_labels,
            "map": mapped.map,
            "source": mapped.source,
            "added": now(),
        }
        for (scheme, name), (locations, n_labels) in mapped.renamed.items()
        if f"{dataset}/{scheme}" in revisions
    ]


def _next_revision(old: Sequence[LabelRow]) -> int:
    return 1 + max((row["revision"] for row in old), default=0)


def _unused_revisions(store: Store, label_sets: Collection[str]) -> dict[str, int]:
    """Return for each label set the revision after all that its labels and its records of maps have."""
    if not label_sets:
        return {}
    highest = {row["label_set"]: row["revision"] for row in rows(store, REVISIONS_SQL)}
    return {label_set: 1 + highest.get(label_set, 0) for label_set in label_sets}


def _next_rows(subject: Subject, new: Mapping[str, Label], revision: int) -> list[LabelRow]:
    label_set, level, subject_id = subject
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


def _drop_labels(store: Store, stale: Sequence[tuple[Subject, str]]) -> None:
    together: dict[tuple[str, str, str], list[str]] = {}
    for (label_set, level, subject), location in stale:
        together.setdefault((label_set, level, location), []).append(quoted(subject))
    for (label_set, level, location), subjects in together.items():
        where = f"label_set = {quoted(label_set)} AND level = {quoted(level)} AND location = {quoted(location)}"
        store.delete("labels", f"{where} AND subject_id IN ({', '.join(subjects)})")
