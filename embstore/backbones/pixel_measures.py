"""The measurements of `pixel-stats` in a cell: regions, profiles, percentiles, texture, spots, correlation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embstore.arrays import Bools, Float32s, Float64s
from embstore.backbones.crops import Crops
from embstore.backbones.pixel_regions import (
    CENTRE_RINGS,
    CYTOPLASMIC_RINGS,
    NUCLEAR_RINGS,
    PLACES,
    Regions,
    from_centre,
    regions,
)

Named = Iterator[tuple[str, Float64s]]  # a name and one number for each cell

CELLS_AT_ONCE = 8  # so that the regions fit the cache (240 cells/s; 170 at 16)
FAINT = 0.02  # added to both sides of a ratio, so that an empty region means "no signal" and not infinity
FAINT_DETAIL = 0.002  # the same for texture, at the level of a camera's noise after scaling
SIGMAS_PX = (0.7, 1.4, 2.8, 5.6)  # blurs whose differences contain detail of about 0.5, 1 and 2 µm
SPOT_HEIGHTS = (0.25, 1.0)  # a spot is brighter than its surroundings by so many mean intensities of the cell
OPENINGS_PX = (5, 9)
CELL_PERCENTILES = (5, 25, 50, 75, 95, 99)
NUCLEUS_PERCENTILES = (10, 50, 90, 99)


def measure(crops: Crops) -> dict[str, Float64s]:
    """Return every measurement by name, float64 (n,), unscaled; NaN if it cannot be made.

    Measurements of a role that the crops lack are left out.
    """
    if not len(crops):
        return {}
    parts = [dict(_measure_chunk(crops, slice(i, i + CELLS_AT_ONCE))) for i in range(0, len(crops), CELLS_AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure_chunk(crops: Crops, chunk: slice) -> Named:
    places = regions(crops.nucleus[chunk], crops.cell[chunk])
    planes = {role: crops.pixels[chunk, i] for i, role in enumerate(crops.roles)}
    if "nucleus" in planes:
        yield from _prefixed("nucleus", _role(planes["nucleus"], places, ("all nucleus",)))
    if "protein" in planes:
        yield from _prefixed("protein", _role(planes["protein"], places, ("all nucleus", "all cytoplasm")))
        yield from _prefixed("protein", _extent(planes["protein"], places))
        yield from _prefixed("protein", _polarity(planes["protein"], places, crops.nucleus[chunk]))
    if "nucleus" in planes and "protein" in planes:
        yield from _prefixed("both", _overlap(planes["nucleus"], planes["protein"], places))


def _prefixed(prefix: str, named: Named) -> Named:
    return ((f"{prefix}: {name}", values) for name, values in named)


def _role(plane: Float32s, places: Regions, wholes: tuple[str, ...]) -> Named:
    """Measure what is measured of every role: brightness, regions, nuclear profile, detail inside `wholes`."""
    flat = plane.reshape(len(plane), -1)
    mean = places.means(flat, ("all cell",))[:, 0]
    yield "mean in the cell", np.log2(mean + FAINT)
    yield from _ratios(flat, places, (*PLACES, *NUCLEAR_RINGS), mean)
    yield from _percentiles(flat, places, "all nucleus", NUCLEUS_PERCENTILES)
    blurred = [_blur(plane, sigma) for sigma in SIGMAS_PX]
    for whole in wholes:
        yield from _variation(flat, places, whole)
        yield from _detail(blurred, places, whole, mean)
        yield from _shapes(blurred[1], places, whole)
    yield from _spots(blurred[0] - blurred[2], places, wholes, mean)


def _extent(plane: Float32s, places: Regions) -> Named:
    """Measure a protein's distribution from the nucleus outwards and how unevenly it fills the cell."""
    flat = plane.reshape(len(plane), -1)
    mean = places.means(flat, ("all cell",))[:, 0]
    yield from _ratios(flat, places, (*CYTOPLASMIC_RINGS, *CENTRE_RINGS), mean)
    yield from _percentiles(flat, places, "all cell", CELL_PERCENTILES)
    yield from _variation(flat, places, "all cell")
    yield from _granularity(plane, places, mean)
    centre, edge = places.means(flat, ("all nucleus", "all cytoplasm")).T
    yield "nucleus to cytoplasm", _ratio(centre, edge)


def _ratio(part: Float64s, whole: Float64s, least: float = FAINT) -> Float64s:
    """Return the ratio of `part` to `whole` in doublings (log2); `least` and FAINT keep faint signals finite."""
    ratio: Float64s = np.log2((part + least) / (whole + FAINT))
    return ratio


def _ratios(flat: Float32s, places: Regions, names: tuple[str, ...], mean: Float64s) -> Named:
    means = places.means(flat, names)
    for column, name in enumerate(names):
        yield f"mean of {name}", _ratio(means[:, column], mean)


def _percentiles(flat: Float32s, places: Regions, whole: str, wanted: tuple[int, ...]) -> Named:
    mask, mean = places.mask(whole), places.means(flat, (whole,))[:, 0]
    percentiles = np.full((len(flat), len(wanted)), np.nan)
    for i in range(len(flat)):
        values = np.sort(flat[i][mask[i]])
        if values.size:
            percentiles[i] = np.interp(np.array(wanted) / 100 * (values.size - 1), np.arange(values.size), values)
    for column, percent in enumerate(wanted):
        yield f"percentile {percent} of {whole}", _ratio(percentiles[:, column], mean)


def _moments(flat: Float32s, places: Regions, whole: str) -> tuple[Float64s, Float64s, Float64s]:
    """Return mean, sd and skewness inside a region, each (n,); the skewness of a constant region is about 0."""
    mean = places.means(flat, (whole,))
    off = flat - np.nan_to_num(mean).astype(np.float32)
    squared = off * off
    sd = np.sqrt(places.means(squared, (whole,))[:, 0])
    # a product, because a float32 power of 3 costs 50 times more
    return mean[:, 0], sd, places.means(squared * off, (whole,))[:, 0] / (sd + FAINT_DETAIL) ** 3


def _variation(flat: Float32s, places: Regions, whole: str) -> Named:
    mean, sd, skewness = _moments(flat, places, whole)
    yield f"variation in {whole}", _ratio(sd, mean, FAINT_DETAIL)
    yield f"skewness in {whole}", np.arcsinh(skewness)


def _blur(plane: Float32s, sigma: float) -> Float32s:
    from scipy.ndimage import gaussian_filter

    blurred: Float32s = gaussian_filter(plane, (0, sigma, sigma), mode="nearest", truncate=3.0)
    return blurred


def _detail(blurred: list[Float32s], places: Regions, whole: str, mean: Float64s) -> Named:
    """Measure how much detail there is at three sizes, and whether it is bright on dark or dark on bright."""
    for i in range(len(SIGMAS_PX) - 1):
        detail = (blurred[i] - blurred[i + 1]).reshape(len(mean), -1)
        squared = detail * detail
        energy = np.sqrt(places.means(squared, (whole,))[:, 0])
        yield f"detail {i} in {whole}", _ratio(energy, mean, FAINT_DETAIL)
        if i:  # the finest detail is mostly the camera's noise, whose sign means nothing
            sign = places.means(squared * detail, (whole,))[:, 0] / (energy + FAINT_DETAIL) ** 3
            yield f"brightness of detail {i} in {whole}", np.arcsinh(sign)


def _shapes(blurred: Float32s, places: Regions, whole: str) -> Named:
    """Measure whether bright detail is round or elongated, and how much of the detail is dark (second derivatives)."""
    strongest, weakest = (plane.reshape(len(blurred), -1) for plane in _curvatures(blurred))
    ridge, blob, hole = (places.means(np.maximum(bent, 0), (whole,))[:, 0] for bent in (-strongest, -weakest, weakest))
    yield f"roundness of spots in {whole}", np.log2((blob + FAINT_DETAIL / 4) / (ridge + FAINT_DETAIL / 4))
    yield f"holes in {whole}", np.log2((hole + FAINT_DETAIL / 4) / (ridge + FAINT_DETAIL / 4))


def _curvatures(plane: Float32s) -> tuple[Float32s, Float32s]:
    """Return the smallest and the largest second derivative over all directions, each (n, y, x)."""
    wide = np.pad(plane, ((0, 0), (1, 1), (1, 1)), mode="edge")
    middle = 2 * plane
    yy = wide[:, 2:, 1:-1] + wide[:, :-2, 1:-1] - middle
    xx = wide[:, 1:-1, 2:] + wide[:, 1:-1, :-2] - middle
    xy = (wide[:, 2:, 2:] + wide[:, :-2, :-2] - wide[:, 2:, :-2] - wide[:, :-2, 2:]) / 4
    half: Float32s = np.asarray((yy + xx) / 2, np.float32)
    spread: Float32s = np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    return half - spread, half + spread


def _spots(detail: Float32s, places: Regions, wholes: tuple[str, ...], mean: Float64s) -> Named:
    """Count the local maxima that are brighter than their surroundings."""
    from scipy.ndimage import maximum_filter

    peaks = (detail == maximum_filter(detail, (1, 3, 3), mode="nearest")).reshape(len(detail), -1)
    heights = detail.reshape(len(detail), -1) / (np.nan_to_num(mean)[:, None] + FAINT)
    for whole in wholes:
        inside = peaks & places.mask(whole)
        for height in SPOT_HEIGHTS:
            counts = np.log2(1.0 + (inside & (heights > height)).sum(axis=1))
            yield f"spots above {height} in {whole}", np.where(np.isnan(mean), np.nan, counts)


def _granularity(plane: Float32s, places: Regions, mean: Float64s) -> Named:
    """Measure how much intensity is in grains narrower than a square (what a grey opening removes)."""
    from scipy.ndimage import grey_opening

    for side in OPENINGS_PX:
        kept = grey_opening(plane, (1, side, side), mode="nearest")
        removed = places.means((plane - kept).reshape(len(plane), -1), ("all cell",))[:, 0]
        yield f"grains below {side} px", removed / (mean + FAINT)


def _polarity(plane: Float32s, places: Regions, nucleus: Bools) -> Named:
    """Measure whether the cytoplasm's bright part is on one side of the nucleus, and how far out."""
    flat, mask = plane.reshape(len(plane), -1), places.mask("all cytoplasm")
    polarity = np.full((len(flat), 2), np.nan)
    for i in np.flatnonzero(mask.any(axis=1) & nucleus.any(axis=(1, 2))):
        (ys, xs), radius = from_centre(nucleus[i])
        y, x, values = ys.ravel()[mask[i]], xs.ravel()[mask[i]], flat[i][mask[i]].astype(np.float64)
        bright = np.maximum(values - values.mean(), 0)
        reach, total = np.maximum(np.hypot(y, x), 1e-9), max(bright.sum(), 1e-9)
        polarity[i] = (
            np.hypot((bright * y / reach).sum(), (bright * x / reach).sum()) / total,
            bright @ reach / total / radius,
        )
    yield "one-sidedness in the cytoplasm", polarity[:, 0]
    yield "reach in the cytoplasm", polarity[:, 1]


def _overlap(nucleus: Float32s, protein: Float32s, places: Regions) -> Named:
    """Correlate the two stains inside the cell's regions, unchanged and at the middle size of detail."""
    fine = [_blur(plane, SIGMAS_PX[0]) - _blur(plane, SIGMAS_PX[2]) for plane in (nucleus, protein)]
    flat = [plane.reshape(len(plane), -1) for plane in (nucleus, protein, *fine)]
    for whole in ("all cell", "all nucleus", "all cytoplasm"):
        yield f"correlation in {whole}", _correlation(flat[0], flat[1], places, whole)
    yield "correlation of detail in all nucleus", _correlation(flat[2], flat[3], places, "all nucleus")


def _correlation(a: Float32s, b: Float32s, places: Regions, whole: str) -> Float64s:
    """Return Pearson's correlation inside a region, (n,); 0 if a stain is constant."""
    a = a - np.nan_to_num(places.means(a, (whole,))).astype(np.float32)
    b = b - np.nan_to_num(places.means(b, (whole,))).astype(np.float32)
    ab, aa, bb = (places.means(product, (whole,))[:, 0] for product in (a * b, a * a, b * b))
    return ab / (np.sqrt(aa * bb) + 1e-9)
