"""Arrays in NumPy's own format (.npy) as images: mapped into memory, never unpickled."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from embstore.errors import ImageError
from embstore.pixels.limits import check_dtype, check_size
from embstore.pixels.planes import WARNINGS, Claim
from embstore.pixels.size import UNKNOWN

NPY_SIGNATURE = b"\x93NUMPY"
_TODO = "save it again with numpy.save"


def open_npy(path: Path, channels: int | None) -> Claim:
    """Return what the header of an array (y, x), (c, y, x) or (y, x, c) claims, checked against the size of its file.

    `channels`, how many are expected, determines which axis of three they are. Raises ImageError for pickles,
    unsupported types and sizes that differ.
    """
    with path.open("rb") as file:
        shape, in_columns, dtype = _header(file)
        start = file.tell()
    if dtype.hasobject:
        raise ImageError(f"{path.name} is a pickle of Python objects, which is never loaded, wanted numbers; {_TODO}")
    check_dtype(path, dtype)
    axes = array_axes(path, shape, channels)
    claimed = math.prod(shape) * dtype.itemsize if min(shape, default=1) > 0 else 0
    check_size(path, claimed)
    stored = path.stat().st_size - start
    if stored != claimed:
        what = "is truncated" if stored < claimed else "continues after its array"
        raise ImageError(f"{path.name} {what}: {stored:,} bytes of pixels, wanted {claimed:,} for {shape}; {_TODO}")

    def read() -> np.ndarray:
        return np.array(np.memmap(path, dtype, "r", start, shape, "F" if in_columns else "C"))

    return Claim(shape, axes, dtype, UNKNOWN, read)


def array_axes(path: Path, shape: tuple[int, ...], channels: int | None) -> str:
    """Return the axes of an array without axis names; ImageError if its shape does not show which are the channels."""
    if len(shape) == 2 or any(n <= 0 for n in shape):
        return "YX" if len(shape) == 2 else "CYX"[-len(shape) :]
    if len(shape) != 3 or channels is None or (shape[0] == channels) == (shape[2] == channels):
        n = "c" if channels is None else channels
        raise ImageError(
            f"{path.name} has the shape {shape}, wanted (y, x), ({n}, y, x) or (y, x, {n}); "
            "save one image a file, its channels first or last"
        )
    return "CYX" if shape[0] == channels else "YXC"


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the note that Python 2 wrote it
        return read(file)
