"""Files of named arrays: npz, npy and h5ad; none of them is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError

NamedArrays = Mapping[str, npt.NDArray[Any]]
INDEX = "index"  # what names the rows of an h5ad


def read_arrays(path: Path, vectors: str | None, names: Sequence[str]) -> NamedArrays:
    """Return name -> array for a .npz or .npy (under its own name), or of an .h5ad the matrix `vectors` and columns.

    In an .h5ad, `vectors` is `X` (the default), a key of `obsm` or a layer; `names` are columns of `obs`, or `index`.
    """
    if path.suffix == ".h5ad":
        return _read_h5ad(path, vectors or "X", names)
    try:
        if path.suffix == ".npy":
            return {path.name: np.load(path, allow_pickle=False, mmap_mode="r")}
        if not zipfile.is_zipfile(path):  # np.load would read a lone array, or look for a pickle
            raise ValueError("it is no zip archive of arrays")  # noqa: TRY301
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        kind = path.suffix.removeprefix(".")
        raise EmbstoreError(
            f"{path} cannot be read as an {kind} without pickles ({error}); save plain arrays"
        ) from error


def _read_h5ad(path: Path, vectors: str, names: Sequence[str]) -> NamedArrays:
    try:
        import anndata
    except ImportError as error:
        raise EmbstoreError(
            f"{path.name} is an AnnData file and anndata is not installed; run pip install 'embstore[h5ad]', or export "
            "the vectors as Parquet"
        ) from error
    try:
        data = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise EmbstoreError(
            f"{path} cannot be read as AnnData ({str(error).splitlines()[0]}); save it again"
        ) from error
    matrices = {"X": data.X, **data.obsm, **data.layers}
    found = matrices.get(vectors)
    if found is None:
        raise EmbstoreError(f"{path} has the matrices {', '.join(matrices)}; wanted {vectors!r}: --embeddings KEY")
    arrays = {vectors: np.asarray(found.toarray() if hasattr(found, "toarray") else found)}
    for name in names:
        if name not in data.obs and name != INDEX:
            raise EmbstoreError(f"{path} has no column {name!r} in obs; it has {INDEX}, {', '.join(data.obs.columns)}")
        column = data.obs[name] if name in data.obs else data.obs_names.to_series()
        arrays[name] = column.astype(object).where(column.notna(), "").astype(str).to_numpy()
    return arrays
