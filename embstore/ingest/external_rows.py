"""The rows of a file of external embeddings as profiles, compared with what the store contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.arrays import Bools, Float32s, Int64s
from embstore.errors import EmbstoreError
from embstore.ids import image_id, protein_ids, split_genes
from embstore.sources.vectors import ExternalEmbeddings
from embstore.store import TABLES, Store, embeddings_name, import_sources

_SHOWN = 3
AT_ONCE = 10_000  # rows whose names are compared at once


@dataclass(frozen=True, repr=False)
class ProfileRows:
    """The rows of a file as profiles: key, proteins and genes of each."""

    keys: Sequence[str]
    proteins: Sequence[Sequence[str]]
    genes: Sequence[Sequence[str]]

    def to_arrow(self, rows: Int64s, *, dataset: str, source: str) -> pa.Table:
        """Return some of the rows, int (m,), as rows of the table `profiles`."""
        schema = TABLES["profiles"].schema
        columns = {
            "profile_id": [self.keys[row] for row in rows.tolist()],
            "dataset": [dataset] * len(rows),
            "protein_ids": [self.proteins[row] for row in rows.tolist()],
            "genes": [self.genes[row] for row in rows.tolist()],
            "source": [source] * len(rows),
            "row": rows,
        }
        return pa.table({name: pa.array(values, schema.field(name).type) for name, values in columns.items()}, schema)


def profile_rows(dataset: str, external: ExternalEmbeddings) -> ProfileRows:
    """Return the name of each row of the file, and the proteins that it describes."""
    known: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for pair in zip(external.ids, external.genes, strict=True):
        if pair not in known:
            known[pair] = protein_ids(*pair), split_genes(pair[1], pair[0])
    names = [known[pair] for pair in zip(external.ids, external.genes, strict=True)]
    proteins = [ids for ids, _ in names]
    return ProfileRows(_keys(dataset, external, proteins), proteins, [genes for _, genes in names])


def _keys(dataset: str, external: ExternalEmbeddings, proteins: Sequence[Sequence[str]]) -> list[str]:
    """Return a profile id for each row; rows with the same name are distinguished by a number that no other row has."""
    names = [_name(external, row, ids) for row, ids in enumerate(proteins)]
    taken, seen = set(names), Counter[str]()
    keys = []
    for name in names:
        seen[name] += 1
        while seen[name] > 1 and f"{name}#{seen[name]}" in taken:
            seen[name] += 1
        keys.append(image_id(dataset, name if seen[name] == 1 else f"{name}#{seen[name]}"))
    return keys


def _name(external: ExternalEmbeddings, row: int, proteins: Sequence[str]) -> str:
    named = external.ids[row].strip() or (proteins[0] if proteins else "")
    return named or (external.row_names[row] if external.row_names else f"{external.path.name}:{row}")


@dataclass(frozen=True, repr=False)
class StoredRows:
    """What the store contains of the rows of a file, one flag for each row."""

    known: Bools  # there is a profile with that id
    named_here: Bools  # this very file described it
    renamed: Bools  # and it describes other proteins or genes
    embedded: Bools  # there is a vector in the space
    embedded_here: Bools  # it came from this very file
    own_ids: pa.Array  # every profile that has a vector of this file in the space
    others: Sequence[str]  # the other files that names and vectors of rows came from


def stored_rows(store: Store | None, space: str, dataset: str, source: str, rows: ProfileRows) -> StoredRows:
    """Return what the store, if there is one, contains of the rows."""
    n = len(rows.keys)
    absent = np.zeros(n, bool)
    if store is None:
        return StoredRows(absent, absent, absent, absent, absent, pa.array([], pa.string()), ())
    columns = ["profile_id", "source", "protein_ids", "genes"]
    profiles = store.read("profiles", columns, pc.field("dataset") == dataset)
    table = embeddings_name(space)
    ids = store.read(table, ["id"])["id"] if table in store.table_names() else pa.array([], pa.string())
    keys = pa.array(rows.keys, pa.string())
    positions = pc.index_in(keys, value_set=profiles["profile_id"])
    origins = _origins(store, space, profiles)
    named_here = _flags(positions, pc.equal(profiles["source"], source))
    own_ids = profiles.filter(pc.equal(origins, source))["profile_id"]
    files = [_matched(profiles["source"], positions), _matched(origins, positions)]
    return StoredRows(
        known=pc.is_valid(positions).to_numpy(zero_copy_only=False),
        named_here=named_here,
        renamed=_renamed(profiles, positions, rows, named_here),
        embedded=pc.is_in(keys, value_set=ids).to_numpy(zero_copy_only=False),
        embedded_here=_flags(positions, pc.equal(origins, source)),
        own_ids=own_ids.filter(pc.is_in(own_ids, value_set=ids)),
        others=[file for file in pc.unique(pa.chunked_array(files)).to_pylist() if file != source],
    )


def _origins(store: Store, space: str, profiles: pa.Table) -> pa.ChunkedArray:
    """Return the file that the vector of each profile in a space is from; the profile's own if none is recorded."""
    recorded = import_sources(store, space)
    positions = pc.index_in(profiles["profile_id"], value_set=recorded["profile_id"])
    return pc.coalesce(recorded["source"].take(positions), profiles["source"])


def _matched(values: pa.ChunkedArray, positions: pa.Array) -> pa.Array:
    return values.take(positions.drop_null()).combine_chunks()


def _flags(positions: pa.Array, of_profiles: pa.ChunkedArray) -> Bools:
    """Return a flag of profiles for each row, False for rows without a profile."""
    flags: Bools = pc.fill_null(of_profiles.take(positions), False).to_numpy()
    return flags


def _renamed(profiles: pa.Table, positions: pa.Array, rows: ProfileRows, own: Bools) -> Bools:
    """Return which rows are stored under other proteins or genes; a file without genes keeps another file's."""
    renamed = np.zeros(len(positions), bool)
    where = np.flatnonzero(pc.is_valid(positions).to_numpy(zero_copy_only=False))
    for start in range(0, len(where), AT_ONCE):
        part = where[start : start + AT_ONCE]
        stored = profiles.select(["protein_ids", "genes"]).take(positions.take(pa.array(part)))
        for row, old in zip(part.tolist(), stored.to_pylist(), strict=True):
            genes = rows.genes[row] if own[row] else rows.genes[row] or old["genes"]
            renamed[row] = (old["protein_ids"], old["genes"]) != (rows.proteins[row], genes)
    return renamed


def same_vectors(store: Store | None, space: str, keys: Sequence[str], embedded: Bools, block: Float32s) -> Bools:
    """Return which rows of a block (n, dim) are in the space with this very vector, (n,)."""
    same = np.zeros(len(block), bool)
    where = np.flatnonzero(embedded).tolist()
    if store is not None and where:
        old = store.matrix(space, [keys[row] for row in where])
        same[where] = (old == block[where]).all(axis=1)
    return same


def refuse_others(
    stored: StoredRows, rows: ProfileRows, *, changed: Bools, renamed: Bools, dataset: str, name: str
) -> None:
    """Raise EmbstoreError if `changed` or `renamed` rows (n,) would replace vectors or names of another file."""
    taken = np.flatnonzero(stored.known & ((changed & ~stored.embedded_here) | (renamed & ~stored.named_here)))
    if not len(taken):
        return
    shown = ", ".join(rows.keys[row].removeprefix(f"{dataset}/") for row in taken[:_SHOWN].tolist())
    more = ", ..." if len(taken) > _SHOWN else ""
    raise EmbstoreError(
        f"{len(taken)} rows of {name} are in the dataset {dataset!r} with other values, from "
        f"{', '.join(stored.others[:_SHOWN])} ({shown}{more}); give another --dataset, or --replace to replace them"
    )


def in_blocks(blocks: Iterator[Float32s]) -> Iterator[tuple[slice, Float32s]]:
    """Yield each block (m, dim) with the slice of its rows."""
    start = 0
    for block in blocks:
        yield slice(start, start + len(block)), block
        start += len(block)
