"""Raw counts to [0, 1], so that cameras, exposures and bit depths can be compared."""

from __future__ import annotations

import numpy as np

from embstore.errors import ImageError

LOW_PERCENTILE = 0.1
HIGH_PERCENTILE = 99.9
# Every constant is in the name, because the name is what a space's digest sees.
INTENSITY_SPEC = "percentile-0.1-99.9/image-channel/sparse-max/float32/1"


def scale(pixels: np.ndarray) -> np.ndarray:
    """Stretch each channel of an image so that its 0.1 and 99.9 percentiles become 0 and 1, cut off beyond.

    `pixels` (c, y, x) of uint8, uint16 or float32 -> float32 (c, y, x) in [0, 1]. A constant channel becomes zeros. In
    a channel where fewer than 0.1 % of the pixels differ from the rest (a few bright spots on black), the percentiles
    coincide and the minimum and maximum take their place. Raises ImageError for values that are not finite.
    """
    return np.stack([_scale_channel(channel) for channel in pixels])


def _scale_channel(channel: np.ndarray) -> np.ndarray:
    if channel.dtype in (np.uint8, np.uint16):
        return _scale_counts(channel)
    if not np.isfinite(channel).all():
        found = int((~np.isfinite(channel)).sum())
        raise ImageError(f"{found} pixels are not finite numbers, wanted intensities; export the image again")
    low, high = np.percentile(channel, (LOW_PERCENTILE, HIGH_PERCENTILE))
    low, high = _limits(float(low), float(high), float(channel.min()), float(channel.max()))
    return _stretch(channel.astype(np.float64), low, high)


def _scale_counts(channel: np.ndarray) -> np.ndarray:
    """Scale integers through their histogram and a lookup table: exact, and 3 times cheaper than sorting."""
    counts = np.bincount(channel.ravel())
    low, high = (_count_percentile(counts, q) for q in (LOW_PERCENTILE, HIGH_PERCENTILE))
    low, high = _limits(low, high, float(np.flatnonzero(counts)[0]), float(len(counts) - 1))
    table = _stretch(np.arange(len(counts), dtype=np.float64), low, high)
    scaled: np.ndarray = table[channel]
    return scaled


def _count_percentile(counts: np.ndarray, q: float) -> float:
    """Return the percentile of a histogram, interpolated linearly between neighbours as numpy does."""
    cumulative = np.cumsum(counts)
    position = (cumulative[-1] - 1) * q / 100
    below = np.floor(position)
    left, right = np.searchsorted(cumulative, (below, min(below + 1, cumulative[-1] - 1)), side="right")
    return float(left + (right - left) * (position - below))


def _limits(low: float, high: float, minimum: float, maximum: float) -> tuple[float, float]:
    return (low, high) if high > low else (minimum, maximum)


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
