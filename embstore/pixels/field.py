"""A whole field as a network is shown it: on a square of a given side, or pixel by pixel."""

from __future__ import annotations

import numpy as np
from PIL import Image

from embstore.errors import ImageError

# Every choice is in the name, because the name is what a space's digest sees.
FIELD_SPEC = "field/zero-padded-square/triangle-filter/1"
NATIVE_SPEC = "field/native/centre-cut-to-patches/1"


def square_field(planes: np.ndarray, px: int) -> np.ndarray:
    """Return the whole field on a square, float32 (c, y, x) -> (c, px, px).

    A field that is not square lies in the middle of one, with zeros beside it, so that shapes stay what they are. A
    triangle filter as wide as the reduction keeps fine structures from aliasing.
    """
    height, width = planes.shape[1:]
    side = max(height, width)
    square = np.zeros((len(planes), side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = planes
    return np.stack(
        [np.asarray(Image.fromarray(plane).resize((px, px), Image.Resampling.BILINEAR)) for plane in square]
    )


def native_field(planes: np.ndarray, patch_px: int) -> np.ndarray:
    """Return a field's own pixels, float32 (..., y, x), its sides cut to multiples of `patch_px` around the middle.

    Raises ImageError for a field that is smaller than one patch.
    """
    height, width = planes.shape[-2:]
    if min(height, width) < patch_px:
        found = f"the field is {width} x {height} px and the network looks at squares of {patch_px}"
        raise ImageError(found, todo="show it at a fixed size: --backbone NAME:unit=image:input_px=224")
    rows, columns = height - height % patch_px, width - width % patch_px
    top, left = (height - rows) // 2, (width - columns) // 2
    return planes[..., top : top + rows, left : left + columns]
