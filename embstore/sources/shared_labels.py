"""Rows of a table that are of one protein: which of them take locations from another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from embstore.ids import is_isoform, split_list


def shared_labels_note(
    identifiers: Sequence[str], locations: Sequence[Sequence[str]], subjects: Sequence[Sequence[Hashable]]
) -> tuple[str, ...]:
    """Return a note on the rows that take a location from another row of their protein; none where there are none.

    One entry a row: its ids as they are written, its own locations, and what it is of. A subject has the locations of
    all of its rows. Rows without a location of their own, rows of an isoform, and others are counted.
    """
    located: dict[Hashable, set[str]] = {}
    for own, row_subjects in zip(locations, subjects, strict=True):
        for subject in row_subjects:
            located.setdefault(subject, set()).update(own)
    taking = [
        row
        for row, own in enumerate(locations)
        if not set(own).issuperset(location for subject in subjects[row] for location in located[subject])
    ]
    unlabelled = [row for row in taking if not locations[row]]
    isoforms = [row for row in taking if locations[row] and _names_isoform(identifiers[row])]
    counts = (
        (len(unlabelled), "without a location of their own"),
        (len(isoforms), "of an isoform"),
        (len(taking) - len(unlabelled) - len(isoforms), "with other locations"),
    )
    listed = ", ".join(f"{n} {what}" for n, what in counts if n)
    note = f"rows that take the locations of another row of the same protein: {len(taking)} ({listed})"
    return (note,) if taking else ()


def _names_isoform(identifiers: str) -> bool:
    return any(map(is_isoform, split_list(identifiers, ";,| ")))
