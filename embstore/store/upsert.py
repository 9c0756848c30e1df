"""Rows under their keys: repeats are refused, rows that are all new are appended, others merged; nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import StoreError

_log = logging.getLogger(__name__)

Hashes = npt.NDArray[np.int64]
APPEND_ATTEMPTS = 10  # to append beside other writers; then a merge, which waits for its turn


class Keys:
    """The keys that a table has or had, as 64-bit hashes, so that a million of them are 8 MB.

    Each fragment is read once: a fragment never gets other keys, and one that appends knows its own. A key that was
    deleted is still known here, and two keys may share a hash: what is known may be absent, what is not known is.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._version = 0
        self._fragments: set[int] = set()
        self._hashes: Hashes = np.empty(0, np.int64)

    def of(self, rows: Any) -> Hashes:
        """Return the hashes of the keys of a pyarrow table or batch, in order, int64 (n,); good in this process."""
        columns = [rows[column].to_pylist() for column in self._columns]
        keys = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
        return np.fromiter(map(hash, keys), np.int64, rows.num_rows)

    def catch_up(self, dataset: Any) -> None:
        """Read the keys of those fragments of a `lance` dataset that were not read before."""
        if dataset.version < self._version:  # made anew, or taken back: the numbers of fragments begin again
            self._fragments, self._hashes = set(), np.empty(0, np.int64)
        fresh = [part for part in dataset.get_fragments() if part.fragment_id not in self._fragments]
        if fresh:
            batches = dataset.scanner(columns=self._columns, fragments=fresh).to_batches()
            self.learn(dataset, np.concatenate([np.empty(0, np.int64), *map(self.of, batches)]))

    def learn(self, dataset: Any, hashes: Hashes) -> None:
        """Know that a dataset's fragments hold, beside what is known, these."""
        # two sorted runs: the stable sort merges them in one pass
        self._hashes = np.sort(np.concatenate([self._hashes, np.sort(hashes)]), kind="stable")
        self._fragments.update(part.fragment_id for part in dataset.get_fragments())
        self._version = dataset.version

    def meet(self, hashes: Hashes) -> bool:
        """Tell whether any of these may be in the table."""
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        return bool((self._hashes[places[inside]] == hashes[inside]).any())


def append(opened: Callable[[], Any], keys: Keys, rows: pa.Table) -> int | None:
    """Write rows as fragments of their own and return the table's new version; None, and nothing, where a key is known.

    `opened` gives the newest `lance` dataset of the table. A merge reads every key of the table at every commit: at a
    million rows six times the cost of the commit itself. Here the commit is an operation that Lance lets through only
    at the very version that was read (Append lets other writers' rows pass it by, and both would be in), so that the
    keys that were looked at are all there are; who comes second looks again.
    """
    from lance import LanceDataset, LanceOperation
    from lance.commit import CommitConflictError
    from lance.fragment import write_fragments

    hashes = keys.of(rows)
    fragments: Sequence[Any] = ()
    for _ in range(APPEND_ATTEMPTS):
        data = opened()
        keys.catch_up(data)
        if keys.meet(hashes):
            return None
        fragments = fragments or write_fragments(rows.select(data.schema.names).cast(data.schema), data, mode="append")
        before = [part.metadata for part in data.get_fragments()]
        # preserves_nullability would let appends of others pass
        operation = LanceOperation.Merge([*before, *fragments], data.lance_schema, preserves_nullability=False)
        try:
            committed = LanceDataset.commit(data, operation, read_version=data.version, max_retries=0)
        except CommitConflictError:
            _log.info("another process wrote to %s first: looking at it again", data.uri)
            continue
        keys.learn(committed, hashes)
        return int(committed.version)
    return None


def delete_fragments(dataset: Any, fragments: Sequence[int]) -> int:
    """Take fragments out of a `lance` dataset, none of whose files is read; return its new version."""
    from lance import LanceDataset, LanceOperation

    operation = LanceOperation.Delete([], list(fragments), "false")  # no condition picked them
    return int(LanceDataset.commit(dataset, operation, read_version=dataset.version).version)


def extra_rows(dataset: Any, key: Sequence[str]) -> list[int]:
    """Return the row ids of a `lance` dataset whose key another row before them has."""
    keys = dataset.scanner(columns=list(key), with_row_id=True).to_table()
    kept = keys.group_by(list(key)).aggregate([("_rowid", "min")])["_rowid_min"]
    extra: list[int] = keys["_rowid"].filter(pc.invert(pc.is_in(keys["_rowid"], value_set=kept))).to_pylist()
    return extra


def merge(dataset: Any, key: Sequence[str], rows: pa.Table, *, insert: bool) -> int:
    """Replace the rows of the same key in a `lance` dataset, and `insert` the others; return its new version.

    `use_index(False)` and the primary-key marks are both needed: without them concurrent upserts of the same keys leave
    duplicate rows and no error.
    """
    build = dataset.merge_insert(list(key)).when_matched_update_all().use_index(False)
    if insert:
        build = build.when_not_matched_insert_all()
    build.execute(rows.select(dataset.schema.names).cast(dataset.schema))
    return int(dataset.version)


def check_keys(name: str, keys: pa.Table) -> None:
    """Raise a StoreError where a key has no value, or comes twice: Lance would insert both."""
    for column in keys.column_names:
        if keys[column].null_count:
            raise StoreError(
                f"{name} was given a row without {column}; wanted a value in {', '.join(keys.column_names)}"
            )
    counted = keys.group_by(keys.column_names).aggregate([([], "count_all")])
    if counted.num_rows < keys.num_rows:
        first = counted.filter(pc.field("count_all") > 1).slice(0, 1).drop_columns("count_all").to_pylist()[0]
        listed = ", ".join(f"{column} {value!r}" for column, value in first.items())
        raise StoreError(f"{name} was given two rows of {listed}; wanted each key once")
