"""The locations beside external embeddings: labels of what their rows are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embstore.errors import EmbstoreError
from embstore.ids import is_isoform, split_list
from embstore.sources.location_map import LocationMap, Mapped, map_locations
from embstore.sources.record import Label, Subject
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import ExternalEmbeddings


@dataclass(frozen=True, repr=False)
class RowLabels:
    """The labels of a file's rows, those that they were asked of, and notes on rows that share a protein."""

    mapped: Mapped
    asked: tuple[Subject, ...]
    notes: tuple[str, ...]


def row_labels(
    external: ExternalEmbeddings,
    good: Sequence[int],
    subjects: Sequence[Sequence[Subject]],
    location_map: LocationMap | None,
) -> RowLabels:
    """Return the labels of good rows, given as numbers; `subjects` are of each row of the file what it is of.

    A subject of several rows has the locations of all of them.
    """
    name = external.path.name
    pairs = [(subject, row) for row in good for subject in subjects[row]]
    labels = {Label(*subject, location, None, name) for subject, row in pairs for location in external.locations[row]}
    ordered = sorted(labels, key=lambda label: (label.subject, label.location))
    asked = tuple(dict.fromkeys(subject for subject, _ in pairs))
    return RowLabels(map_locations(ordered, location_map), asked, _shared_labels_note(external, good, subjects))


def refuse_labels_of_nothing(columns: Columns) -> None:
    """Raise EmbstoreError where a column of locations is named, and none for what the rows are of."""
    if columns.label and not (columns.identifier or columns.gene):
        raise EmbstoreError(
            f"the locations in {columns.label} would be labels of nothing: no column names the proteins of the rows; "
            "name it with --id-column or --gene-column, or leave out --label-column"
        )


def _shared_labels_note(
    external: ExternalEmbeddings, good: Sequence[int], subjects: Sequence[Sequence[Subject]]
) -> tuple[str, ...]:
    """Return a note on the rows that take a location from another row of their protein."""
    located: dict[Subject, set[str]] = {}
    for row in good:
        for subject in subjects[row]:
            located.setdefault(subject, set()).update(external.locations[row])
    taking = [row for row in good if not set(external.locations[row]).issuperset(*(located[s] for s in subjects[row]))]
    unlabelled = [row for row in taking if not external.locations[row]]
    isoforms = [row for row in taking if external.locations[row] and _names_isoform(external.ids[row])]
    further = len(taking) - len(unlabelled) - len(isoforms)
    counts = (
        (len(unlabelled), "without a location of their own"),
        (len(isoforms), "of an isoform"),
        (further, "with other locations"),
    )
    listed = ", ".join(f"{n} {what}" for n, what in counts if n)
    note = f"rows that take the locations of another row of the same protein: {len(taking)} ({listed})"
    return (note,) if taking else ()


def _names_isoform(identifiers: str) -> bool:
    return any(map(is_isoform, split_list(identifiers, ";,| ")))
