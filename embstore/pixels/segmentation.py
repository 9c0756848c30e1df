"""The nuclei and cells of one image, and the record of the built-in segmenter that finds them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

NUCLEUS_UM = 12.0  # the median nucleus that a pixel size is estimated from

# Lengths are in nuclear diameters and areas in nuclear areas, so that one recipe serves every magnification. The whole
# record is part of the cell ids: to change a constant is to make new cells.
SEGMENTER: dict[str, Any] = {
    "name": "threshold-tree",
    "revision": 3,
    "nucleus_um": NUCLEUS_UM,
    "nucleus_range_um": [6.0, 30.0],  # believable nuclear diameters, applied where the pixel size is known
    "nucleus_um_spread": 0.5,  # sd of the logarithm of a nucleus' diameter about 12 µm
    "coarse_px": 420,  # longest side of the image on which the nuclear diameter is estimated
    "coarse_smooth_px": 1.0,
    "coarse_levels": 12,
    "coarse_low": 0.5,  # the lowest threshold, of the way from the background to the lower Otsu threshold
    "coarse_noise": 6.0,  # and at least so many times the noise of the background
    "likely_ellipse": 0.94,
    "likely_axes": 1.8,
    "likely_px": 12,
    "least_area": 0.05,
    "diameters_apart": 6.0,  # times: a clump of 36 nuclei is no wider; the better of two estimates is then looked for
    "roundness": 1.15,  # mean diameter over the diameter of the largest disc inside, for ellipses of axes 1.3 : 1
    "work_px": 16,  # nuclear diameter at the resolution that is worked at
    "smooth": 0.05,
    "neighbourhood": 1.0,
    "widest_gaussian_px": 16.0,
    "local_weight": 0.8,
    "global_weight": 0.7,
    "own_brightness": 0.5,
    "levels": 12,
    "low": 0.03,  # the lowest threshold, of the brightest nuclei's light
    "low_noise": 5.0,  # and at least so many times the noise of the background
    "high": 0.9,
    "hole_area": 0.1,
    "opened_px": 10,  # nuclear diameter above which what is thinner than three pixels is dropped
    "divided_area": 1.4,
    "divided_ellipse": 0.94,
    "divided_axes": 1.7,
    "least_divided_area": 0.6,
    "divided_again": 0.7,  # of the area of the last object around it that was divided
    "seed_smooth": 0.06,
    "seed_depth": 0.025,
    "gap_smooth": 0.14,
    "gap_weight": 0.3,
    "cut": 0.4,  # the score below which a candidate is no nucleus
    "size_range": [0.5, 2.0],  # how far the nuclei that were found may move the nuclear diameter
    "area_range": [0.15, 6.0],
    "edge_area": 0.08,
    "clump_area": 3.0,  # above so many median nuclei, an object may be a clump
    "clump_share": 0.2,
    "clump_width": 1.5,
    "max_bright_share": 0.7,
    "min_image_contrast": 8.0,
    "expand": 0.35,
    "weights": json.loads(files("embstore.pixels").joinpath("nuclear_scores.json").read_text("utf-8"))["weights"],
}


@dataclass(frozen=True)
class Segmentation:
    """Nuclei and cells of one image as label images int32 (y, x), labels 1..n shared, each nucleus inside its cell.

    `pixel_size_um` is the one that was given, else estimated from the median nucleus, None without any nucleus. `note`
    states why there is no cell, or what may be wrong with the cells; it is empty otherwise.
    """

    nuclei: np.ndarray
    cells: np.ndarray
    pixel_size_um: float | None
    note: str


def no_cells(shape: tuple[int, ...], pixel_size_um: float | None, note: str) -> Segmentation:
    """Return the segmentation of an image (y, x) without a cell; `note` states why."""
    empty = np.zeros(shape, np.int32)
    return Segmentation(empty, empty.copy(), pixel_size_um, note)
