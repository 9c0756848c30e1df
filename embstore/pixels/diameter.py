"""How wide the nuclei of an image are, before any of them is drawn, and the pixel size that this makes likely."""

from __future__ import annotations

import math

import numpy as np

from embstore.arrays import Bools, Float64s, LabelImage
from embstore.pixels.candidates import BORDER, BORDER_GRADIENT, Candidates
from embstore.pixels.cover import weighted_median
from embstore.pixels.levels import objects_above
from embstore.pixels.segmentation import NUCLEUS_UM, SEGMENTER
from embstore.pixels.smoothing import low_otsu, otsu, reduced


def nuclear_diameter_px(nucleus: np.ndarray, pixel_size_um: float | None) -> float | None:
    """Return the median nuclear diameter of an image (y, x) in pixels; None where nothing stands out from it.

    It is the median over the elliptical objects above many thresholds, each place counted once and weighted by how
    steep its border is: by number and not by area, because a clump is one large object. Specks far below the median by
    area are left out. Where the pixel size is known, objects count less the further they are from 12 µm.
    """
    factor = max(1, round(max(nucleus.shape) / SEGMENTER["coarse_px"]))
    tree = _coarse_objects(reduced(nucleus, factor))
    if len(tree) == 0:
        return None
    steep = tree.sums[:, BORDER_GRADIENT] / np.maximum(tree.sums[:, BORDER], 1)
    likely = _likely(tree)
    rows = _steepest(tree, np.where(likely if likely.any() else True, steep, 0))
    rows &= tree.area >= SEGMENTER["least_area"] * weighted_median(tree.area[rows], (steep * tree.area)[rows])
    widths, weights = 2 * np.sqrt(tree.area[rows] / math.pi) * factor, steep[rows]
    if not likely.any():  # of nuclei that touch, the narrow side is that of one
        widths /= np.sqrt(tree.ellipses()[1][rows])
    if pixel_size_um is not None:
        away = np.log(widths * pixel_size_um / NUCLEUS_UM) / SEGMENTER["nucleus_um_spread"]
        weights = weights * np.exp(-0.5 * away**2) + 1e-9
    return _believable(weighted_median(widths, weights), nucleus.shape, pixel_size_um)


def disc_diameter_px(nucleus: np.ndarray, pixel_size_um: float | None) -> float:
    """Return the typical width in pixels of the largest discs inside what is bright, weighted by area.

    It is a second estimate of the nuclear diameter, that grains within nuclei do not disturb; clumps do.
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max

    factor = max(1, round(max(nucleus.shape) / SEGMENTER["coarse_px"]))
    smooth = ndimage.gaussian_filter(reduced(nucleus, factor), SEGMENTER["coarse_smooth_px"])
    stretched = np.sqrt(smooth - smooth.min())
    tree = objects_above(stretched, stretched, np.array([otsu(stretched)]), hole_px=None, opened=False)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(tree.drawn[0] > 0), 1)
    peaks = peak_local_max(distance, min_distance=3, threshold_abs=1, exclude_border=False)
    radii = distance[tuple(peaks.T)].astype(np.float64)
    width = 2 * SEGMENTER["roundness"] * weighted_median(radii, radii**2) * factor if len(radii) else 0.0
    return _believable(width, nucleus.shape, pixel_size_um)


def _believable(width: float, shape: tuple[int, ...], pixel_size_um: float | None) -> float:
    """Return a diameter in pixels within what an image can show and, at a known pixel size, what nuclei measure."""
    low, high = 4.0, 0.6 * min(shape)
    if pixel_size_um is not None:
        low, high = (min(max(um / pixel_size_um, low), high) for um in SEGMENTER["nucleus_range_um"])
    return float(min(max(width, low), high))


def _coarse_objects(image: np.ndarray) -> Candidates:
    """Return the objects of an image (y, x) above thresholds from the noise of its background to its brightest."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, SEGMENTER["coarse_smooth_px"])
    stretched = np.sqrt(smooth - smooth.min())
    threshold = low_otsu(stretched)
    dark = stretched[stretched <= threshold]
    base = float(np.median(dark)) if len(dark) else 0.0
    noise = 1.4826 * float(np.median(np.abs(dark - base))) if len(dark) else 0.0
    low = max(SEGMENTER["coarse_low"] * (threshold - base), SEGMENTER["coarse_noise"] * noise, 1e-9)
    high = max(SEGMENTER["high"] * (float(stretched.max()) - base), low)
    levels = base + np.geomspace(low, high, SEGMENTER["coarse_levels"])
    return objects_above(stretched, gradient_of(stretched), levels, hole_px=None, opened=False)


def _likely(tree: Candidates) -> Bools:
    """True for the objects that look like a nucleus; those that the border cuts count only where there is no other."""
    elliptical, axes = tree.ellipses()
    likely = (elliptical > SEGMENTER["likely_ellipse"]) & (axes < SEGMENTER["likely_axes"])
    likely &= tree.area >= SEGMENTER["likely_px"]
    whole = likely & ~tree.at_border()
    counted: Bools = whole if whole.any() else likely
    return counted


def gradient_of(image: np.ndarray) -> np.ndarray:
    """Return the length of the gradient at each pixel."""
    length: np.ndarray = np.hypot(*np.gradient(image))
    return length


def _steepest(tree: Candidates, steep: Float64s) -> Bools:
    """True for the objects of the steepest border, of which none lies in another; those of 0 are left out."""
    taken, around = np.zeros(len(tree), bool), np.zeros(len(tree), bool)
    for row in np.argsort(-steep, kind="stable")[: np.count_nonzero(steep)]:
        ancestors = []
        above = tree.parent[row]
        while above >= 0:
            ancestors.append(above)
            above = tree.parent[above]
        if not around[row] and not taken[ancestors].any():
            taken[row] = True
            around[ancestors] = True
    return taken


def estimated_pixel_size_um(nuclei: LabelImage) -> float:
    """Return µm per pixel if the median nucleus of this image, taken as a disc, is 12 µm wide.

    The median is over nuclear area, so that debris and fragments weigh little, and leaves out what the border cuts.
    """
    areas = np.bincount(nuclei.ravel())
    areas[0] = 0
    whole = areas.copy()
    whole[np.unique(np.concatenate([nuclei[0], nuclei[-1], nuclei[:, 0], nuclei[:, -1]]))] = 0
    counted = (whole[whole > 0] if whole.any() else areas[areas > 0]).astype(np.float64)
    return NUCLEUS_UM / (2 * math.sqrt(weighted_median(counted, counted) / math.pi))
