"""The locations beside external embeddings: labels of what their rows are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embstore.errors import EmbstoreError
from embstore.sources.location_map import LocationMap, Mapped, map_locations
from embstore.sources.record import Label, Subject
from embstore.sources.shared_labels import shared_labels_note
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import ExternalEmbeddings


@dataclass(frozen=True, repr=False)
class RowLabels:
    """The labels of a file's rows, and those that they were asked of."""

    mapped: Mapped
    asked: tuple[Subject, ...]


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
    return RowLabels(map_locations(ordered, location_map), asked)


def shared_note(
    external: ExternalEmbeddings, good: Sequence[int], subjects: Sequence[Sequence[Subject]]
) -> tuple[str, ...]:
    """Return a note on the good rows that share a protein with others, if any."""
    return shared_labels_note(
        [external.ids[row] for row in good], [external.locations[row] for row in good], [subjects[row] for row in good]
    )


def refuse_labels_of_nothing(columns: Columns) -> None:
    """Raise EmbstoreError where a column of locations is named, and none for what the rows are of."""
    if columns.label and not (columns.identifier or columns.gene):
        raise EmbstoreError(
            f"the locations in {columns.label} would be labels of nothing: no column names the proteins of the rows; "
            "name it with --id-column or --gene-column, or leave out --label-column"
        )
