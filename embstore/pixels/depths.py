"""Convert any real dtype to uint8, uint16 or float32 without loss of meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.limits import DTYPES

MAX_COUNT = 65535
MIN_STEPS = 256  # how many float32 steps the values must span: as many as an 8-bit picture has


def counts(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any shape as uint8, uint16 or float32.

    These dtypes are kept. Bits become 0 and 255, as in an 8-bit binary image. Other integers become uint16 if all are
    in 0 to 65535, else float32 (negative values and sums). Other floats become float32; numbers beyond its range become
    infinite. Raises ImageError if values are so close together, far from zero, that float32 could not distinguish them.
    """
    if pixels.dtype.name in DTYPES:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    low, high = pixels.min().item(), pixels.max().item()
    if pixels.dtype.kind in "iu" and 0 <= low <= high <= MAX_COUNT:
        return pixels.astype(np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = pixels.astype(np.float32)
        step = float(np.spacing(max(np.abs(cast.min()), np.abs(cast.max()))))
    if 0 < high - low < MIN_STEPS * step:
        raise ImageError(
            f"{path.name} has {pixels.dtype.name} values from {low:g} to {high:g}, too close together for float32; "
            "wanted intensities that start near zero; subtract an offset"
        )
    return cast
