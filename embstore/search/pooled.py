"""The sum of each protein's vectors, in parts: computed once, kept beside the store, and updated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.ids import short
from embstore.store import (
    Store,
    Vectors,
    embeddings_name,
    read_derived,
    select_columns,
    sql_text,
    sum_vectors,
    write_derived,
)

N_PARTS = 8  # into which the units of a protein are dealt, by their ids
FORMAT = 1  # of the kept file
OF_LIST, OF_KEY = "\x1f", "\x1e"  # separators that no id contains
# what decides which units there are and of which proteins they are
READ = ("cells", "images", "ingested", "profiles", "proteins", "spaces")
PartCounts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PooledVectors:
    """The vectors of one space summed by protein, a row for each protein (or antibody) of each dataset.

    `proteins` has the columns dataset, gene, protein_ids, group_id, image_id and first_id (of the first of its units),
    n_units and members, and is sorted by first_id. `sums` is float32 (proteins, N_PARTS, dim): one for each part, and
    `counts` (proteins, N_PARTS) the number of units in it.
    """

    proteins: pa.Table
    counts: PartCounts
    sums: Vectors

    def __len__(self) -> int:
        return int(self.proteins.num_rows)

    @cached_property
    def totals(self) -> PartCounts:
        """Return the number of units of each protein (proteins,)."""
        totals: PartCounts = self.counts.sum(axis=1)
        return totals

    @cached_property
    def means(self) -> Vectors:
        """Return the mean vector of each protein, float32 (proteins, dim)."""
        means: Vectors = self.sums.sum(axis=1) / self.totals[:, None].astype(np.float32)
        return means

    def take(self, rows: npt.NDArray[np.intp]) -> PooledVectors:
        """Return the proteins of `rows` (n,), in that order."""
        return PooledVectors(self.proteins.take(pa.array(rows)), self.counts[rows], self.sums[rows])


def pooled_vectors(store: Store, space: str) -> PooledVectors:
    """Return the pooled vectors of a space (its digest), at the store's present versions.

    What was kept is read where nothing has changed since; else the proteins whose units changed are pooled again, and
    the result is kept, beside the tables. Tables are only read.
    """
    state = _state(store, space)
    name = f"pooled-{short(space)}"
    kept = _read(read_derived(store, name))
    if kept is not None and kept[1] == state:
        return kept[0]
    old = kept[0] if kept is not None and _extends(kept[1]["fragments"], state["fragments"]) else None
    pooled = pool(store, space, old=old)
    write_derived(store, name, _kept(pooled, state))
    return pooled


def pool(store: Store, space: str, *, old: PooledVectors | None = None) -> PooledVectors:
    """Return the pooled vectors of a space.

    Sums are taken from `old` for each protein that has the same units there. Reads only.
    """
    units = sql_text("embstore.store", "units_in_space", embeddings=embeddings_name(space))
    proteins = select_columns(store, sql_text("embstore.search", "pooled", units_in_space=units), {"space": space})
    known = _same_rows(proteins, old)
    changed = np.flatnonzero(known < 0)
    sql = sql_text("embstore.search", "members", units_in_space=units, parts=str(N_PARTS))
    members = select_columns(store, sql, {"space": space, "wanted": changed.tolist()})
    owners = members["protein"].to_numpy() * N_PARTS + members["part"].to_numpy()
    sums = sum_vectors(store, space, members["id"].combine_chunks(), owners, len(known) * N_PARTS)
    counts = np.bincount(owners, minlength=len(known) * N_PARTS).reshape(-1, N_PARTS)
    sums = sums.reshape(len(known), N_PARTS, -1)
    if old is not None:
        same = known >= 0
        sums[same], counts[same] = old.sums[known[same]], old.counts[known[same]]
    return PooledVectors(proteins, counts, sums)


def _same_rows(proteins: pa.Table, old: PooledVectors | None) -> npt.NDArray[np.int64]:
    """Return for each protein its row in `old`, -1 if it is new or had other units."""
    if old is None:
        return np.full(proteins.num_rows, -1, np.int64)
    rows = pc.index_in(_identity(proteins), value_set=_identity(old.proteins))
    numbers: npt.NDArray[np.int64] = pc.fill_null(rows, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _identity(proteins: pa.Table) -> pa.Array:
    ids = pc.binary_join(proteins["protein_ids"], OF_LIST)
    numbers = [pc.cast(proteins[name], pa.string()) for name in ("n_units", "members")]
    return pc.binary_join_element_wise(proteins["dataset"], ids, *numbers, OF_KEY).combine_chunks()


def _state(store: Store, space: str) -> dict[str, Any]:
    """Return what the pooled vectors depend on: versions of tables, and the files of the vectors."""
    vectors = store.dataset(embeddings_name(space))
    fragments = [
        [f.fragment_id, *(d.path for d in f.data_files()), str(f.deletion_file())] for f in vectors.get_fragments()
    ]
    names = store.table_names()
    versions = {name: int(store.dataset(name).version) for name in READ if name in names}
    return {"format": FORMAT, "parts": N_PARTS, "space": space, "versions": versions, "fragments": fragments}


def _extends(before: list[Any], now: list[Any]) -> bool:
    """True if rows were only added: all earlier rows are unchanged."""
    return now[: len(before)] == before


def _kept(pooled: PooledVectors, state: Mapping[str, Any]) -> pa.Table:
    flat = pa.array(pooled.sums.ravel())
    table = pooled.proteins.append_column(
        "counts", pa.FixedSizeListArray.from_arrays(pa.array(pooled.counts.ravel()), N_PARTS)
    ).append_column("sums", pa.FixedSizeListArray.from_arrays(flat, N_PARTS * pooled.sums.shape[2]))
    return table.replace_schema_metadata({"state": json.dumps(state)})


def _read(table: pa.Table | None) -> tuple[PooledVectors, dict[str, Any]] | None:
    """Return pooled vectors as they were kept, and the state of the store that they were computed from."""
    if table is None:
        return None
    state = json.loads(table.schema.metadata[b"state"])
    if (state["format"], state["parts"]) != (FORMAT, N_PARTS):
        return None
    counts, sums = (table[name].combine_chunks() for name in ("counts", "sums"))
    dim = sums.type.list_size // N_PARTS
    return (
        PooledVectors(
            table.drop_columns(["counts", "sums"]),
            counts.flatten().to_numpy().reshape(-1, N_PARTS),
            sums.flatten().to_numpy().reshape(-1, N_PARTS, dim),
        ),
        state,
    )
