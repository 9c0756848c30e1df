"""The objects of an image above each of many thresholds, as a tree: every object lies in one of the threshold below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embstore.arrays import Bools, Float64s, LabelImage
from embstore.pixels.candidates import AREA, BORDER, BORDER_LIGHT, LIGHT, XX, YX, YY, Candidates, X, Y

HOLE_SHARE = 0.1  # of an object: nucleoli are smaller, gaps between nuclei are not
Steps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # label, label beyond it, positions of both


def objects_above(
    light: np.ndarray, gradient: np.ndarray, thresholds: Float64s, *, hole_px: float | None, opened: bool
) -> Candidates:
    """Return the connected objects of an image (y, x) above rising thresholds, each a child of one of the level below.

    Holes of up to `hole_px` pixels are filled, or of a tenth of their object where that is None. `opened` first drops
    what is thinner than three pixels.
    """
    drawn, parents, deepest, n = [], [], np.zeros(light.shape, np.int64), 0
    within = np.ones(light.shape, bool)
    for threshold in thresholds:
        labels, count = _objects(light > threshold, within, hole_px, opened=opened)
        if count == 0:
            break
        inside = within = labels > 0
        parent = np.zeros(count + 1, np.int64)
        parent[labels[inside]] = deepest[inside]  # still of the threshold below; 0 is none
        parents.append(parent[1:] - 1)
        deepest[inside] = labels[inside] + n
        drawn.append(labels)
        n += count
    if not drawn:
        drawn, parents = [np.zeros(light.shape, np.int32)], [np.zeros(0, np.int64)]
    counts = [len(parent) for parent in parents]
    numbers = np.concatenate([np.arange(1, count + 1) for count in counts])
    parent = np.concatenate(parents)
    sums = np.zeros((n, 12))
    sums[:, :BORDER] = _accumulated(pixel_sums(deepest, n, light), parent, counts)
    sums[:, BORDER : BORDER_LIGHT + 1] = np.concatenate(
        [border_sums(steps(labels), count, light, gradient) for labels, count in zip(drawn, counts, strict=True)]
    )
    level = np.repeat(np.arange(len(counts)), counts)
    return Candidates(
        sums,
        parent,
        np.zeros(n, bool),
        thresholds[level],
        level,
        numbers,
        numbers,
        tuple(drawn),
    )


def _objects(mask: Bools, within: Bools, hole_px: float | None, *, opened: bool) -> tuple[LabelImage, int]:
    """Return the objects of a mask, holes filled, that lie within those of the threshold below, and their number."""
    from scipy import ndimage

    labels, count = ndimage.label(mask & within)
    holes, n = ndimage.label(~mask)
    if n > 1:
        filled = np.bincount(holes.ravel(), minlength=n + 1) <= _hole_limits(labels, holes, n, hole_px)
        filled[0] = False
        labels, count = ndimage.label((mask | filled[holes]) & within)
    if opened:
        labels, count = ndimage.label(_opened(labels > 0))
    return labels, int(count)


def _hole_limits(labels: LabelImage, holes: LabelImage, n: int, hole_px: float | None) -> np.ndarray | float:
    """Return up to how many pixels each hole is filled: a tenth of the object before its first pixel."""
    if hole_px is not None:
        return hole_px
    at = np.flatnonzero(np.diff(holes.ravel()) > 0) + 1  # where a hole begins in its row
    at = at[at % holes.shape[1] > 0]
    limits = np.zeros(n + 1)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    np.maximum.at(limits, holes.ravel()[at], HOLE_SHARE * areas[labels.ravel()[at - 1]])
    return limits


def _opened(mask: Bools) -> Bools:
    """Return a mask without what is thinner than three pixels; the image's border does not count as outside."""
    for combine, outside in ((np.logical_and, True), (np.logical_or, False)):
        for axis in (0, 1):
            wide = np.pad(mask, [(1, 1) if axis == i else (0, 0) for i in (0, 1)], constant_values=outside)
            low, middle, high = (wide.take(range(k, k + mask.shape[axis]), axis) for k in range(3))
            mask = combine(combine(low, middle), high)
    return mask


def pixel_sums(labels: np.ndarray, n: int, light: np.ndarray) -> Float64s:
    """Return (n, 7): the sums over the pixels of each label 1..n that `Candidates.sums` begins with."""
    at = np.flatnonzero(labels)
    label = labels.ravel()[at]
    y, x = (positions.astype(np.float64) for positions in np.divmod(at, labels.shape[1]))
    columns = np.zeros((n, 7))
    weights = {AREA: None, Y: y, X: x, YY: y * y, XX: x * x, YX: y * x, LIGHT: light.ravel()[at]}
    for column, weight in weights.items():
        columns[:, column] = np.bincount(label, weight, minlength=n + 1)[1:]
    return columns


def _accumulated(sums: Float64s, parent: np.ndarray, counts: Sequence[int]) -> Float64s:
    """Add what each object contains to the object that it lies in, from the highest threshold down."""
    end = len(parent)
    for count in reversed(counts):
        rows = np.arange(end - count, end)
        inner = rows[parent[rows] >= 0]
        np.add.at(sums, parent[inner], sums[inner])
        end -= count
    return sums


def steps(labels: LabelImage) -> Steps:
    """Return all pairs of neighbouring pixels of different labels, each from both sides: labels and flat positions."""
    width = labels.shape[1]
    flat = labels.ravel()
    below = np.flatnonzero(flat[width:] != flat[:-width])
    beside = np.flatnonzero(flat[1:] != flat[:-1])
    beside = beside[(beside + 1) % width != 0]
    one, other = np.concatenate([below, beside]), np.concatenate([below + width, beside + 1])
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    kept = flat[one] > 0
    one, other = one[kept], other[kept]
    return flat[one], flat[other], one, other


def border_sums(edges: Steps, n: int, light: np.ndarray, gradient: np.ndarray) -> Float64s:
    """Return (n, 3): how many steps lead out of each label 1..n to label 0, and their gradient and light."""
    label, beyond, one, other = edges
    out = beyond == 0
    label, one, other = label[out], one[out], other[out]
    light, gradient = light.ravel(), gradient.ravel()
    weights = (None, np.maximum(gradient[one], gradient[other]), (light[one] + light[other]) / 2)
    return np.stack([np.bincount(label, weight, minlength=n + 1)[1:] for weight in weights], axis=1)
