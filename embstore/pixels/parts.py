"""The parts that touching nuclei are divided into: the regions of a watershed, merged one by one into a tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embstore.arrays import Bools, Int64s, LabelImage
from embstore.pixels.candidates import BORDER, BORDER_LIGHT, SHARED, SHARED_LIGHT, Candidates
from embstore.pixels.levels import Steps, border_sums, pixel_sums, steps
from embstore.pixels.segmentation import SEGMENTER


@dataclass(frozen=True)
class Shades:
    """An image seen three ways, each (y, x): its light, the gradient of it, and its light relative to the vicinity."""

    light: np.ndarray
    gradient: np.ndarray
    relative: np.ndarray

    def cropped(self, box: tuple[slice, ...]) -> Shades:
        """Return the same within a box of rows and columns."""
        return Shades(self.light[box], self.gradient[box], self.relative[box])


def with_parts(tree: Candidates, shades: Shades, px: float) -> Candidates:
    """Return a tree of thresholds with the parts of all its objects that may be several nuclei about `px` wide."""
    tried = _tried(tree, px)
    lists = [tree]
    for number, labels in enumerate(tree.drawn):
        rows = np.flatnonzero(tried & (tree.image == number))
        if len(rows):
            lists.append(_parts(tree, rows, labels, shades, px, offset=sum(map(len, lists))))
    return _joined(lists)


def _tried(tree: Candidates, px: float) -> Bools:
    """True for the objects to divide: wide, long or not elliptical, and smaller than the last one around them."""
    area, (elliptical, axes) = tree.area / (np.pi / 4 * px**2), tree.ellipses()
    odd = (elliptical < SEGMENTER["divided_ellipse"]) | (axes > SEGMENTER["divided_axes"])
    worth = (area > SEGMENTER["divided_area"]) | (odd & (area > SEGMENTER["least_divided_area"]))
    tried = np.zeros(len(tree), bool)
    last = np.full(len(tree), np.inf)  # the area of the innermost object around it that is divided
    for row in range(len(tree)):
        parent = tree.parent[row]
        around = np.inf if parent < 0 else last[parent]
        tried[row] = worth[row] and area[row] <= SEGMENTER["divided_again"] * around
        last[row] = area[row] if tried[row] else around
    return tried


def _parts(tree: Candidates, rows: Int64s, labels: LabelImage, shades: Shades, px: float, *, offset: int) -> Candidates:
    """Return the parts of some objects of one threshold; `offset` is the row that the first part will have."""
    wanted = np.zeros(int(labels.max()) + 1, bool)
    wanted[tree.first[rows]] = True
    mask = wanted[labels]
    box = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in (np.flatnonzero(mask.any(axis)) for axis in (1, 0)))
    mask, within = mask[box], shades.cropped(box)
    height = _height(mask, within.relative, px)
    regions, pairs = _regions(mask, height)
    n = int(regions.max(initial=0))
    order, first, last, parent = _merge_tree(n, pairs)
    regions = order[regions].astype(np.int32)  # numbered so that all regions of a part follow each other
    owner = np.zeros(n + 1, np.int64)
    owner[regions[mask]] = labels[box][mask]
    row_of = np.zeros(len(wanted), np.int64)
    row_of[tree.first[rows]] = rows
    kept = np.flatnonzero(parent >= 0)[::-1]  # a region without a parent is an object as a whole
    new_row = np.full(len(parent), -1)
    new_row[kept] = offset + np.arange(len(kept))
    up = np.where(new_row[parent[kept]] >= 0, new_row[parent[kept]], row_of[owner[first[kept]]])
    full = np.zeros(labels.shape, np.int32)
    full[box] = regions
    sums = _range_sums(regions, n, within, first[kept], last[kept])
    same = np.ones(len(kept), np.int64)
    return Candidates(sums, up, same > 0, same * tree.threshold[rows[0]], same * 0, first[kept], last[kept], (full,))


def _height(mask: Bools, relative: np.ndarray, px: float) -> np.ndarray:
    """Return what the watershed floods: high in the middle of a nucleus, low in waists and in dark gaps."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].astype(np.float32)
    smooth = ndimage.gaussian_filter(distance, SEGMENTER["seed_smooth"] * px) / px
    height: np.ndarray = np.where(mask, smooth + SEGMENTER["gap_weight"] * relative, 0)
    return height


def _regions(mask: Bools, height: np.ndarray) -> tuple[LabelImage, Int64s]:
    """Return the regions of a watershed, those of no depth merged, and the pairs that touch, (n, 2), highest first."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    peaks = mask & (height == ndimage.maximum_filter(height, 5))
    seeds, n = ndimage.label(peaks, np.ones((3, 3)))
    regions: LabelImage = watershed(-height, seeds, mask=mask)
    pairs, saddles = _saddles(regions, height)
    tops = np.zeros(n + 1)
    np.maximum.at(tops, regions.ravel(), height.ravel())
    root = np.arange(n + 1)
    for (one, other), saddle in zip(pairs, saddles, strict=True):
        low, high = sorted((_root(root, one), _root(root, other)), key=lambda region: (tops[region], -region))
        if low != high and tops[low] - saddle < SEGMENTER["seed_depth"]:
            root[low] = high
    _, number = np.unique([_root(root, region) for region in range(n + 1)], return_inverse=True)
    regions = number[regions].astype(np.int32)
    return regions, _saddles(regions, height)[0]


def _saddles(regions: LabelImage, height: np.ndarray) -> tuple[Int64s, np.ndarray]:
    """Return the pairs of regions that touch, (n, 2), and the highest step between each, from the highest down."""
    one, other, at, beyond = steps(regions)
    touching = one < other
    touching &= other > 0
    one, other = one[touching].astype(np.int64), other[touching].astype(np.int64)
    levels = np.minimum(height.ravel()[at[touching]], height.ravel()[beyond[touching]])
    order = np.argsort(-levels, kind="stable")
    width = int(regions.max(initial=0)) + 1
    _, highest = np.unique((one * width + other)[order], return_index=True)
    order = order[np.sort(highest)]
    return np.stack([one[order], other[order]], axis=1), levels[order]


def _root(root: np.ndarray, region: int) -> int:
    while root[region] != region:
        region = root[region]
    return int(region)


def _merge_tree(n: int, pairs: Int64s) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Merge touching regions 1..n, highest saddle first, until none touch.

    Returns new numbers for the regions (0 stays 0) and for each node, regions first, then merged ones: the first and
    last of its regions by their new numbers, and the node that it is merged into, -1 at the end.
    """
    root = np.arange(2 * n + 1)
    parent, size = np.full(2 * n + 1, -1), np.ones(2 * n + 1, np.int64)
    inside: dict[int, tuple[int, int]] = {}
    for one, other in pairs:
        low, high = _root(root, one), _root(root, other)
        if low != high:
            node = n + 1 + len(inside)
            inside[node] = (low, high)
            root[[low, high]] = parent[[low, high]] = node
            size[node] = size[low] + size[high]
    nodes = n + 1 + len(inside)
    first = np.zeros(nodes, np.int64)
    following = 1
    for node in range(nodes - 1, 0, -1):
        if parent[node] < 0:
            first[node], following = following, following + size[node]
        if node in inside:
            low, high = inside[node]
            first[low], first[high] = first[node], first[node] + size[low]
    return np.concatenate([[0], first[1 : n + 1]]), first, first + size[:nodes] - 1, parent[:nodes]


def _range_sums(regions: LabelImage, n: int, shades: Shades, first: Int64s, last: Int64s) -> np.ndarray:
    """Return the sums of parts that consist of the regions `first` to `last`."""
    edges = steps(regions)
    sums = np.zeros((n + 1, 12))
    sums[1:, :BORDER] = pixel_sums(regions, n, shades.light)
    sums[1:, BORDER : BORDER_LIGHT + 1] = border_sums(edges, n, shades.light, shades.gradient)
    parts = np.cumsum(sums, axis=0)
    parts = parts[last] - parts[first - 1]
    parts[:, SHARED : SHARED_LIGHT + 1] = _shared_sums(edges, n, shades.light, first, last)
    return parts


def _shared_sums(edges: Steps, n: int, light: np.ndarray, first: Int64s, last: Int64s) -> np.ndarray:
    """Return (parts, 2): how many steps lead from each part to a sister, and the light of the darker pixels there."""
    one, other, at, beyond = edges
    shared = other > 0
    place = one[shared].astype(np.int64) * (n + 1) + other[shared]
    darker = np.minimum(light.ravel()[at[shared]], light.ravel()[beyond[shared]])
    columns = []
    for weight in (None, darker):
        between = np.bincount(place, weight, minlength=(n + 1) ** 2).reshape(n + 1, n + 1)
        total = between.cumsum(0).cumsum(1)
        outward = total[last, n] - total[first - 1, n]
        inward = total[last, last] - total[first - 1, last] - total[last, first - 1] + total[first - 1, first - 1]
        columns.append(outward - inward)
    return np.stack(columns, axis=1)


def _joined(lists: list[Candidates]) -> Candidates:
    """Return candidates of several lists as one."""
    drawn: list[LabelImage] = list(lists[0].drawn)
    images = [lists[0].image]
    for part in lists[1:]:
        images.append(np.full(len(part), len(drawn)))
        drawn += part.drawn
    columns = {
        name: np.concatenate([getattr(part, name) for part in lists])
        for name in ("sums", "parent", "part", "threshold", "first", "last")
    }
    return Candidates(image=np.concatenate(images), drawn=tuple(drawn), **columns)
