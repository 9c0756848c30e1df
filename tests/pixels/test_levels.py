"""The tree of thresholds: every object lies in one of the threshold below."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from embstore.pixels.levels import objects_above


@pytest.mark.parametrize("hole_px", [None, 0.0, 9.0])
@pytest.mark.parametrize("opened", [False, True])
def test_every_object_lies_in_its_parent(hole_px: float | None, opened: bool) -> None:
    """In blurred noise, full of holes and islands: areas agree with the labels, and pixels with the parent's."""
    for seed in range(5):
        light = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 70)), 1).astype(np.float32)
        tree = objects_above(light, light, np.linspace(-0.3, 0.6, 8), hole_px=hole_px, opened=opened)
        for row in range(len(tree)):
            inside = tree.drawn[tree.image[row]] == tree.first[row]
            assert tree.area[row] == inside.sum() > 0
            if (parent := tree.parent[row]) >= 0:
                assert (tree.drawn[tree.image[parent]][inside] == tree.first[parent]).all()
