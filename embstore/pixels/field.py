"""A whole field as input of a network: resized to a square, or at its own pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from embstore.errors import ImageError

# every choice is part of this name, because the name is part of a space's digest
FIELD_SPEC = "field/zero-padded-square/triangle-filter/1"
NATIVE_SPEC = "field/native/centre-cut-to-patches/1"


def square_field(planes: np.ndarray, px: int) -> np.ndarray:
    """Return the whole field resized to a square, float32 (c, y, x) -> (c, px, px).

    A field that is not square is centred in one and padded with zeros, so that shapes are not distorted. A triangle
    filter as wide as the reduction prevents aliasing.
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
    """Return a field at its own pixels, float32 (..., y, x), cropped around its centre to multiples of `patch_px`.

    Raises ImageError if the field is smaller than one patch.
    """
    height, width = planes.shape[-2:]
    if min(height, width) < patch_px:
        problem = f"the field is {width} x {height} px and the network needs at least {patch_px} x {patch_px}"
        raise ImageError(problem, todo="show it at a fixed size: --backbone NAME:unit=image:input_px=224")
    rows, columns = height - height % patch_px, width - width % patch_px
    top, left = (height - rows) // 2, (width - columns) // 2
    return planes[..., top : top + rows, left : left + columns]
