"""Check the whole store: every check on every table, reading only, in batches and by parts of the keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embstore.care.findings import ANEW, WAIT, Finding
from embstore.care.reading import read_through
from embstore.care.records import check_entries, check_removal, check_spaces, check_splits
from embstore.care.relations import relate
from embstore.progress import Progress, tracked
from embstore.store import LATER_TABLES, TABLES, Store
from embstore.tabular import Listing, Tabular

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, repr=False)
class Verdict(Tabular):
    """What `verify` found: what is `wrong`, `notes` worth knowing, and how many tables and rows were read."""

    wrong: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    tables: int
    rows: int

    @property
    def headline(self) -> str:
        """Return how many findings are wrong, or that all is well, and how much was read."""
        verdict = f"{len(self.wrong)} things are wrong" if self.wrong else "all is well"
        return f"{verdict}: {self.rows} rows in {self.tables} tables"

    def to_arrow(self) -> pa.Table:
        """Return one row for each finding, what is wrong before the notes, as a `pyarrow.Table`."""
        return Listing((*self.wrong, *self.notes), Finding, "finding").to_arrow()


def verify(store: Store, *, progress: Progress | None = None) -> Verdict:
    """Read the whole store and return what is wrong with it; never writes.

    It finds files that are missing or truncated (of the newest and of tagged versions), rows that cannot be read, keys
    with several rows, vectors that are not finite or have the wrong length, rows without an owner, profiles without a
    vector, counts that disagree, and spaces and splits that no longer match their digest. A table that cannot be read
    is left out of the checks that need it; while a removal is running, whether tables agree is not checked.
    `progress(stage, done, total)` is called after every table.
    """
    names = store.table_names()
    findings: list[Finding] = [] if store.at else list(_missing(names))
    damaged = set()
    for name in tracked(names, "tables", progress):
        of_table = list(read_through(store, name))
        findings += of_table
        damaged |= {f.table for f in of_table if f.check in ("table", "files", "fragments")}
    sound = [name for name in names if name not in damaged]
    findings += _checks(store, sound)
    rows = sum(store.dataset(name).count_rows() for name in sound)
    wrong, notes = (tuple(f for f in findings if f.note is note) for note in (False, True))
    return Verdict(wrong, notes, len(names), rows)


def _missing(names: Sequence[str]) -> Iterator[Finding]:
    for name in sorted(set(TABLES).difference(names, LATER_TABLES)):
        yield Finding("table", name, "the table is missing", ANEW)


def _checks(store: Store, sound: Sequence[str]) -> Iterator[Finding]:
    removals = list(check_removal(store, sound))
    yield from removals
    spaces = store.read("spaces").to_pylist() if "spaces" in sound else []
    if "spaces" in sound:
        yield from check_spaces(store, sound, spaces)
    if not any(removal.todo == WAIT for removal in removals):  # which takes rows out before those that belong to them
        yield from relate(store, sound, spaces)
    if {"splits", "split_groups"} <= set(sound):
        yield from check_splits(store)
    if "entries" in sound:
        yield from check_entries(store, sound)
