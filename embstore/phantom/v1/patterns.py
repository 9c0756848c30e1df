"""How each location looks in one cell: from its anatomy to light, about 1 where it is bright, before the microscope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embstore.phantom.v1.anatomy import Cell, soft
from embstore.phantom.v1.proteins import Look
from embstore.phantom.v1.texture import Floats, Plane, places, spots, texture, threads

Random = np.random.Generator
Light = Any  # a Plane, once `pattern` has made it one: numpy's arithmetic has no static type


def _spread_out(rng: Random, cell: Cell) -> Light:
    """Return what fills the cytoplasm of a cell evenly, and all but the chromosomes of one that divides."""
    return cell.thickness * (0.9 + 0.07 * texture(rng, cell.grid, 0.9) + 0.07 * texture(rng, cell.grid, 3.0))


def _heaped(drawn: Plane, most: float) -> Light:
    """Return crossing threads as the eye sees them: what lies on top of each other brightens less and less."""
    return np.float32(most) * (1 - np.exp(drawn * np.float32(-1 / most)))


def _number(rng: Random, low: float, high: float, crowd: float) -> int:
    """Return how many structures one cell has."""
    return max(1, round(float(rng.uniform(low, high)) * crowd))


def _room(cell: Cell) -> Light:
    """Return 1 in the cytoplasm, a little away from the outlines, (y, x)."""
    return ((cell.in_cell_um > 0.25) & (cell.in_nucleus_um < -0.25)).astype(np.float32)


def _around(cell: Cell, reach_um: float) -> Light:
    """Return the cytoplasm's share of structures that gather around the nucleus, falling off over this reach."""
    return _room(cell) * np.exp(cell.in_nucleus_um.clip(-40, 0) / np.float32(reach_um))


def _nucleoplasm(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        return _spread_out(rng, cell) * (1 - 0.5 * cell.nucleus)
    grainy = 0.06 + 0.16 * look.kind
    body = 0.78 + grainy * texture(rng, cell.grid, 0.35 * look.size) + 0.05 * texture(rng, cell.grid, 1.6)
    return cell.nucleus * np.clip(body, 0.1, 2) * (1 - (0.25 + 0.7 * look.spread) * cell.nucleoli)


def _chromatin(_: Random, cell: Cell, look: Look) -> Light:
    # what sits on DNA repeats the dye's mottling, more or less sharply, and stays on chromosomes
    return 1.05 * np.clip(cell.dna, 0, 2) ** np.float32(0.9 + 1.4 * look.spread) + 0.05 * cell.thickness


def _nuclear_membrane(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        return 0.7 * _er(rng, cell, look)
    thin = np.float32(0.24 * look.size)
    ring = np.exp(-((cell.in_nucleus_um / thin) ** 2) / 2) * np.clip(1 + 0.18 * texture(rng, cell.grid, 0.55), 0.2, 2)
    folds = np.exp(-((texture(rng, cell.grid, 1.6) / np.float32(0.08)) ** 2)) * cell.nucleus
    return ring + (0.3 * look.spread) * folds + (0.06 + 0.16 * look.kind) * cell.nucleus


def _nucleolus_gc(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        shell = np.exp(-((cell.in_nucleus_um / np.float32(0.5)) ** 2))
        return 0.4 * shell + 0.35 * _spread_out(rng, cell)
    hollow = 1 - 0.45 * look.kind * spots(cell.grid, cell.nucleolus_at, np.ones(len(cell.nucleolus_at)), 0.35)
    body = cell.nucleoli * (1.0 + 0.12 * texture(rng, cell.grid, 0.35)) * np.clip(hollow, 0.2, 1)
    return body + (0.04 + 0.14 * look.spread) * _nucleoplasm(rng, cell, look)


def _nucleolus_fc_dfc(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        at = places(rng, cell.nucleus, _number(rng, 3, 8, look.crowd))
        return spots(cell.grid, at, rng.uniform(0.5, 1.0, len(at)), 0.24)
    numbers = [_number(rng, 1.0, 1.0 + 2.6 * radius, look.crowd) for radius in cell.nucleolus_um]
    spread_px = np.repeat(0.36 * cell.nucleolus_um / cell.grid.um, numbers)[:, None]
    within = np.repeat(cell.nucleolus_at, numbers, axis=0) + spread_px * rng.normal(0, 1, (sum(numbers), 2))
    points = spots(cell.grid, within, rng.uniform(0.6, 1.3, len(within)), 0.2 * look.size)
    return points * cell.nucleus + (0.1 + 0.12 * look.spread) * cell.nucleoli + 0.05 * cell.nucleus


def _nuclear_punctae(rng: Random, cell: Cell, look: Look) -> Light:
    few = look.kind < 0.5
    number = _number(rng, 3, 9, look.crowd) if few else _number(rng, 16, 36, look.crowd)
    where = _room(cell) if cell.phase else (cell.in_nucleus_um > 0.4) * (1 - cell.nucleoli)
    at = places(rng, where, number if not cell.phase else -(-number // 3))
    sigma = (0.34 if few else 0.24) * look.size * rng.lognormal(0, 0.2, len(at))
    haze = (0.05 + 0.2 * look.spread) * _nucleoplasm(rng, cell, look)
    return spots(cell.grid, at, rng.uniform(0.5, 1.4, len(at)), sigma) + haze


def _cytoplasmic(rng: Random, cell: Cell, look: Look) -> Light:
    inside = 0.05 + 0.45 * look.spread  # what of it is in the nucleus
    grainy = np.clip(1 + 0.16 * look.kind * texture(rng, cell.grid, 0.35), 0, 2)
    return _spread_out(rng, cell) * grainy * (1 - (1 - inside) * cell.nucleus)


def _er(rng: Random, cell: Cell, look: Look) -> Light:
    # the zero crossings of smooth noise make a net; it is dense at the nucleus and thins out
    net = np.exp(-((texture(rng, cell.grid, 0.45 * look.size) / np.float32(0.5)) ** 2)) + (0.2 + 0.5 * look.kind)
    dense = 0.14 + np.exp(cell.in_nucleus_um.clip(-40, 0) / np.float32(2.2 + 3.5 * look.spread))
    envelope = np.exp(-((cell.in_nucleus_um / np.float32(0.3)) ** 2)) * (0 if cell.phase else 0.45)
    return 0.85 * cell.body * (1 - 0.93 * cell.nucleus) * net * dense + envelope


def _golgi(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:  # it falls apart into vesicles
        return 0.8 * _vesicles(rng, cell, look)
    axis = cell.pole - cell.centre
    out = float(np.arctan2(axis[0], axis[1]))
    number = _number(rng, 14, 28, look.crowd)
    along = rng.normal(0, (1.1 + 2.0 * look.spread) / cell.grid.um, number)
    across = np.abs(rng.normal(0, 0.7 / cell.grid.um, number))
    turn = along / max(float(np.hypot(*axis)), 1.0)  # the ribbon bends around the nucleus
    radius = np.hypot(*axis) + across
    starts = cell.centre + np.stack([radius * np.sin(out + turn), radius * np.cos(out + turn)], axis=1)
    heading = out + turn + np.pi / 2 + rng.normal(0, 0.5, number)
    length = 2.4 if look.kind < 0.6 else 0.7  # a ribbon, or stacks apart from each other
    drawn = threads(rng, cell.grid, cell.in_cell_um > 0, starts, heading, length_um=length, wiggle=0.7, sigma_um=0.24)
    return _heaped(drawn, 2.0) * (1 - 0.6 * cell.nucleus)


def _mitochondria(rng: Random, cell: Cell, look: Look) -> Light:
    weight = _around(cell, 3.0 + 6.0 * look.spread)
    number = _number(rng, 26, 46, look.crowd)
    length = 1.2 if look.kind < 0.35 else 4.2  # fragmented, or a network
    starts = places(rng, weight, number * 2 if length < 2 else number)
    heading = rng.uniform(0, 2 * np.pi, len(starts))
    room = (cell.in_cell_um > 0.2) & (cell.in_nucleus_um < 0.3)
    drawn = threads(rng, cell.grid, room, starts, heading, length_um=length, wiggle=0.8, sigma_um=0.22 * look.size)
    return 0.9 * _heaped(drawn, 1.8)


def _vesicles(rng: Random, cell: Cell, look: Look) -> Light:
    big = look.kind > 0.7  # lysosome-like: fewer and larger
    number = _number(rng, 9, 24, look.crowd) if big else _number(rng, 30, 90, look.crowd)
    at = places(rng, _around(cell, 1.8 + 9.0 * look.spread**2), number)
    sigma = (0.4 if big else 0.22) * look.size * rng.lognormal(0, 0.22, len(at))
    return spots(cell.grid, at, rng.lognormal(-0.25, 0.5, len(at)), sigma)


def _edge(cell: Cell, thin_um: float) -> Light:
    """Return a line along the cell's outline, this wide (sigma), (y, x)."""
    return np.exp(-(((cell.in_cell_um - np.float32(0.15)) / np.float32(thin_um)) ** 2) / 2) * (cell.in_nucleus_um < 0.3)


def _membrane(rng: Random, cell: Cell, look: Look) -> Light:
    edge = _edge(cell, 0.24 * look.size)
    number = _number(rng, 14, 40, look.crowd)
    at = places(rng, edge, number)
    heading = rng.uniform(0, 2 * np.pi, len(at))
    ruffles = threads(rng, cell.grid, cell.in_cell_um > 0, at, heading, length_um=1.6, wiggle=0.6, sigma_um=0.2)
    ring = edge * np.clip(1 + 0.3 * texture(rng, cell.grid, 0.9), 0.2, 2)
    # a projection also sees the membrane above and below
    sheet = (0.06 + 0.2 * look.spread) * cell.body * np.clip(1 + 0.25 * texture(rng, cell.grid, 0.55), 0, 2)
    return 0.85 * ring + (0.6 * look.kind) * ruffles + sheet


def _cell_contact(rng: Random, cell: Cell, look: Look) -> Light:
    edge = _edge(cell, 0.26 * look.size) * np.clip(1 + (0.2 + 0.5 * look.kind) * texture(rng, cell.grid, 0.9), 0, 3)
    return edge * (0.06 + cell.contact) + (0.03 + 0.1 * look.spread) * cell.thickness


def _centrosome(rng: Random, cell: Cell, look: Look) -> Light:
    poles = _poles(cell)
    pair = rng.random() < (0.3 + 0.5 * look.kind)
    at = np.concatenate([poles + rng.normal(0, 0.35 / cell.grid.um, poles.shape) for _ in range(1 + pair)])
    drawn = spots(cell.grid, at, rng.uniform(0.9, 1.8, len(at)), 0.3 * look.size)
    satellites = places(rng, np.exp(-((_away(cell, poles[0]) / np.float32(1.8)) ** 2)), round(14 * look.spread))
    drawn = drawn + spots(cell.grid, satellites, rng.uniform(0.1, 0.35, len(satellites)), 0.2)
    return drawn + (0.03 + 0.08 * look.crowd) * cell.thickness


def _poles(cell: Cell) -> Floats:
    """Return the centrosome's place, or the spindle's two poles, (n, 2) in pixels."""
    if not cell.phase:
        return cell.pole[None]
    across, reach = cell.angle + np.pi / 2, 5.2 / cell.grid.um
    step = reach * np.array([np.sin(across), np.cos(across)])
    return np.stack([cell.centre + step, cell.centre - step])


def _away(cell: Cell, place: Floats) -> Light:
    """Return the distance to a place in µm, (y, x)."""
    y, x = (np.arange(n, dtype=np.float32) - np.float32(p) for n, p in zip(cell.grid[:2], place, strict=True))
    return np.hypot(y[:, None], x[None, :]) * np.float32(cell.grid.um)


def _cytoskeleton(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        return _spindle(rng, cell)
    if look.kind < 0.45:
        return _stress_fibres(rng, cell, look)
    free = places(rng, _room(cell), _number(rng, 50, 90, look.crowd))
    starts = np.concatenate([np.repeat(cell.pole[None], 26, axis=0), free])
    outward = np.arctan2(*(free - cell.pole).T) + rng.normal(0, 0.55, len(free))
    heading = np.concatenate([rng.uniform(0, 2 * np.pi, 26), outward])
    drawn = threads(rng, cell.grid, cell.in_cell_um > 0, starts, heading, length_um=12, wiggle=0.2, sigma_um=0.13)
    return (0.6 * _heaped(drawn, 2.5) + 0.12 * cell.thickness) * (1 - 0.6 * cell.nucleus)


def _stress_fibres(rng: Random, cell: Cell, look: Look) -> Light:
    at = places(rng, soft(cell.in_cell_um, 1.0), _number(rng, 14, 30, look.crowd))
    turn = cell.angle + float(rng.normal(0, 0.3))
    heading = turn + rng.normal(0, 0.12, len(at)) + np.pi * rng.integers(2, size=len(at))
    drawn = threads(rng, cell.grid, cell.in_cell_um > 0, at, heading, length_um=9, wiggle=0.05, sigma_um=0.16)
    return 0.8 * _heaped(drawn, 2.0) + 0.55 * _edge(cell, 0.3) + 0.05 * cell.thickness


def _spindle(rng: Random, cell: Cell) -> Light:
    poles = _poles(cell)
    starts = np.repeat(poles, 30, axis=0)
    inward = np.arctan2(*(cell.centre - starts).T) + rng.normal(0, 0.35, len(starts))
    drawn = threads(rng, cell.grid, cell.in_cell_um > 0, starts, inward, length_um=5, wiggle=0.1, sigma_um=0.2)
    return 0.7 * _heaped(drawn, 2.0) + 0.2 * cell.thickness


def _focal_adhesions(rng: Random, cell: Cell, look: Look) -> Light:
    if cell.phase:
        return 0.3 * cell.thickness
    rim = ((cell.in_cell_um > 0.3) & (cell.in_cell_um < 3.2)) * (1 - 0.85 * cell.contact) * (cell.in_nucleus_um < -0.5)
    at = places(rng, rim.astype(np.float32), _number(rng, 12, 30, look.crowd))
    heading = np.arctan2(*(at - cell.centre).T) + rng.normal(0, 0.3, len(at))
    length = 1.3 + 1.8 * look.kind
    drawn = threads(rng, cell.grid, cell.in_cell_um > 0, at, heading, length_um=length, wiggle=0.06, sigma_um=0.22)
    return _heaped(drawn, 1.6) + (0.05 + 0.12 * look.spread) * cell.thickness


def _big_aggregates(rng: Random, cell: Cell, look: Look) -> Light:
    number = _number(rng, 1, 3, 0.6 + 0.5 * look.crowd)
    at = places(rng, _around(cell, 4.0), number)
    drawn = np.zeros((cell.grid.height, cell.grid.width), np.float32)
    for place in at:  # lumpy: a few spots on top of each other
        lumps = place + rng.normal(0, 0.45 / cell.grid.um, (5, 2))
        drawn += spots(cell.grid, lumps, np.full(5, 0.4), float(rng.uniform(0.4, 0.75)) * look.size)
    return 1.3 * _heaped(drawn, 1.2) + (0.03 + 0.1 * look.spread) * cell.thickness


PATTERNS: dict[str, Callable[[Random, Cell, Look], Light]] = {
    "cytoplasmic": _cytoplasmic,
    "nucleoplasm": _nucleoplasm,
    "vesicles": _vesicles,
    "membrane": _membrane,
    "er": _er,
    "nuclear_punctae": _nuclear_punctae,
    "nucleolus_gc": _nucleolus_gc,
    "chromatin": _chromatin,
    "golgi": _golgi,
    "centrosome": _centrosome,
    "cytoskeleton": _cytoskeleton,
    "nuclear_membrane": _nuclear_membrane,
    "cell_contact": _cell_contact,
    "nucleolus_fc_dfc": _nucleolus_fc_dfc,
    "big_aggregates": _big_aggregates,
    "mitochondria": _mitochondria,
    "focal_adhesions": _focal_adhesions,
}


def pattern(rng: Random, cell: Cell, location: str, look: Look) -> Plane:
    """Return a location's light in one cell, (y, x)."""
    return np.asarray(PATTERNS[location](rng, cell, look), np.float32)
