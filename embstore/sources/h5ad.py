"""AnnData files: a matrix of h5ad by rows, and columns of `obs`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from embstore.errors import EmbstoreError
from embstore.hdf5 import refuse_crashing
from embstore.sources.decoding import Decoder
from embstore.sources.matrix import EmbeddingMatrix, Numbers, checked_shape

INDEX = "index"  # the name for the row names of an h5ad
LARGE_BYTES, MOST_PACKED_HDF5 = 64 << 20, 5_000  # a file that is so many times smaller than its content is damaged
FOLDERS = ("obsm", "layers")  # of matrices besides X
SPARSE = ("csr_matrix", "csc_matrix")


@dataclass(frozen=True)
class AnnDataFile:
    """An h5ad file, opened for each question."""

    path: Path
    decode: Decoder
    h5py: Any
    io: Any  # anndata.io

    def column(self, name: str) -> list[object]:
        """Return a column of `obs`, or the names of its rows for `index`; missing values are None. May raise
        EmbstoreError.
        """
        with self.decode(self.h5py.File, self.path, "r") as file:
            obs = self._obs(file)
            names = self._columns(obs)
            if name not in names and name != INDEX:
                listed = ", ".join([INDEX, *names])
                raise EmbstoreError(f"{self.path} has no column {name!r} in obs; it has {listed}")
            key = name if name in names else self._index(obs)
            if isinstance(obs, self.h5py.Group):
                item = self.decode(obs.__getitem__, key)
                if isinstance(item, self.h5py.Dataset):
                    self._refuse_absent(name, item)
                values = self.decode(self.io.read_elem, item)
            else:  # as anndata wrote it before version 0.7
                values = self.decode(obs.__getitem__, key)
            return _values(self.decode, values)

    def matrix(self, name: str) -> EmbeddingMatrix:
        """Return the rows of `X`, of a key of `obsm` or of a layer; EmbstoreError if there is no such matrix."""
        with self.decode(self.h5py.File, self.path, "r") as file:
            places = self._matrices(file)
            if name not in places:
                raise EmbstoreError(
                    f"{self.path} has the matrices {', '.join(places)}; wanted {name!r}: --embeddings KEY"
                )
            stored = self.decode(file.__getitem__, places[name])
            if isinstance(stored, self.h5py.Group):
                return self._of_group(name, places[name], stored)
            shape = checked_shape(self.path, name, self.decode(getattr, stored, "shape"), stored.dtype)
            self._refuse_absent(name, stored)
            return EmbeddingMatrix(self.path, name, shape, lambda rows: self._rows(places[name], shape[0], rows))

    def _rows(self, place: str, n: int, rows: int) -> Iterator[Numbers]:
        with self.decode(self.h5py.File, self.path, "r") as file:
            stored = self.decode(file.__getitem__, place)
            for start in range(0, n, rows):
                yield self.decode(stored.__getitem__, slice(start, start + rows))

    def _of_group(self, name: str, place: str, group: Any) -> EmbeddingMatrix:
        """Return the rows of a sparse matrix or a data frame."""
        if self._attribute(group, "encoding-type", "") not in SPARSE:
            frame = self.decode(self.io.read_elem, group)
            values = np.asarray(self.decode(np.asarray, frame))
            shape = checked_shape(self.path, name, values.shape, values.dtype)
            return EmbeddingMatrix(
                self.path, name, shape, lambda rows: (values[i : i + rows] for i in range(0, shape[0], rows))
            )
        claimed = tuple(int(size) for size in self.decode(np.atleast_1d, self._attribute(group, "shape", ())))
        shape = checked_shape(self.path, name, claimed, None)
        by_rows = self._attribute(group, "encoding-type", "") == SPARSE[0]
        indptr = self.decode(group.__getitem__, "indptr")
        self._refuse_absent(name, indptr)
        length = self.decode(len, indptr)
        if length != shape[0 if by_rows else 1] + 1:
            raise EmbstoreError(f"{self.path}: {name} claims {shape} and contains {length - 1} rows; save it again")
        return EmbeddingMatrix(
            self.path, name, shape, lambda rows: self._sparse_rows(place, shape[0], rows, by_rows=by_rows)
        )

    def _sparse_rows(self, place: str, n: int, rows: int, *, by_rows: bool) -> Iterator[Numbers]:
        with self.decode(self.h5py.File, self.path, "r") as file:
            group = self.decode(file.__getitem__, place)
            # a matrix that is stored by columns is read whole
            matrix = self.decode(self.io.sparse_dataset, group) if by_rows else self.decode(self.io.read_elem, group)
            if not by_rows:
                self.decode(matrix.check_format, full_check=True)
                matrix = self.decode(matrix.tocsr)
            for start in range(0, n, rows):
                part = self.decode(matrix.__getitem__, slice(start, start + rows))
                self.decode(part.check_format, full_check=True)  # SciPy writes wherever an index points
                yield cast("Numbers", self.decode(part.toarray))

    def _refuse_absent(self, name: str, stored_item: Any) -> None:
        """Raise EmbstoreError if parts are missing, for which HDF5 would return zeros."""
        size = math.prod(stored_item.shape) * self.decode(stored_item.id.get_type).get_size()
        stored = self.decode(stored_item.id.get_storage_size)
        if self.decode(getattr, stored_item, "chunks") is None:
            whole = stored >= size
        else:
            parts = [-(-size // chunk) for size, chunk in zip(stored_item.shape, stored_item.chunks, strict=True)]
            whole = self.decode(stored_item.id.get_num_chunks) >= math.prod(parts)
        if not whole or (size > LARGE_BYTES and size > MOST_PACKED_HDF5 * stored):
            raise EmbstoreError(
                f"{self.path}: {name} claims {size} bytes and the file contains {stored} of them; save it again"
            )

    def _matrices(self, file: Any) -> dict[str, str]:
        """Return name -> path in the file."""
        paths = {"X": "X"} if self.decode(file.__contains__, "X") else {}
        for folder in FOLDERS:
            group = self.decode(file.get, folder)
            if isinstance(group, self.h5py.Group):
                keys: list[str] = self.decode(list, group)
                paths |= {key: f"{folder}/{key}" for key in keys}
        return paths

    def _obs(self, file: Any) -> Any:
        obs = self.decode(file.get, "obs")
        if not isinstance(obs, (self.h5py.Group, self.h5py.Dataset)):
            raise EmbstoreError(f"{self.path} cannot be read as AnnData (it has no obs); save it again")
        return obs

    def _columns(self, obs: Any) -> list[str]:
        if isinstance(obs, self.h5py.Group):
            order = self.decode(np.ravel, self._attribute(obs, "column-order", ()))
            keys: list[str] = self.decode(list, obs)
            return [str(name) for name in order] or keys
        return list(self.decode(getattr, obs.dtype, "names") or ())

    def _index(self, obs: Any) -> str:
        return str(self._attribute(obs, "_index", INDEX))

    def _attribute(self, item: Any, name: str, default: object) -> Any:
        return self.decode(self.decode(getattr, item, "attrs").get, name, default)


def open_h5ad(path: Path, matrix: str) -> AnnDataFile:
    """Return an h5ad file whose `obs` and `matrix` can be read without a crash.

    Raises EmbstoreError if they cannot, or if the library that reads it is not installed.
    """
    try:
        import anndata.io
        import h5py
    except ImportError as error:
        raise EmbstoreError(
            f"{path.name} is an AnnData file and anndata is not installed; run pip install 'embstore[h5ad]', or export "
            "the vectors as Parquet"
        ) from error
    refuse_crashing(path, ["obs", matrix, *(f"{folder}/{matrix}" for folder in FOLDERS)])
    return AnnDataFile(path, Decoder(path, "AnnData", "save it again", _errors()), h5py, anndata.io)


def _errors() -> tuple[type[Exception], ...]:
    """Return the error that anndata raises for an unknown encoding, for which it has no public name."""
    try:
        from anndata._io.specs.registry import IORegistryError  # noqa: PLC2701
    except ImportError:
        return ()
    return (IORegistryError,)


def _values(decode: Decoder, values: Any) -> list[object]:
    """Return a column's values, None for those that are missing."""
    import pandas as pd

    series = decode(pd.Series, values)
    objects = decode(series.astype, object)
    missing = decode(series.isna)
    return cast("list[object]", decode(objects.mask(missing, None).tolist))
