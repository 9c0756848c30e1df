"""The nuclei and cells of one image, and the record of the built-in segmenter that finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NUCLEUS_UM = 12.0  # the median nucleus that a pixel size is estimated from

# Lengths are in nuclear diameters, so that one recipe serves every magnification. The whole record is part of the cell
# ids: to change a constant is to make new cells.
SEGMENTER: dict[str, Any] = {
    "name": "otsu-distance-watershed",
    "revision": 2,
    "nucleus_um": NUCLEUS_UM,
    "nucleus_range_um": [6.0, 30.0],  # believable nuclear diameters, applied where the pixel size is known
    "coarse_smooth_px": 1.0,
    "coarse_px": 400,  # longest side of the image on which the nuclear diameter is estimated
    "roundness": 1.15,  # mean diameter over the diameter of the largest disc inside, for ellipses of axes 1.3 : 1
    "work_px": 24,  # nuclear diameter at the resolution that is worked at
    "smooth": 0.05,
    "neighbourhood": 1.0,
    "widest_gaussian_px": 16.0,
    "local_weight": 0.8,
    "global_weight": 0.7,
    "own_brightness": 0.5,
    "own_weight": 0.5,
    "open": 0.1,
    "seed_smooth": 0.06,
    "gap_smooth": 0.14,
    "gap_weight": 0.3,
    "seed_depth": 0.02,
    "clump_area": 3.0,  # nuclear areas, of which so many at least enclose a gap
    "gap_area": 0.05,  # nuclear areas: three discs that touch enclose (sqrt(3) - pi / 2) / pi = 0.051 of one
    "area_range": [0.15, 6.0],
    "edge_area": 0.08,
    "max_bright_share": 0.7,
    "min_image_contrast": 8.0,
    "min_contrast": 4.0,
    "noise_floor": 0.01,
    "expand": 0.35,
}


@dataclass(frozen=True)
class Segmentation:
    """Nuclei and cells of one image as label images int32 (y, x), labels 1..n shared, each nucleus inside its cell.

    `pixel_size_um` is the one that was given, else estimated from the median nucleus, None without any nucleus. `note`
    states why there is no cell, and is empty if there are cells.
    """

    nuclei: np.ndarray
    cells: np.ndarray
    pixel_size_um: float | None
    note: str


def no_cells(shape: tuple[int, ...], pixel_size_um: float | None, note: str) -> Segmentation:
    """Return the segmentation of an image (y, x) without a cell; `note` states why."""
    empty = np.zeros(shape, np.int32)
    return Segmentation(empty, empty.copy(), pixel_size_um, note)
