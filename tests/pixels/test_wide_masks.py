"""Masks of cells under the name of nuclei are noticed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from embstore.pixels.masks import Mask, from_masks


def test_a_mask_of_cells_that_is_named_like_nuclei_is_noted() -> None:
    """It covers far more than the light of the nuclei; a mask of these nuclei has no such note."""
    y, x = np.mgrid[:160, :160]
    nuclei = sum(n * (np.hypot(y - cy, x - cx) < 12) for n, (cy, cx) in enumerate(((40, 40), (110, 100)), start=1))
    channel = np.random.default_rng(0).poisson(100 + 900 * (nuclei > 0))
    cells = sum(n * (ndimage.distance_transform_edt(nuclei != n) < 14) for n in (1, 2))
    wide, tight = (from_masks(Mask(m.astype(np.int32)), None, channel, 0.4).note for m in (cells, nuclei))
    assert "end its name in _cells or put it in a folder called cells" in wide
    assert tight == "cells grown from the nuclei of a mask"
