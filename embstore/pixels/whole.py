"""A ready-made crop as a segmentation: one cell that fills its image."""

from __future__ import annotations

from typing import Any

import numpy as np

from embstore.pixels.segmentation import Segmentation

# like the segmenter's, this record is part of the cell ids
WHOLE_IMAGE: dict[str, Any] = {
    "name": "whole-image",
    "revision": 1,
    "cell": "every pixel",
    "nucleus": "otsu, its largest object, holes filled",
    "width_um": 25.0,  # assumed width of a crop of unknown pixel size: that of embstore's own crops
}


def whole_image(pixels: np.ndarray, nucleus: np.ndarray | None, pixel_size_um: float | None) -> Segmentation:
    """Return an image (c, y, x) as one cell; its nucleus is the largest bright object of `nucleus` (y, x), if any.

    If the pixel size is unknown, that of `assumed_pixel_size_um` is used.
    """
    shape = pixels.shape[1:]
    cells = np.ones(shape, np.int32)
    nuclei = np.zeros(shape, np.int32) if nucleus is None else _nucleus(nucleus)
    return Segmentation(nuclei, cells, pixel_size_um or assumed_pixel_size_um(shape), "")


def assumed_pixel_size_um(shape: tuple[int, ...]) -> float:
    """Return the pixel size at which the longer side of a crop (y, x) is 25 µm, so that a backbone sees all of it.

    The nucleus of one crop is too little for an estimate.
    """
    return float(WHOLE_IMAGE["width_um"]) / max(shape)


def _nucleus(channel: np.ndarray) -> np.ndarray:
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    if not np.isfinite(channel).all() or np.ptp(channel) == 0:
        return np.zeros(channel.shape, np.int32)
    objects, n = ndimage.label(channel > threshold_otsu(channel))
    if n == 0:
        return np.zeros(channel.shape, np.int32)
    largest = np.argmax(np.bincount(objects.ravel())[1:]) + 1
    filled: np.ndarray = ndimage.binary_fill_holes(objects == largest).astype(np.int32)
    return filled
