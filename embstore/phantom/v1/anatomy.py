"""The cells of a field: irregular nuclei, outlines that touch, overlap or leave each other free, cells that divide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embstore.phantom.v1 import law
from embstore.phantom.v1.outlines import DIRECTIONS, Shape, place_shapes
from embstore.phantom.v1.texture import Floats, Grid, Plane, texture

Labels = npt.NDArray[np.int32]

OVERLAP = (0.0, 0.1)  # how far a cell reaches over its neighbour, in cell radii; one in six does so widely
WIDE_OVERLAP, WIDELY = (0.2, 0.45), 0.16


@dataclass(frozen=True)
class Cell:
    """One cell in its window of the field; distances are in µm and positive inside.

    A dividing cell has its chromosomes for a nucleus and no nucleoli.
    """

    label: int
    window: tuple[slice, slice]
    grid: Grid
    phase: str
    angle: float
    centre: Floats  # y x of the nucleus, in pixels of the window
    pole: Floats  # y x of the centrosome, in pixels of the window
    in_nucleus_um: Plane
    in_cell_um: Plane
    contact: Plane  # 1 where the nearest outline is a neighbour's
    nucleoli: Plane  # in [0, 1]
    nucleolus_at: Floats  # (n, 2) centres of nucleoli, in pixels of the window
    nucleolus_um: Floats  # (n,) their radii
    nucleus: Plane  # 1 inside, with a soft edge
    body: Plane  # the same of the whole cell
    thickness: Plane  # in [0, 1], how much cell lies under a pixel
    dna: Plane  # the dyed DNA, about 1 in a nucleus and brighter in chromosomes


@dataclass(frozen=True)
class Anatomy:
    """Where everything is in one field; labels 1..n are shared by nuclei and cells, 0 is background."""

    um: float
    nuclei: Labels  # (y, x)
    cells: Labels  # (y, x), each nucleus lies inside its cell
    drawn: tuple[Cell, ...]  # in order of label


class _Polar(NamedTuple):
    """A window around an outline: the distance to its centre in pixels and the direction's place in the table."""

    window: tuple[slice, slice]
    away: Plane
    direction: npt.NDArray[np.intp]


def grow(rng: np.random.Generator, side: int, um: float, line: law.CellLine) -> Anatomy:
    """Return the anatomy of a square field of `side` pixels, sometimes without any cell."""
    shapes = place_shapes(rng, side, um, line)
    polars = [_polar(shape, side) for shape in shapes]
    depth = [p.away / s.cell.radius[p.direction] for p, s in zip(polars, shapes, strict=True)]
    windows = [p.window for p in polars]
    owner, nearest, second = _claimed(depth, windows, side)
    drawn = []
    for i, (shape, polar) in enumerate(zip(shapes, polars, strict=True)):
        mine = owner[polar.window] == i + 1
        others = np.where(mine, second[polar.window], nearest[polar.window])
        drawn.append(_cell(rng, i + 1, shape, polar, um=um, depth=depth[i], others=others))
    nuclei, _, _ = _claimed([1 - cell.in_nucleus_um for cell in drawn], windows, side)
    return Anatomy(um, nuclei, np.where(nuclei > 0, nuclei, owner), tuple(drawn))


def _polar(shape: Shape, side: int) -> _Polar:
    """Return polar coordinates around the nucleus in the window that holds the whole cell."""
    theta = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    radius = np.maximum(shape.cell.radius, shape.nucleus.radius)
    reach = np.stack([radius * np.sin(theta), radius * np.cos(theta)])
    centre = shape.nucleus.centre
    low = np.clip(np.floor(centre + reach.min(1)) - 2, 0, side).astype(int)
    high = np.clip(np.ceil(centre + reach.max(1)) + 3, 0, side).astype(int)
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    y = np.arange(low[0], high[0], dtype=np.float32)[:, None] - np.float32(centre[0])
    x = np.arange(low[1], high[1], dtype=np.float32)[None, :] - np.float32(centre[1])
    direction = (np.arctan2(y, x) * np.float32(DIRECTIONS / (2 * np.pi))).astype(np.intp)  # negative ones wrap
    return _Polar(window, np.sqrt(y * y + x * x), direction)


def _claimed(depths: list[Plane], windows: list[tuple[slice, slice]], side: int) -> tuple[Labels, Plane, Plane]:
    """Return who owns each pixel, (y, x), and the least and the second least depth there; 1 is the free outline.

    A pixel in several outlines goes to the one in which it lies deepest: Voronoi's rule for shapes.
    """
    owner = np.zeros((side, side), np.int32)
    nearest, second = np.full((side, side), 9, np.float32), np.full((side, side), 9, np.float32)
    for label, (depth, window) in enumerate(zip(depths, windows, strict=True), start=1):
        before = nearest[window]
        second[window] = np.minimum(second[window], np.maximum(before, depth))
        owner[window][(depth < before) & (depth < 1)] = label
        nearest[window] = np.minimum(before, depth)
    return owner, nearest, second


def _cell(
    rng: np.random.Generator, label: int, shape: Shape, polar: _Polar, *, um: float, depth: Plane, others: Plane
) -> Cell:
    grid = Grid(depth.shape[0], depth.shape[1], um)
    corner = np.array([polar.window[0].start, polar.window[1].start])
    centre = shape.nucleus.centre - corner
    in_nucleus = _in_nucleus(rng, shape, polar, grid, centre)
    free = 1 - depth
    overlap = float(rng.uniform(*(WIDE_OVERLAP if rng.random() < WIDELY else OVERLAP)))
    to_others = others - depth + np.float32(overlap)
    radius_um = shape.cell.radius[polar.direction] * np.float32(um)
    in_cell = np.maximum(np.minimum(free, to_others / 2) * radius_um, in_nucleus + np.float32(0.3))
    at, radii, nucleoli = _nucleoli(rng, shape, grid, centre, in_nucleus)
    nucleus, body = soft(in_nucleus, 0.2), soft(in_cell, 0.25)
    out_um = np.maximum(-in_nucleus, 0)
    thickness = body * (0.22 + 0.78 * np.exp(-out_um / np.float32(rng.uniform(2.5, 6.0))))
    return Cell(
        label=label,
        window=polar.window,
        grid=grid,
        phase=shape.phase,
        angle=shape.angle,
        centre=centre,
        pole=_pole(rng, shape, um, centre),
        in_nucleus_um=in_nucleus,
        in_cell_um=in_cell,
        contact=((to_others < 2 * free) & (others < 1.15)).astype(np.float32),
        nucleoli=nucleoli,
        nucleolus_at=at,
        nucleolus_um=radii,
        nucleus=nucleus,
        body=body,
        thickness=thickness.astype(np.float32),
        dna=_dna(rng, grid, shape.phase, in_nucleus, nucleus * (1 - np.float32(0.62) * nucleoli)),
    )


def _dna(rng: np.random.Generator, grid: Grid, phase: str, in_nucleus: Plane, room: Plane) -> Plane:
    """Return the dyed DNA, (y, x): mottled, dark in nucleoli, brighter at the rim; condensed in a cell that divides."""
    if phase:
        condensed: Plane = room * (np.float32(1.7) + np.float32(0.12) * texture(rng, grid, 0.55))
        return condensed
    mottled = (
        np.float32(0.72) + np.float32(0.17) * texture(rng, grid, 0.35) + np.float32(0.13) * texture(rng, grid, 0.9)
    )
    rim = np.float32(0.16) * np.exp(-((in_nucleus / np.float32(0.5)) ** 2))
    dyed: Plane = room * np.clip(mottled + rim, 0.08, 2.2)
    return dyed


def soft(inside_um: Plane, edge_um: float) -> Plane:
    """Return 1 well inside, 0 well outside, and a slope of this half width between, (y, x)."""
    slope: Plane = np.clip(inside_um * np.float32(0.5 / edge_um) + np.float32(0.5), 0, 1)
    return slope


def _in_nucleus(rng: np.random.Generator, shape: Shape, polar: _Polar, grid: Grid, centre: Floats) -> Plane:
    """Return the distance into the nucleus in µm, or into the chromosomes of a cell that divides, (y, x)."""
    if shape.phase == "anaphase":
        apart, across = rng.uniform(2.2, 4.2) / grid.um, shape.angle + np.pi / 2
        y, x = (np.arange(n, dtype=np.float32) - np.float32(c) for n, c in zip(grid[:2], centre, strict=True))
        along = y[:, None] * np.float32(np.sin(shape.angle)) + x * np.float32(np.cos(shape.angle))
        away = y[:, None] * np.float32(np.sin(across)) + x * np.float32(np.cos(across))
        away = np.abs(away) - np.float32(apart)
        depth = np.sqrt((along / np.float32(4.2 / grid.um)) ** 2 + (away / np.float32(1.3 / grid.um)) ** 2)
        return ((1 - depth) * np.float32(1.3)).astype(np.float32)
    inside = (shape.nucleus.radius[polar.direction] - polar.away) * np.float32(grid.um)
    if shape.phase == "metaphase":  # far from round: distances along the radius would be too long
        thin = shape.nucleus.radius.min() / shape.nucleus.radius[polar.direction]
        inside = inside * thin
    roughness = 0.5 if shape.phase else 0.12
    return inside + np.float32(roughness) * texture(rng, grid, 0.55)


def _nucleoli(
    rng: np.random.Generator, shape: Shape, grid: Grid, centre: Floats, in_nucleus: Plane
) -> tuple[Floats, Floats, Plane]:
    """Return centres (n, 2), radii in µm (n,) and the plane of a nucleus' one to five irregular nucleoli."""
    number = 0 if shape.phase else int(rng.integers(1, 6))
    theta, out = rng.uniform(0, 2 * np.pi, number), np.sqrt(rng.uniform(0.01, 0.42, number))
    reach = shape.nucleus.radius[(theta * (DIRECTIONS / (2 * np.pi))).astype(np.intp)] * out
    at = centre + np.stack([reach * np.sin(theta), reach * np.cos(theta)], axis=1)
    radii = rng.uniform(0.6, 1.2 + 1.2 / max(number, 1), number)
    plane = np.full(in_nucleus.shape, -9, np.float32)
    for (y, x), radius in zip(at, radii, strict=True):
        away_y = (np.arange(grid.height, dtype=np.float32)[:, None] - np.float32(y)) * np.float32(grid.um)
        away_x = (np.arange(grid.width, dtype=np.float32)[None, :] - np.float32(x)) * np.float32(grid.um)
        turn, long = rng.uniform(0, np.pi), np.float32(rng.uniform(1.0, 1.5))
        along = away_y * np.float32(np.sin(turn)) + away_x * np.float32(np.cos(turn))
        across = away_x * np.float32(np.sin(turn)) - away_y * np.float32(np.cos(turn))
        plane = np.maximum(plane, np.float32(radius) - np.sqrt((along / long) ** 2 + (across * long) ** 2))
    if number:
        plane = np.minimum(plane + np.float32(0.16) * texture(rng, grid, 0.55), in_nucleus - np.float32(0.3))
    return at, radii, soft(plane, 0.15)


def _pole(rng: np.random.Generator, shape: Shape, um: float, centre: Floats) -> Floats:
    """Return the centrosome's place: 0.3-2.5 µm outside the nucleus, towards the roomier side of the cell."""
    theta = rng.uniform(0, 2 * np.pi, 4)
    place = (theta * (DIRECTIONS / (2 * np.pi))).astype(np.intp)
    room = shape.cell.radius[place] - shape.nucleus.radius[place]
    best = int(room.argmax())
    out = shape.nucleus.radius[place[best]] + min(rng.uniform(0.3, 2.5) / um, 0.6 * float(room[best]))
    return np.asarray(centre + out * np.array([np.sin(theta[best]), np.cos(theta[best])]), np.float64)
