"""Limits on what an image file may claim, checked before memory is allocated for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import ImageError

# The largest field seen in practice is 3072 × 3072 × 4 channels of uint16 (75 MB); the rest allows for stitched ones.
MAX_BYTES = 1 << 30
# Real fields compress 2-4 times and label masks up to about 150 times; deflate can reach 1032 times.
# An empty field is legitimate, so the ratio is checked only above a size that costs memory.
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 << 20
MAX_CHANNELS = 64  # the most highly multiplexed panels
MAX_STACK_PAGES = 2048  # channels × depth of a z-stack; its bytes are limited like any other image's
MAX_UNNAMED_PLANES = 8  # planes of unnamed meaning: more of them are a z-stack rather than channels
DTYPES = ("uint8", "uint16", "float32")  # the dtypes of images after reading
READABLE = (*DTYPES, "bool", "int8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float64")


def check_size(path: Path, claimed: int) -> None:
    """Raise ImageError if a file would decode to nothing, or to more memory than a field of view needs."""
    if claimed <= 0:
        raise ImageError(f"{path.name} has no pixels, wanted at least one; export the file again")
    if claimed > MAX_BYTES:
        raise ImageError(
            f"{path.name} claims {claimed / 1e9:,.1f} GB of pixels, wanted at most {MAX_BYTES / 1e9:.1f} GB; "
            "cut it into fields of view"
        )
    ratio = claimed / max(path.stat().st_size, 1)
    if claimed > RATIO_FREE_BYTES and ratio > MAX_RATIO:
        raise ImageError(
            f"{path.name} would grow {ratio:,.0f} times to {claimed / 1e6:,.0f} MB, wanted at most {MAX_RATIO} times; "
            "if it is a real image, save it uncompressed"
        )


def check_dtype(path: Path, dtype: np.dtype[Any]) -> None:
    """Raise ImageError for pixels of a kind that no microscope or segmentation writes, such as complex numbers."""
    if dtype.name not in READABLE:
        raise ImageError(f"{path.name} has {dtype.name} pixels, wanted integers or floats of 8 to 64 bits; convert it")
