"""Images that are datasets of HDF5 files; a separate process tests a file before this one reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import EmbstoreError, ImageError
from embstore.hdf5 import refuse_crashing
from embstore.pixels.limits import check_dtype, check_size
from embstore.pixels.npy import array_axes
from embstore.pixels.planes import Claim
from embstore.pixels.size import UNKNOWN

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MOST_NAMES = 5


@contextmanager
def open_hdf5(path: Path, dataset: str, channels: int | None) -> Iterator[Claim]:
    """Open one dataset (y, x), (c, y, x) or (y, x, c); `channels`, how many are expected, determines which it is."""
    h5py = _h5py()
    state = path.stat()
    refuse_crashing_once(path, state.st_size, state.st_mtime_ns)
    with h5py.File(path, "r") as file:
        yield _claim(path, _dataset(path, file, dataset, h5py), channels)


@lru_cache(maxsize=64)
def refuse_crashing_once(path: Path, _size: int, _mtime_ns: int) -> None:
    """Raise EmbstoreError if reading a file crashes HDF5; a file that passes is tested again only after it changes."""
    try:
        refuse_crashing(path, ["/"])
    except ImageError:
        raise
    except EmbstoreError as error:
        raise ImageError(str(error)) from None


def _dataset(path: Path, file: Any, name: str, h5py: Any) -> Any:
    """Return the dataset with this name in this very file; else ImageError, listing those that exist."""
    # links lead to other files, whose changes would not be noticed
    linked = isinstance(file.get(name, getlink=True), h5py.ExternalLink) if name and name in file else False
    dataset = file.get(name) if name and not linked else None
    if isinstance(dataset, h5py.Dataset) and not (dataset.external or dataset.is_virtual):
        return dataset
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    listed = ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "") or "none"
    what = f"no dataset {name!r} of its own" if name else "no picture but datasets"
    example = f"{path.name}::{names[0] if names else 'DATASET'}"
    raise ImageError(f"{path.name} is HDF5 and has {what}, wanted one of: {listed}", todo=f"name it as {example}")


def _claim(path: Path, dataset: Any, channels: int | None) -> Claim:
    shape, dtype = tuple(dataset.shape or ()), dataset.dtype
    check_dtype(path, dtype)
    axes = array_axes(path, shape, channels)
    check_size(path, math.prod(shape) * dtype.itemsize)
    check_size(path, math.prod(dataset.chunks or (1,)) * dtype.itemsize)

    def read() -> np.ndarray:
        return np.asarray(dataset[()])

    return Claim(shape, axes, dtype, UNKNOWN, read)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise EmbstoreError(
            "reading HDF5 needs h5py, which is not installed; run pip install 'embstore[hdf5]'"
        ) from error
    return h5py
