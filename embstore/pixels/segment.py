"""Nuclei and cells from the nucleus channel alone: smooth, threshold, split by distance, expand."""

from __future__ import annotations

import math

import numpy as np

from embstore.pixels.segmentation import NUCLEUS_UM, SEGMENTER, Segmentation, no_cells

LARGEST = 1e9  # beyond any detector's counts


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
    diameter_px = _diameter_px(nucleus, pixel_size_um)
    factor = max(1, round(diameter_px / SEGMENTER["work_px"]))
    labels = _nuclei(reduced(nucleus, factor), diameter_px / factor)
    if not labels.any():
        return no_cells(nucleus.shape, pixel_size_um, "no object stands out from the background like a nucleus")
    cells = expanded(labels, SEGMENTER["expand"] * diameter_px / factor)
    nuclei, cells = (_enlarged(x, factor, nucleus.shape) for x in (labels, cells))
    return Segmentation(nuclei, cells, pixel_size_um or estimated_pixel_size_um(nuclei), "")


def _diameter_px(nucleus: np.ndarray, pixel_size_um: float | None) -> float:
    """Estimate the median nuclear diameter in pixels, first from a global threshold, then from drawn nuclei."""
    from scipy import ndimage

    low, high = 4.0, 0.6 * min(nucleus.shape)
    if pixel_size_um is not None:
        low, high = (min(max(um / pixel_size_um, low), high) for um in SEGMENTER["nucleus_range_um"])
    factor = max(1, round(max(nucleus.shape) / SEGMENTER["coarse_px"]))
    smooth = ndimage.gaussian_filter(reduced(nucleus, factor), SEGMENTER["coarse_smooth_px"])
    stretched = np.sqrt(smooth - smooth.min())
    guess = _disc_diameter(ndimage.binary_fill_holes(stretched > _otsu(stretched)))
    guess = min(max(guess, low / factor), high / factor)
    again = max(1, round(guess / SEGMENTER["work_px"]))  # a wide guess needs few pixels
    smooth, guess, factor = reduced(smooth, again), guess / again, factor * again
    bright = _bright(smooth, guess)
    background = _local_mean(smooth, ~bright, SEGMENTER["neighbourhood"] * guess)
    drawn = _drawn(smooth, bright, background, guess)
    second = _disc_diameter(_opened(ndimage.binary_fill_holes(drawn), guess))
    return float(min(max(second * factor, low), high))


def _disc_diameter(foreground: np.ndarray) -> float:
    """Return the typical width in pixels of the objects of a mask: the largest discs inside, weighted by area."""
    from scipy import ndimage
    from skimage.feature import peak_local_max

    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 1)
    peaks = peak_local_max(distance, min_distance=3, threshold_abs=1, exclude_border=False)
    if len(peaks) == 0:
        return 0.0
    radii = np.sort(distance[tuple(peaks.T)])
    areas = np.cumsum(radii**2)
    radius = float(radii[np.searchsorted(areas, areas[-1] / 2)])
    return 2 * float(SEGMENTER["roundness"]) * radius


def _nuclei(image: np.ndarray, diameter: float) -> np.ndarray:
    """Label the nuclei of an image (y, x) whose nuclei are about `diameter` pixels wide."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, SEGMENTER["smooth"] * diameter)
    bright = _bright(smooth, diameter)
    if not _has_nuclei(smooth, bright):
        return np.zeros(image.shape, np.int32)
    background = _local_mean(smooth, ~bright, SEGMENTER["neighbourhood"] * diameter)
    drawn = _drawn(smooth, bright, background, diameter)
    filled = ndimage.binary_fill_holes(drawn)  # nucleoli are dark
    labels = _split(_opened(filled, diameter), _gaps(drawn, filled, diameter), smooth - background, diameter)
    return _kept(labels, smooth - background, ~bright, diameter)


def _has_nuclei(smooth: np.ndarray, bright: np.ndarray) -> bool:
    """Tell a field with nuclei from noise or uneven light, which any threshold cuts into two overlapping halves.

    Measured: noise, gradients, vignettes and an empty field stay below 7.5 standard deviations and cover above 70 % of
    the area; nuclear stains, sparse and crowded, reach 12 and more on less than 56 %.
    """
    share = float(bright.mean())
    if not 0 < share <= SEGMENTER["max_bright_share"]:
        return False
    dark = smooth[~bright]
    noise = max(float(dark.std()), 1e-6 * float(np.ptp(smooth)))
    return bool(smooth[bright].mean() - dark.mean() >= SEGMENTER["min_image_contrast"] * noise)


def _bright(smooth: np.ndarray, diameter: float) -> np.ndarray:
    """Return every pixel that may belong to a nucleus: bright in the whole image, dim nuclei included."""
    stretched = np.sqrt(smooth - smooth.min())
    local = _wide_blur(stretched, SEGMENTER["neighbourhood"] * diameter)
    threshold = np.maximum(SEGMENTER["global_weight"] * _otsu(stretched), SEGMENTER["local_weight"] * local)
    bright: np.ndarray = stretched > threshold
    return bright


def _drawn(smooth: np.ndarray, bright: np.ndarray, background: np.ndarray, diameter: float) -> np.ndarray:
    """Draw each nucleus at a fixed fraction of the way from its own background to its own brightness."""
    inside = _local_mean(smooth, bright, SEGMENTER["own_brightness"] * diameter)
    own = background + SEGMENTER["own_weight"] * (inside - background)
    drawn: np.ndarray = bright & (smooth > own)
    return drawn


def _opened(filled: np.ndarray, diameter: float) -> np.ndarray:
    """Drop what is thinner than any nucleus."""
    from scipy import ndimage

    opened: np.ndarray = ndimage.binary_opening(filled, _disc(max(1, round(SEGMENTER["open"] * diameter))))
    return opened


def _gaps(drawn: np.ndarray, filled: np.ndarray, diameter: float) -> np.ndarray:
    """Return the holes that lie between nuclei, not in one: as wide as three touching discs leave, within a clump."""
    typical = math.pi / 4 * diameter**2
    clumps = _of_area(filled, SEGMENTER["clump_area"] * typical)
    gaps: np.ndarray = _of_area(clumps & ~drawn, SEGMENTER["gap_area"] * typical)
    return gaps


def _of_area(mask: np.ndarray, area: float) -> np.ndarray:
    """Return the connected parts of a mask that have at least so many pixels."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    large = np.bincount(labels.ravel()) >= area
    large[0] = False
    kept: np.ndarray = large[labels]
    return kept


def _local_mean(image: np.ndarray, where: np.ndarray, sigma: float) -> np.ndarray:
    """Return the mean around each pixel over the pixels of a mask only."""
    weight = _wide_blur(where.astype(np.float32), sigma)
    total = _wide_blur(np.where(where, image, np.float32(0)), sigma)
    overall = float(image[where].mean()) if where.any() else 0.0
    mean: np.ndarray = (total + 1e-3 * overall) / (weight + 1e-3)  # far from the mask, its overall mean
    return mean


def _wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian, or where that is slow by two running means of the same variance."""
    from scipy import ndimage

    if sigma <= SEGMENTER["widest_gaussian_px"]:
        blurred: np.ndarray = ndimage.gaussian_filter(image, sigma, truncate=3)
        return blurred
    width = round(math.sqrt(6 * sigma**2 + 1))  # two means of n pixels have the variance (n² - 1) / 6
    means: np.ndarray = ndimage.uniform_filter(ndimage.uniform_filter(image, width), width)
    return means.clip(0)  # running sums may end a rounding below zero


def _split(foreground: np.ndarray, gaps: np.ndarray, above: np.ndarray, diameter: float) -> np.ndarray:
    """Divide touching nuclei along the waists and the dark gaps between them, by a watershed."""
    from scipy import ndimage
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    distance = _distance(foreground & ~gaps)
    smooth = ndimage.gaussian_filter(distance, SEGMENTER["seed_smooth"] * diameter) / diameter
    inside = _local_mean(above, foreground, SEGMENTER["own_brightness"] * diameter)
    relative = ndimage.gaussian_filter(above / np.maximum(inside, 1e-6), SEGMENTER["gap_smooth"] * diameter)
    height = np.where(foreground, smooth + SEGMENTER["gap_weight"] * np.clip(relative, 0, 2), 0)
    seeds, _ = ndimage.label(h_maxima(height, SEGMENTER["seed_depth"]), np.ones((3, 3)))
    labels: np.ndarray = watershed(-height, seeds, mask=foreground)
    return labels


def _distance(foreground: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the background."""
    from scipy import ndimage

    distance: np.ndarray = ndimage.distance_transform_edt(np.pad(foreground, 1))[1:-1, 1:-1]
    return distance


def _kept(labels: np.ndarray, above: np.ndarray, outside: np.ndarray, diameter: float) -> np.ndarray:
    """Drop objects that are too small, too large or no brighter than the noise, and number the rest 1..n."""
    area = np.bincount(labels.ravel())
    typical = math.pi / 4 * diameter**2
    smallest, largest = (limit * typical for limit in SEGMENTER["area_range"])
    at_edge = np.zeros(len(area), bool)
    at_edge[_edge_labels(labels)] = True
    keep = (area >= np.where(at_edge, SEGMENTER["edge_area"] * typical, smallest)) & (area <= largest)
    keep &= _contrast(labels, above, outside) >= SEGMENTER["min_contrast"]
    keep[0] = False
    numbers = np.cumsum(keep) * keep
    kept: np.ndarray = numbers[labels].astype(np.int32)
    return kept


def _contrast(labels: np.ndarray, above: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return each object's mean brightness above its own background, in units of the background's noise."""
    residual = above[outside]
    noise = 1.4826 * float(np.median(np.abs(residual))) if residual.size else 0.0
    noise = max(noise, SEGMENTER["noise_floor"] * float(above.max()))
    total = np.bincount(labels.ravel(), weights=above.ravel())
    contrast: np.ndarray = total / np.maximum(np.bincount(labels.ravel()), 1) / noise
    return contrast


def expanded(labels: np.ndarray, distance: float) -> np.ndarray:
    """Grow each nucleus of (y, x) into a cell by up to `distance` pixels; it stops where it meets its neighbour."""
    from skimage.segmentation import expand_labels

    expanded: np.ndarray = expand_labels(labels, distance)
    return expanded


def estimated_pixel_size_um(nuclei: np.ndarray) -> float:
    """Return µm per pixel if the median nucleus of this image (y, x), taken as a disc, is 12 µm wide.

    The median is over nuclear area, so that debris and fragments weigh little, and leaves out what the border cuts.
    """
    areas = np.bincount(nuclei.ravel())
    areas[0] = 0
    whole = areas.copy()
    whole[_edge_labels(nuclei)] = 0
    counted = np.sort(whole[whole > 0] if whole.any() else areas[areas > 0])
    cumulative = np.cumsum(counted)
    median = counted[np.searchsorted(cumulative, cumulative[-1] / 2)]
    return NUCLEUS_UM / (2 * math.sqrt(float(median) / math.pi))


def _edge_labels(labels: np.ndarray) -> np.ndarray:
    return np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))


def _otsu(values: np.ndarray) -> float:
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def _disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc: np.ndarray = y * y + x * x <= radius * radius
    return disc


def reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor × factor pixels of (y, x); an incomplete last block is filled by repeating the edge."""
    image = image.astype(np.float32)
    if factor == 1:
        return image
    missing = [(0, -n % factor) for n in image.shape]
    image = np.pad(image, missing, mode="edge")
    height, width = image.shape
    reduced: np.ndarray = image.reshape(height // factor, factor, width // factor, factor).mean((1, 3))
    return reduced


def _enlarged(labels: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(n) // factor for n in shape)
    enlarged: np.ndarray = labels[np.ix_(rows, columns)].astype(np.int32)
    return enlarged
