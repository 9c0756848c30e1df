"""Nuclei and cells from the nucleus channel alone: candidates at many thresholds, the best cover, expansion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from embstore.arrays import Bools, Float64s, Int64s, LabelImage
from embstore.pixels.candidates import Candidates
from embstore.pixels.cover import best_cover, features, weighted_median
from embstore.pixels.diameter import (
    disc_diameter_px,
    estimated_pixel_size_um,
    gradient_of,
    nuclear_diameter_px,
)
from embstore.pixels.levels import objects_above
from embstore.pixels.parts import Shades, with_parts
from embstore.pixels.segmentation import SEGMENTER, Segmentation, no_cells
from embstore.pixels.smoothing import local_mean, low_otsu, otsu, reduced, wide_blur

LARGEST = 1e9  # beyond any detector's counts
CLUMPS = "nuclei may be clumps"
NOTHING = "no object stands out from the background like a nucleus"


def segment(nucleus: np.ndarray, pixel_size_um: float | None) -> Segmentation:
    """Find the nuclei of one image in its nucleus channel and grow each into a cell that stops at its neighbours.

    `nucleus` (y, x) of any real dtype, raw counts or scaled -> Segmentation with labels int32 (y, x). The nuclear
    diameter is estimated from the image itself; a known pixel size in µm keeps it believable.
    """
    spread = float(nucleus.max()) - float(nucleus.min()) if nucleus.size else 0.0
    if not math.isfinite(spread) or spread <= 0 or min(nucleus.shape) < 16:
        return no_cells(nucleus.shape, pixel_size_um, "the nucleus channel is constant, not finite or under 16 pixels")
    if np.abs(nucleus).max() > LARGEST:
        nucleus = (nucleus.astype(np.float64) / spread).astype(np.float32)  # squares would overflow
    if nucleus.min() < 0:  # z-scored, or a background taken off: where zero lies means nothing
        nucleus = nucleus.astype(np.float32) - np.float32(nucleus.min())
    diameter_px = nuclear_diameter_px(nucleus, pixel_size_um)
    if diameter_px is None:
        return no_cells(nucleus.shape, pixel_size_um, NOTHING)
    labels, factor, diameter_px = _best_nuclei(nucleus, (diameter_px, disc_diameter_px(nucleus, pixel_size_um)))
    if not labels.any():
        return no_cells(nucleus.shape, pixel_size_um, NOTHING)
    cells = expanded(labels, SEGMENTER["expand"] * _usual_px(labels))
    nuclei, cells = (_enlarged(x, factor, nucleus.shape) for x in (labels, cells))
    note = _clump_note(nuclei, diameter_px)
    return Segmentation(nuclei, cells, pixel_size_um or estimated_pixel_size_um(nuclei), note)


def _clump_note(nuclei: LabelImage, diameter_px: float) -> str:
    """Return a note if the nuclei that were drawn are so large that some may be clumps; empty otherwise.

    `diameter_px` is the estimate from elliptical objects, in which a clump counts no more than a nucleus.
    """
    areas = np.bincount(nuclei.ravel())[1:].astype(np.float64)
    wide = 2 * math.sqrt(weighted_median(areas, areas) / math.pi) / diameter_px
    large = areas[areas > SEGMENTER["clump_area"] * np.median(areas)].sum() / areas.sum()
    if wide <= SEGMENTER["clump_width"] and large <= SEGMENTER["clump_share"]:
        return ""
    return f"{CLUMPS}: {large:.0%} of their area is in nuclei far above the median; look at them, or use --masks"


@dataclass(frozen=True)
class Proposal:
    """The candidate nuclei of an image, the noise of its background, and the width of its nuclei in pixels."""

    candidates: Candidates
    noise: float
    px: float


def _best_nuclei(nucleus: np.ndarray, diameters_px: tuple[float, float]) -> tuple[LabelImage, int, float]:
    """Label the nuclei of an image (y, x) by its first diameter or, where the second is far from it, the better one.

    Grains of chromatin and clumps are both taken for nuclei by one estimate alone. The better one finds the larger area
    of likely nuclei. Returns the labels, by which factor they are reduced, and the diameter in pixels.
    """
    first, second = diameters_px
    apart = max(first, second) / min(first, second)
    best: tuple[float, LabelImage, int, float] | None = None
    for diameter_px in diameters_px if apart > SEGMENTER["diameters_apart"] else diameters_px[:1]:
        factor = max(1, round(diameter_px / SEGMENTER["work_px"]))
        image = reduced(nucleus, factor)
        labels, likely = np.zeros(image.shape, np.int32), 0.0
        if proposal := propose(image, diameter_px / factor):
            rows, chances = _chosen(proposal)
            labels = drawn(proposal.candidates, rows, image.shape)
            likely = float((proposal.candidates.area[rows] * chances[rows]).sum()) * factor**2
        if best is None or likely > best[0]:
            best = likely, labels, factor, diameter_px
    assert best is not None
    return best[1:]


def propose(image: np.ndarray, px: float) -> Proposal | None:
    """Return the candidate nuclei of an image (y, x) whose nuclei are about `px` pixels wide; None without nuclei."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, SEGMENTER["smooth"] * px)
    stretched = np.sqrt(smooth - smooth.min())
    local = SEGMENTER["local_weight"] * wide_blur(stretched, SEGMENTER["neighbourhood"] * px)
    sure = stretched > np.maximum(SEGMENTER["global_weight"] * otsu(stretched), local)
    if not _has_nuclei(smooth, sure):
        return None
    bright = stretched > np.maximum(SEGMENTER["global_weight"] * low_otsu(stretched), local)
    above = smooth - local_mean(smooth, ~bright, SEGMENTER["neighbourhood"] * px)
    noise = 1.4826 * float(np.median(np.abs(above[~bright]))) if not bright.all() else 0.0
    brightest = float(np.percentile(above[sure], 99.5))
    low = max(SEGMENTER["low_noise"] * noise, SEGMENTER["low"] * brightest)
    if low >= SEGMENTER["high"] * brightest:
        return None
    thresholds = np.geomspace(low, SEGMENTER["high"] * brightest, SEGMENTER["levels"])
    gradient = gradient_of(above)
    hole_px = SEGMENTER["hole_area"] * math.pi / 4 * px**2
    tree = objects_above(above, gradient, thresholds, hole_px=hole_px, opened=px > SEGMENTER["opened_px"])
    vicinity = np.maximum(local_mean(above, above > low, SEGMENTER["own_brightness"] * px), 1e-6)
    relative = ndimage.gaussian_filter((above / vicinity).clip(0, 2), SEGMENTER["gap_smooth"] * px)
    return Proposal(with_parts(tree, Shades(above, gradient, relative), px), noise, px)


def _has_nuclei(smooth: np.ndarray, bright: Bools) -> bool:
    """True for a field with nuclei, unlike noise or uneven light, which any threshold cuts into overlapping halves.

    Measured: noise, gradients, vignettes and an empty field stay below 7.5 standard deviations and cover above 70 % of
    the area; nuclear stains, sparse and crowded, reach 12 and more on less than 56 %.
    """
    share = float(bright.mean())
    if not 0 < share <= SEGMENTER["max_bright_share"]:
        return False
    dark = smooth[~bright]
    noise = max(float(dark.std()), 1e-6 * float(np.ptp(smooth)))
    return bool(smooth[bright].mean() - dark.mean() >= SEGMENTER["min_image_contrast"] * noise)


def chosen(proposal: Proposal, weights: dict[str, float] | None = None) -> Int64s:
    """Return the rows of the candidates that are nuclei; `weights` are those of the segmenter's record by default."""
    return _chosen(proposal, weights)[0]


def _chosen(proposal: Proposal, weights: dict[str, float] | None = None) -> tuple[Int64s, Float64s]:
    """Return the rows of the candidates that are nuclei, and the chance of every candidate.

    The nuclei of a first choice correct the nuclear diameter that the second one is made by.
    """
    candidates, px = proposal.candidates, proposal.px
    chances = _chances(proposal, px, weights)
    rows = best_cover(candidates, _scores(candidates, chances, px))
    if len(rows) == 0:
        return rows, chances
    low, high = (limit * px for limit in SEGMENTER["size_range"])
    median = 2 * math.sqrt(weighted_median(candidates.area[rows], chances[rows]) / math.pi)
    px = min(max(median, low), high)
    chances = _chances(proposal, px, weights)
    return best_cover(candidates, _scores(candidates, chances, px)), chances


def _chances(proposal: Proposal, px: float, weights: dict[str, float] | None) -> Float64s:
    """Return the chance that each candidate is one nucleus, by a logistic function of its features."""
    weights = SEGMENTER["weights"] if weights is None else weights
    columns = features(proposal.candidates, px, proposal.noise)
    logit = sum((weights[name] * column for name, column in columns.items()), np.zeros(len(proposal.candidates)))
    chances: Float64s = 1 / (1 + np.exp(-logit.clip(-50, 50)))
    return chances


def _scores(candidates: Candidates, chances: Float64s, px: float) -> Float64s:
    """Return what each candidate adds to a cover; below 0 for what is too small or too large for a nucleus."""
    size = candidates.area / (math.pi / 4 * px**2)
    smallest, largest = SEGMENTER["area_range"]
    allowed = (size >= np.where(candidates.at_border(), SEGMENTER["edge_area"], smallest)) & (size <= largest)
    return np.where(allowed, chances - SEGMENTER["cut"], -1.0)


def drawn(candidates: Candidates, rows: Int64s, shape: tuple[int, ...]) -> LabelImage:
    """Return the label image (y, x) of some disjoint candidates, numbered 1..n in their order."""
    labels = np.zeros(shape, np.int32)
    for image in np.unique(candidates.image[rows]):
        source = candidates.drawn[image]
        number = np.zeros(int(source.max()) + 1, np.int32)
        for label, row in enumerate(rows, start=1):
            if candidates.image[row] == image:
                number[candidates.first[row] : candidates.last[row] + 1] = label
        labels = np.maximum(labels, number[source])
    return labels


def _usual_px(labels: LabelImage) -> float:
    """Return the median width of the labelled objects in pixels."""
    return 2 * math.sqrt(float(np.median(np.bincount(labels.ravel())[1:])) / math.pi)


def expanded(labels: np.ndarray, distance: float) -> np.ndarray:
    """Grow each nucleus of (y, x) into a cell by up to `distance` pixels; it stops where it meets its neighbour."""
    from skimage.segmentation import expand_labels

    expanded: np.ndarray = expand_labels(labels, distance)
    return expanded


def _enlarged(labels: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(n) // factor for n in shape)
    enlarged: np.ndarray = labels[np.ix_(rows, columns)].astype(np.int32)
    return enlarged
