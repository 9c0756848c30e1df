"""Write rows by key so that no key is stored twice: all-new rows are appended, others merged, repeats refused."""

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
APPEND_ATTEMPTS = 10  # to append while others write; then a merge, which waits for its turn


class Keys:
    """The keys that a table has or had, as 64-bit hashes, so that a million of them take 8 MB.

    Each fragment is read once: its keys never change, and the writer of a fragment knows its own. Deleted keys stay in
    here, and two keys may have the same hash: a key that is known may be absent from the table, one that is not known
    is.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._version = 0
        self._fragments: set[int] = set()
        self._hashes: Hashes = np.empty(0, np.int64)

    def hashes_of(self, rows: Any) -> Hashes:
        """Return the hashes of the keys of an Arrow table or batch, in order, int64 (n,); valid in this process."""
        columns = [rows[column].to_pylist() for column in self._columns]
        keys = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
        return np.fromiter(map(hash, keys), np.int64, rows.num_rows)

    def catch_up(self, dataset: Any) -> None:
        """Read the keys of the fragments of a `lance` dataset that have not been read before."""
        if dataset.version < self._version:  # created again or reset: fragment numbers start again
            self._fragments, self._hashes = set(), np.empty(0, np.int64)
        fresh = [part for part in dataset.get_fragments() if part.fragment_id not in self._fragments]
        if fresh:
            batches = dataset.scanner(columns=self._columns, fragments=fresh).to_batches()
            self.learn(dataset, np.concatenate([np.empty(0, np.int64), *map(self.hashes_of, batches)]))

    def learn(self, dataset: Any, hashes: Hashes) -> None:
        """Add the key hashes of a dataset's new fragments, which need not be read any more."""
        # both runs are sorted: the stable sort merges them in one pass
        self._hashes = np.sort(np.concatenate([self._hashes, np.sort(hashes)]), kind="stable")
        self._fragments.update(part.fragment_id for part in dataset.get_fragments())
        self._version = dataset.version

    def meet(self, hashes: Hashes) -> bool:
        """True if any of these hashes is known, so that its key may be in the table."""
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        return bool((self._hashes[places[inside]] == hashes[inside]).any())


def append(opened: Callable[[], Any], keys: Keys, rows: pa.Table) -> int | None:
    """Append rows as new fragments and return the table's new version; None, unwritten, if a key is known.

    `opened` returns the newest `lance` dataset of the table. A merge would read every key of the table at each commit,
    which takes six times as long as the commit itself at a million rows. Instead, this commits a Lance operation that
    succeeds only at the version whose keys were checked. (Append would succeed beside another writer's append, and both
    would store the same key.) If another process commits first, the keys are checked again.
    """
    from lance import LanceDataset, LanceOperation
    from lance.commit import CommitConflictError
    from lance.fragment import write_fragments

    hashes = keys.hashes_of(rows)
    fragments: Sequence[Any] = ()
    for _ in range(APPEND_ATTEMPTS):
        data = opened()
        keys.catch_up(data)
        if keys.meet(hashes):
            return None
        fragments = fragments or write_fragments(rows.select(data.schema.names).cast(data.schema), data, mode="append")
        before = [part.metadata for part in data.get_fragments()]
        # with preserves_nullability, appends of other writers could pass
        operation = LanceOperation.Merge([*before, *fragments], data.lance_schema, preserves_nullability=False)
        try:
            committed = LanceDataset.commit(data, operation, read_version=data.version, max_retries=0)
        except CommitConflictError:
            _log.info("another process wrote to %s first: checking it again", data.uri)
            continue
        keys.learn(committed, hashes)
        return int(committed.version)
    return None


def delete_fragments(dataset: Any, fragments: Sequence[int]) -> int:
    """Remove fragments from a `lance` dataset without reading their files; return its new version."""
    from lance import LanceDataset, LanceOperation

    operation = LanceOperation.Delete([], list(fragments), "false")  # no condition selected them
    return int(LanceDataset.commit(dataset, operation, read_version=dataset.version).version)


def extra_rows(dataset: Any, key: Sequence[str]) -> list[int]:
    """Return the row ids of a `lance` dataset whose key an earlier row already has."""
    keys = dataset.scanner(columns=list(key), with_row_id=True).to_table()
    kept = keys.group_by(list(key)).aggregate([("_rowid", "min")])["_rowid_min"]
    extra: list[int] = keys["_rowid"].filter(pc.invert(pc.is_in(keys["_rowid"], value_set=kept))).to_pylist()
    return extra


def merge(dataset: Any, key: Sequence[str], rows: pa.Table, *, insert: bool) -> int:
    """Replace the rows with the same key in a `lance` dataset, and `insert` the others; return its new version.

    `use_index(False)` and the primary-key marks are both needed: without them, concurrent upserts of the same keys
    store duplicate rows without an error.
    """
    build = dataset.merge_insert(list(key)).when_matched_update_all().use_index(False)
    if insert:
        build = build.when_not_matched_insert_all()
    build.execute(rows.select(dataset.schema.names).cast(dataset.schema))
    return int(dataset.version)


def check_keys(name: str, keys: pa.Table) -> None:
    """Raise a StoreError if a key has no value or occurs twice: Lance would insert both."""
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
