"""A look at labels before they are stored: how often each location occurs, and which names are suspects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embstore.sources.record import Label, Subject
from embstore.sources.suspects import CORRECT, suspects
from embstore.store import Store, rows

STORED_SQL = """
SELECT label_set, level, subject_id, location FROM labels
WHERE label_set IN (SELECT unnest($label_sets::VARCHAR[])) ORDER BY ALL
"""


@dataclass(frozen=True)
class LocationCount:
    """How many subjects have a location in one label set."""

    label_set: str
    location: str
    subjects: int


def stored_subject(dataset: str, scheme: str, level: str, subject: str) -> Subject:
    """Return a subject under the names of the store: label set, level and id."""
    return f"{dataset}/{scheme}", level, subject if level == "protein" else f"{dataset}/{subject}"


def count_locations(dataset: str, labels: Iterable[Label]) -> list[LocationCount]:
    """Return the locations of labels, by label set, the most frequent first."""
    counts = Counter((f"{dataset}/{label.scheme}", label.location) for label in labels)
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return [LocationCount(label_set, location, n) for (label_set, location), n in ordered]


def suspect_notes(
    store: Store | None, dataset: str, labels: Sequence[Label], asked: Iterable[Subject] = ()
) -> tuple[str, ...]:
    """Return notes on suspects among the names of locations that label sets will have once these labels are in.

    `asked` are the subjects whose stored labels these replace, besides those of the labels. Never writes.
    """
    replaced = {stored_subject(dataset, *subject) for subject in asked}
    replaced |= {stored_subject(dataset, label.scheme, label.level, label.subject) for label in labels}
    counts = Counter((f"{dataset}/{label.scheme}", label.location) for label in labels)
    label_sets = sorted({label_set for label_set, _, _ in replaced})
    for row in rows(store, STORED_SQL, {"label_sets": label_sets}) if store and label_sets else ():
        if (row["label_set"], row["level"], row["subject_id"]) not in replaced:
            counts[row["label_set"], row["location"]] += 1
    names: dict[str, int] = {}
    for (_, location), n in counts.items():  # one table may fill several label sets with the same names
        names[location] = max(n, names.get(location, 0))
    notes = suspects(dict(sorted(names.items(), key=lambda item: (-item[1], item[0]))))
    return (*notes, f"suspects: {CORRECT}") if notes else ()
