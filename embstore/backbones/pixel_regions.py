"""The regions and rings of a cell over which hand-made measurements are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from embstore.arrays import Bools, Float32s, Float64s

RIM_PX = 2.0  # half the width of the nuclear rim: ±0.5 µm at 25 µm on 96 px, a nuclear membrane blurred by the optics
CELL_RIM_PX = 3.0  # 0.8 µm, the same for the cell's outline, which is known less precisely
PLACES = ("nucleus", "nuclear rim", "cytoplasm", "cell rim", "outside")
NUCLEAR_RINGS = tuple(f"nuclear ring {i}" for i in range(4))  # from the nucleus's edge to its deepest point
CYTOPLASMIC_RINGS = tuple(f"cytoplasmic ring {i}" for i in range(5))  # from the nucleus's edge to the cell's
CENTRE_RINGS = tuple(f"centre ring {i}" for i in range(7))  # around the nucleus's centroid
CENTRE_RING_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # in radii of a disc of the nucleus's area
WHOLES = ("all nucleus", "all cytoplasm", "all cell")
REGIONS = (*PLACES, *NUCLEAR_RINGS, *CYTOPLASMIC_RINGS, *CENTRE_RINGS, *WHOLES)
FAR_PX = 1e6  # means "no edge in sight": finite, so that ratios of distances stay finite


@dataclass(frozen=True)
class Regions:
    """The regions of n cells, by name, as float32 masks (n, region, pixel) of zeros and ones."""

    masks: Float32s
    counts: Float64s  # (n, region)

    def means(self, planes: Float32s, names: tuple[str, ...]) -> Float64s:
        """Return the mean of planes (n, pixel) over each named region, (n, names); NaN if a region is empty."""
        rows = [REGIONS.index(name) for name in names]
        sums = np.matmul(self.masks[:, rows], planes[:, :, None])[:, :, 0].astype(np.float64)
        counts = self.counts[:, rows]
        means: Float64s = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means

    def mask(self, name: str) -> Bools:
        """Return one region of every cell, bool (n, pixel)."""
        region: Bools = self.masks[:, REGIONS.index(name)] > 0
        return region


def regions(nucleus: Bools, cell: Bools) -> Regions:
    """Return the regions of cells with these masks, bool (n, y, x); a region that a cell lacks is empty."""
    masks = np.zeros((len(cell), len(REGIONS), cell[0].size if len(cell) else 0), np.float32)
    for i in range(len(cell)):
        masks[i] = one_cell(nucleus[i], cell[i] | nucleus[i]).reshape(len(REGIONS), -1)
    return Regions(masks, masks.sum(axis=2, dtype=np.float64))


def one_cell(nucleus: Bools, cell: Bools) -> Bools:
    """Return the regions of one cell, bool (region, y, x), in the order of REGIONS."""
    inside, around, depth = distance(nucleus), distance(~nucleus), distance(cell)
    cytoplasm = cell & ~nucleus
    rim = nucleus & (inside <= RIM_PX) | cytoplasm & (around <= RIM_PX)
    cell_rim = cytoplasm & ~rim & (depth <= CELL_RIM_PX)
    places = [nucleus & ~rim, rim, cytoplasm & ~rim & ~cell_rim, cell_rim, ~cell]
    wholes = [nucleus, cytoplasm, cell]
    if not nucleus.any():
        rings = [np.zeros_like(cell)] * (len(REGIONS) - len(places) - len(wholes))
    else:
        deep = inside / inside.max()
        outward = around / np.maximum(around + depth, 1)
        rings = [nucleus & (deep > i / 4) & (deep <= (i + 1) / 4) for i in range(4)]
        rings += [cytoplasm & (outward > i / 5) & (outward <= (i + 1) / 5) for i in range(5)]
        rings += _centre_rings(nucleus, cell)
    return np.stack([*places, *rings, *wholes])


def _centre_rings(nucleus: Bools, cell: Bools) -> list[Bools]:
    away, radius = from_centre(nucleus)
    squared = (away[0] ** 2 + away[1] ** 2) / radius**2
    return [cell & (squared >= low**2) & (squared < high**2) for low, high in pairwise(CENTRE_RING_EDGES)]


def from_centre(nucleus: Bools) -> tuple[tuple[Float64s, Float64s], float]:
    """Return each pixel's offset (y, x) from the nucleus's centroid, and the radius of a disc of its area, in px.

    Without a nucleus, the middle of the crop and a radius of 1 px are used.
    """
    grid: Float64s = np.indices(nucleus.shape, dtype=np.float64)
    ys: Float64s
    xs: Float64s
    ys, xs = grid[0], grid[1]
    area = int(nucleus.sum())
    if not area:
        return (ys - (nucleus.shape[0] - 1) / 2, xs - (nucleus.shape[1] - 1) / 2), 1.0
    # rounded, because rotating the crop changes the order of the sum and so the last digit at a ring's border
    centre_y, centre_x = round(float(ys[nucleus].mean()), 6), round(float(xs[nucleus].mean()), 6)
    return (ys - centre_y, xs - centre_x), float(np.sqrt(area / np.pi))


def distance(mask: Bools) -> Float64s:
    """Return each pixel's distance in px, (y, x), to the nearest pixel outside the mask; FAR_PX if there is none."""
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return np.full(mask.shape, FAR_PX)
    distances = np.zeros(mask.shape)
    window = _window(mask)  # an edge is never further away than the mask's own box, so only this is searched
    distances[window] = distance_transform_edt(mask[window])
    return distances


def _window(mask: Bools) -> tuple[slice, slice]:
    """Return the box of a mask with one more pixel on each side, within the crop."""
    ys, xs = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not ys.size:
        return slice(0, 0), slice(0, 0)
    return slice(max(ys[0] - 1, 0), ys[-1] + 2), slice(max(xs[0] - 1, 0), xs[-1] + 2)
