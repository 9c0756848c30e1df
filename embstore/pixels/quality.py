"""Quality flags: what an expert would notice in a cell before trusting its vector, each with its rule and source.

| flag | the cell |
|---|---|
| `touches_edge` | is cut by the border of the image |
| `area_outlier` | has a nucleus of unusual size: modified z-score of log area above 3.5 among those of the image |
| `saturated` | has 1 % or more of its protein pixels, or of its nucleus' pixels, at the camera's full scale |
| `out_of_focus` | has a nucleus whose edge is wider than 3 µm |
| `empty_protein` | shows no protein: 95 % of its pixels are within 3 sd of the background |
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from embstore.arrays import Bools, Float64s
from embstore.pixels.crop import CellGeometry
from embstore.pixels.segment import LARGEST
from embstore.pixels.segmentation import SEGMENTER, Segmentation
from embstore.pixels.smoothing import reduced

FLAGS = ("touches_edge", "area_outlier", "saturated", "out_of_focus", "empty_protein")

# B. Iglewicz and D. C. Hoaglin, How to Detect and Handle Outliers (1993): |0.6745 (x - median) / MAD| > 3.5
MAX_Z = 3.5
MIN_WHOLE = 10  # whole nuclei; with fewer, an image has no usual size
MIN_SPREAD = 0.15  # sd of log area; with less, a uniform field would have ordinary nuclei flagged
MAX_SATURATED = 0.01
# of cameras, also if a file's dtype is wider (counts saved as floats), and of int16
FULL_SCALES = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 15, 16))
# Blur as the width of an edge: P. Marziliano et al., A no-reference perceptual blur metric, ICIP 2002. Of 1,194 nuclei
# in 37 real fields (0.08 to 0.5 µm per pixel) 16 are wider, and 1,037 after a Gaussian blur of sd 1.5 µm; read noise
# of 10 % of the contrast changes a width by less than 15 %.
MAX_EDGE_UM = 3.0
FOCUS_PX_UM = 0.2  # finer images are averaged to about this
GRADIENT_UM = 0.3  # sd of the Gaussian derivative
EDGE_UM = 1.0  # how far on either side of the outline the edge is searched
MAX_NOISE = 3.0  # sd
MIN_OUTSIDE = 0.01  # share of an image outside all cells; if it is smaller, the whole image serves as background


def quality_flags(
    segmentation: Segmentation,
    pixels: np.ndarray,
    roles: Sequence[str],
    cells: Sequence[CellGeometry],
    known_um: float | None,
) -> list[list[str]]:
    """Return the flags of every cell, in the order of `cells` and of FLAGS.

    `pixels` (c, y, x) are raw counts or floats, one channel for each role. `known_um` is the pixel size if it was not
    estimated from these nuclei; then nuclei outside 6 to 30 µm are area outliers too. Flags that need a missing channel
    are not set.
    """
    nucleus, protein = (_tamed(pixels[roles.index(r)]) if r in roles else None for r in ("nucleus", "protein"))
    flagged = (
        np.array([cell.touches_edge for cell in cells], bool),
        _area_outliers(cells, known_um),
        _saturated(segmentation.cells, protein, cells) | _saturated(segmentation.nuclei, nucleus, cells),
        _edge_widths_um(segmentation.nuclei, nucleus, cells, segmentation.pixel_size_um) > MAX_EDGE_UM,
        _empty(segmentation.cells, protein, cells),
    )
    return [[name for name, marked in zip(FLAGS, flagged, strict=True) if marked[i]] for i in range(len(cells))]


def _tamed(channel: np.ndarray) -> np.ndarray:
    """Return a channel scaled so that squares do not overflow; no rule depends on a float's unit."""
    if channel.dtype.kind != "f" or not channel.size or np.abs(channel).max() <= LARGEST:
        return channel
    tamed: np.ndarray = (channel / np.abs(channel).max().astype(np.float64)).astype(np.float32)
    return tamed


def _area_outliers(cells: Sequence[CellGeometry], known_um: float | None) -> Bools:
    """Return which nuclei have an unusual area; cut ones are not judged, and if no cell has a nucleus, cells are."""
    areas = np.array([cell.nucleus_area_px for cell in cells], np.float64)
    outlying = np.zeros(len(cells), bool)
    of_nuclei = bool(areas.any())
    if not of_nuclei:
        areas = np.array([cell.cell_area_px for cell in cells], np.float64)
    judged = (areas > 0) & ~np.array([cell.touches_edge for cell in cells], bool)
    if known_um is not None and of_nuclei:
        width_um = 2 * np.sqrt(areas / math.pi) * known_um
        low, high = SEGMENTER["nucleus_range_um"]
        outlying |= judged & ((width_um < low) | (width_um > high))
    if judged.sum() >= MIN_WHOLE:
        logs = np.log(np.maximum(areas, 1))
        away = np.abs(logs - np.median(logs[judged]))
        outlying |= judged & (away > MAX_Z * max(1.4826 * float(np.median(away[judged])), MIN_SPREAD))
    return outlying


def _saturated(labels: np.ndarray, channel: np.ndarray | None, cells: Sequence[CellGeometry]) -> Bools:
    """Return which cells have too many pixels at full scale; scaled images have no full scale."""
    marked = np.zeros(len(cells), bool)
    if channel is None or not channel.size or float(channel.max()) not in FULL_SCALES:
        return marked
    full = channel == channel.max()
    for i, cell in enumerate(cells):
        inside = _window(labels, cell)
        marked[i] = inside.any() and _window_of(full, cell)[inside].mean() >= MAX_SATURATED
    return marked


def _empty(labels: np.ndarray, protein: np.ndarray | None, cells: Sequence[CellGeometry]) -> Bools:
    """Return which cells have a protein channel that does not differ from the background.

    The background is the dark end of the pixels outside all cells, since cells reach beyond their outlines; its sd is
    that of the pixels' noise, since smooth variation may be cytoplasm.
    """
    marked = np.zeros(len(cells), bool)
    if protein is None or not cells:
        return marked
    outside = protein[labels == 0]
    if outside.size < MIN_OUTSIDE * labels.size:
        outside = protein.ravel()
    sd = _noise(protein)
    limit = float(np.percentile(outside, 2.275)) + (2 + MAX_NOISE) * sd  # 2.3 % of a normal background are 2 sd below
    for i, cell in enumerate(cells):
        marked[i] = np.percentile(_window_of(protein, cell)[_window(labels, cell)], 95) <= limit
    return marked


def _noise(channel: np.ndarray) -> float:
    """Return the sd of a channel's pixel noise: J. Immerkær, Fast Noise Variance Estimation (1996), with a median."""
    from scipy import ndimage

    second = ndimage.convolve1d(channel.astype(np.float32), (1, -2, 1), axis=0)
    differences = np.abs(ndimage.convolve1d(second, (1, -2, 1), axis=1))  # of 6 sd: its squared weights sum to 36
    least = 1.0 if _are_counts(channel) else 1e-6 * float(np.ptp(channel))
    return max(float(np.median(differences)) / (6 * 0.6745), least)


def _are_counts(channel: np.ndarray) -> bool:
    """True if a channel contains whole numbers, whatever its dtype, so that values differ by at least one."""
    return channel.dtype.kind == "u" or bool((channel == np.floor(channel)).all())


def _edge_widths_um(
    labels: np.ndarray, nucleus: np.ndarray | None, cells: Sequence[CellGeometry], um: float | None
) -> Float64s:
    """Return the width of each nucleus's edge in µm: contrast over steep gradient (upper quartile along the outline).

    NaN if it cannot be measured: no nucleus, no background next to it, no channel.
    """
    widths = np.full(len(cells), np.nan)
    if nucleus is None or um is None or not labels.any():
        return widths
    factor = max(1, int(FOCUS_PX_UM / um))
    image, um = reduced(nucleus, factor), um * factor
    # the pixel in the middle of each block; blocks at the border are padded with their last pixels
    rows, columns = (
        np.minimum(np.arange(n) * factor + factor // 2, m - 1) for n, m in zip(image.shape, labels.shape, strict=True)
    )
    return _widths(labels[np.ix_(rows, columns)], image, [cell.label for cell in cells], um)


def _widths(labels: np.ndarray, image: np.ndarray, wanted: Sequence[int], um: float) -> Float64s:
    from scipy import ndimage

    gradient = ndimage.gaussian_gradient_magnitude(image, max(GRADIENT_UM / um, 0.7))
    boxes = ndimage.find_objects(labels, max_label=max(wanted))
    reach = math.ceil(2 * EDGE_UM / um) + 1
    widths = np.full(len(wanted), np.nan)
    for i, label in enumerate(wanted):
        if (box := boxes[label - 1]) is not None:
            around = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in box)
            widths[i] = um * _edge_px(labels[around], label, image[around], gradient[around], EDGE_UM / um)
    return widths


def _edge_px(labels: np.ndarray, label: int, image: np.ndarray, gradient: np.ndarray, reach: float) -> float:
    """Return contrast over gradient, in pixels, of one nucleus against its surroundings, without other nuclei."""
    from scipy import ndimage

    mine, free = labels == label, labels == 0
    distance = ndimage.distance_transform_edt(mine) - ndimage.distance_transform_edt(~mine)
    edge = (np.abs(distance) <= reach) & (mine | free)
    inside, outside = distance > reach, (distance < -reach) & (distance > -2 * reach) & free
    if min(edge.sum(), inside.sum(), outside.sum()) < 10:
        return math.nan
    contrast = float(np.median(image[inside])) - float(np.percentile(image[outside], 25))
    steep = float(np.percentile(gradient[edge], 75))
    return contrast / steep if contrast > 0 and steep > 0 else math.nan


def _window_of(image: np.ndarray, cell: CellGeometry) -> np.ndarray:
    y0, x0, y1, x1 = cell.box
    return image[y0:y1, x0:x1]


def _window(labels: np.ndarray, cell: CellGeometry) -> Bools:
    inside: Bools = _window_of(labels, cell) == cell.label
    return inside
