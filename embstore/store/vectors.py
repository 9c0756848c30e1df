"""Vectors between Arrow's columns and NumPy's arrays; matched by id, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import StoreError
from embstore.ids import short

Vectors = npt.NDArray[np.float32]

TAKE_SHARE = 0.3  # of the rows; above this, one scan is faster than taking single rows


def picked(dataset: Any, ids: Sequence[str], space: str) -> Vectors:
    """Return the vectors of `ids` from a space's `lance` dataset, float32 (n, dim), in that order, with repeats.

    Raises StoreError if an id is missing. Lance's own take returns storage order and drops repeats.
    """
    known = dataset.scanner(columns=["id"], scan_in_order=True).to_table()["id"]
    offsets = pc.index_in(pa.array(ids, pa.string()), value_set=known)
    if offsets.null_count:
        absent = ids[pc.index(pc.is_null(offsets), True).as_py()]
        raise StoreError(
            f"space {short(space)} has no vector of {absent!r} ({offsets.null_count} of {len(ids)} absent)"
        )
    if not len(ids):
        return np.empty((0, dataset.schema.field("vector").type.list_size), np.float32)
    if len(ids) > known.length() * TAKE_SHARE:
        everything = dataset.scanner(columns=["vector"], scan_in_order=True).to_table()["vector"]
        chosen: Vectors = to_numpy(everything)[offsets.to_numpy()]
        return chosen
    wanted, inverse = np.unique(offsets.to_numpy(), return_inverse=True)
    return to_numpy(dataset.take(wanted.tolist(), columns=["vector"])["vector"])[inverse]


def to_numpy(column: pa.ChunkedArray) -> Vectors:
    """Return a column of fixed-size lists as float32 (n, dim)."""
    dim = column.type.list_size
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(-1, dim)


def vector_rows(ids: Sequence[str], vectors: npt.NDArray[np.floating[Any]], space: str, schema: pa.Schema) -> pa.Table:
    """Return vectors as rows of a space's table, cast to its type (`schema`).

    Raises StoreError if the shape is not (len(ids), dim of the space), or if a vector is not finite after the cast.
    """
    field = schema.field("vector")
    cast = as_stored(vectors, half=field.type.value_type == pa.float16())
    if cast.shape != (len(ids), field.type.list_size):
        shape = f"({len(ids)}, {field.type.list_size})"
        raise StoreError(f"space {short(space)} takes vectors of shape {shape}, got {cast.shape}")
    finite = np.isfinite(cast).all(axis=1)
    if not finite.all():
        bad = ids[int(np.argmin(finite))]
        raise StoreError(f"the vector of {bad!r} is not finite as {cast.dtype} ({(~finite).sum()} such vectors)")
    column = pa.FixedSizeListArray.from_arrays(pa.array(cast.ravel()), field.type.list_size)
    return pa.Table.from_arrays([pa.array(ids), column], schema=schema)


def as_stored(vectors: npt.NDArray[np.floating[Any]], *, half: bool) -> npt.NDArray[np.floating[Any]]:
    """Return vectors (n, dim) as float16 if they are stored in `half` precision, else float32; overflows become inf."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(vectors, dtype=np.float16 if half else np.float32)
