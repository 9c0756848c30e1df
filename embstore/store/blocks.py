"""Vectors read block by block, so that a million are never in memory twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import StoreError
from embstore.ids import short
from embstore.store.schema import embeddings_name
from embstore.store.store import Store
from embstore.store.tables import reading
from embstore.store.vectors import TAKE_SHARE, Vectors, to_numpy

BLOCK_ROWS = 8192
Owners = npt.NDArray[np.int64]


def read_matrix(store: Store, space: str) -> tuple[pa.ChunkedArray, Vectors]:
    """Return every id of a space and the matrix of their vectors, float32 (n, dim), in one order. Reads only."""
    name = embeddings_name(space)
    data = store.dataset(name)
    with reading(name, data):
        matrix = np.empty((data.count_rows(), data.schema.field("vector").type.list_size), np.float32)
        ids, start = [], 0
        for batch in data.scanner(columns=["id", "vector"], scan_in_order=True, batch_size=BLOCK_ROWS).to_batches():
            matrix[start : start + batch.num_rows] = to_numpy(pa.chunked_array([batch["vector"]]))
            ids.append(batch["id"])
            start += batch.num_rows
    return pa.chunked_array(ids, pa.string()), matrix


def sum_vectors(store: Store, space: str, ids: pa.Array, owners: Owners, n_owners: int) -> Vectors:
    """Return the sum of the vectors of each owner, float32 (n_owners, dim); `owners` (n,) numbers that of each id.

    A block is summed in float32, blocks in float64. An id that the space does not contain is a StoreError. Reads only.
    """
    name = embeddings_name(space)
    data = store.dataset(name)
    sums = np.zeros((n_owners, data.schema.field("vector").type.list_size))
    with reading(name, data):
        stored = data.scanner(columns=["id"], scan_in_order=True).to_table()["id"]
        rows = pc.index_in(ids, value_set=stored)
        if rows.null_count:
            absent = ids[pc.index(pc.is_null(rows), True).as_py()].as_py()
            raise StoreError(f"space {short(space)} contains no vector of {absent!r} ({rows.null_count} of {len(ids)})")
        owner_of_row = np.full(len(stored), -1, np.int64)
        owner_of_row[rows.to_numpy()] = owners
        for block, block_owners in _blocks(data, owner_of_row):
            _add(sums, block, block_owners)
    return sums.astype(np.float32)


def _blocks(data: Any, owner_of_row: Owners) -> Iterator[tuple[Vectors, Owners]]:
    """Yield the vectors that have an owner, float32 (rows, dim), in blocks, and their owners (rows,)."""
    wanted = np.flatnonzero(owner_of_row >= 0)
    if len(wanted) <= len(owner_of_row) * TAKE_SHARE:
        for start in range(0, len(wanted), BLOCK_ROWS):
            chosen = wanted[start : start + BLOCK_ROWS]
            yield to_numpy(data.take(chosen.tolist(), columns=["vector"])["vector"]), owner_of_row[chosen]
        return
    start = 0
    for batch in data.scanner(columns=["vector"], scan_in_order=True, batch_size=BLOCK_ROWS).to_batches():
        owners = owner_of_row[start : start + batch.num_rows]
        start += batch.num_rows
        vectors = to_numpy(pa.chunked_array([batch.column(0)]))
        owned = owners >= 0
        yield (vectors, owners) if owned.all() else (vectors[owned], owners[owned])


def _add(sums: npt.NDArray[np.float64], vectors: Vectors, owners: Owners) -> None:
    """Add each vector (rows, dim) to the sum of its owner."""
    if not len(owners):
        return
    # summed run by run after sorting: three times as fast as np.add.at at 100k × 384
    order = np.argsort(owners, kind="stable")
    present, starts = np.unique(owners[order], return_index=True)
    sums[present] += np.add.reduceat(vectors[order], starts, axis=0)
