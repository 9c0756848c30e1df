"""Convert intensities in [0, 1] to the normalisation that a network was trained with: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from embstore.arrays import Float32s

ZSCORE_EPS = np.float32(1e-7)  # from DINO4Cells
MINMAX_EPS = np.float32(1e-6)  # from SubCell
# for sparse fluorescence: a constant channel stays near 0, and a bright spot does not drown the rest
BRIGHT_EPS = np.float32(1e-3)
BRIGHT_KNEE = np.float32(2.0)


def normalise(planes: Float32s, how: str, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Float32s:
    """Return float32 (n, channels, y, x), normalised as `how` names; the input is not changed.

    `fixed` uses `mean` and `std`, one for each channel; every other normalisation uses numbers from each crop itself,
    so that a crop's result never depends on the others. A constant channel becomes zeros, except with `fixed`,
    `minmax-joint` and `none`.
    """
    if how == "fixed":
        return (planes - _by_channel(mean)) / _by_channel(std)
    return planes if how == "none" else BY_CROP[how](planes)


def _by_channel(numbers: Sequence[float]) -> Float32s:
    return np.asarray(numbers, np.float32)[:, None, None]


def _zscore(planes: Float32s, eps: np.float32 = ZSCORE_EPS) -> Float32s:
    # summed in float64: the rounded mean of a constant channel would be wrong by as much as ZSCORE_EPS
    mean = planes.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    sd = planes.std(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    scaled: Float32s = (planes - mean) / (sd + eps)
    return scaled


def _minmax(planes: Float32s, over: tuple[int, ...] = (2, 3)) -> Float32s:
    low, high = planes.min(axis=over, keepdims=True), planes.max(axis=over, keepdims=True)
    scaled: Float32s = (planes - low) / (high - low + MINMAX_EPS)
    return scaled


def _minmax_joint(planes: Float32s) -> Float32s:
    return _minmax(planes, (1, 2, 3))


def _bright_log(planes: Float32s) -> Float32s:
    z = _zscore(planes, BRIGHT_EPS)
    bent = BRIGHT_KNEE + BRIGHT_KNEE * np.log(np.maximum(z, BRIGHT_KNEE) / BRIGHT_KNEE)
    return np.where(z > BRIGHT_KNEE, bent, z)


BY_CROP: dict[str, Callable[[Float32s], Float32s]] = {
    "zscore": _zscore,
    "minmax": _minmax,
    "minmax-joint": _minmax_joint,
    "bright-log": _bright_log,
}
