"""Any real dtype to one of the three that all else works on, without loss of meaning: uint8, uint16 or float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.limits import DTYPES

MAX_COUNT = 65535
MIN_STEPS = 256  # how many steps of a float32 the values must span, as many as an 8-bit picture has


def counts(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any shape as uint8, uint16 or float32.

    Those dtypes stay. Bits become 0 and 255, as in an 8-bit binary image; other whole numbers uint16 where all lie in
    0 to 65535, else float32 (negative values and sums); other floats float32, in which numbers beyond its range are
    infinite. ImageError where values lie so close together, far from zero, that float32 could not tell them apart.
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
            f"{path.name} holds {pixels.dtype.name} values from {low:g} to {high:g}, too close together for float32; "
            "wanted intensities that start near zero; subtract an offset"
        )
    return cast
