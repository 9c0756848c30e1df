"""The outlines of a field's nuclei and cells, and where they lie, before neighbours meet."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embstore.phantom.v1 import law
from embstore.phantom.v1.texture import Floats, Plane

DIRECTIONS = 1024  # an outline's radius is tabulated; a step is 0.1 µm at a cell's edge, half a pixel
MARGIN_UM = 8.0  # nuclei may lie this far outside a field: what reaches in is a cell cut by the border
CLOSEST = 0.86  # of the radii's sum: neighbouring nuclei touch, and elongated ones overlap a little
TRIES = 40  # places tried for a nucleus before the field counts as full
DIVIDING = ("prometaphase", "metaphase", "anaphase")


class Outline(NamedTuple):
    """A star-shaped outline: its centre and its radius in each of DIRECTIONS, both in pixels."""

    centre: Floats  # y x
    radius: Plane  # (directions,)


class Shape(NamedTuple):
    """What a cell is before it meets its neighbours; `phase` is "" between divisions."""

    nucleus: Outline
    cell: Outline
    phase: str
    angle: float  # of the long axis, and of the division


def place_shapes(rng: np.random.Generator, side: int, um: float, line: law.CellLine) -> list[Shape]:
    """Return the cells that can be seen in a square field of `side` pixels, now and then none."""
    if rng.random() < law.EMPTY_FIELDS:
        return []
    margin = MARGIN_UM / um
    wanted = round(float(rng.uniform(*line.density)) * ((side + 2 * margin) * um / 100) ** 2)
    places, radii, shapes = np.zeros((0, 2)), np.zeros(0), []
    for _ in range(max(1, wanted)):
        radius = line.nucleus_um / um * float(rng.lognormal(0, 0.13))
        place = _place(rng, places, radii, radius, side=side, margin=margin)
        if place is None:
            break
        places, radii = np.vstack([places, place]), np.append(radii, radius)
        shape = _shape(rng, place, radius, um, line)
        if _reaches_in(shape, side):
            shapes.append(shape)
    return shapes


def _place(
    rng: np.random.Generator, places: Floats, radii: Floats, radius: float, *, side: int, margin: float
) -> Floats | None:
    """Return a free centre: anywhere, or in a third of the draws right beside an earlier nucleus; None if full."""
    for _ in range(TRIES):
        if len(places) and rng.random() < 0.35:
            near, turn = int(rng.integers(len(places))), rng.uniform(0, 2 * np.pi)
            step = (radii[near] + radius) * rng.uniform(CLOSEST, 1.25)
            place = places[near] + step * np.array([np.sin(turn), np.cos(turn)])
        else:
            place = rng.uniform(-margin, side + margin, 2)
        if (np.hypot(*(places - place).T) >= CLOSEST * (radii + radius)).all():
            return np.asarray(place, np.float64)
    return None


def _reaches_in(shape: Shape, side: int) -> bool:
    """Tell whether any of a cell can be seen; a nucleus that is nearly outside would be a sliver nobody counts."""
    inset = 0.3 * float(shape.nucleus.radius.mean())
    return bool(((shape.nucleus.centre > -inset) & (shape.nucleus.centre < side + inset)).all())


def _shape(rng: np.random.Generator, centre: Floats, radius: float, um: float, line: law.CellLine) -> Shape:
    angle = float(rng.uniform(0, np.pi))
    if rng.random() < law.MITOTIC:
        phase = DIVIDING[int(rng.integers(len(DIVIDING)))]
        # a dividing cell rounds up
        cell = _star(rng, centre, radius * rng.uniform(1.35, 1.6), 1.12, angle, wave=0.02)
        long, wide = {"prometaphase": (5.0, 4.0), "metaphase": (5.2, 1.5), "anaphase": (3.6, 3.6)}[phase]
        plate = float(np.sqrt(long * wide)) / um
        return Shape(_star(rng, centre, plate, long / wide, angle, wave=0.03), cell, phase, angle)
    aspect = float(rng.uniform(1.0, 1.55))
    nucleus = _star(rng, centre, radius, aspect, angle, wave=0.055)
    spikes = int(rng.integers(0, line.spikes + 1))
    stretch = float(np.sqrt(aspect) * rng.uniform(1.0, 1.6))
    turned = angle + float(rng.normal(0, 0.35))
    cell = _star(rng, centre, radius * float(rng.uniform(*line.spread)), stretch, turned, wave=0.13, spikes=spikes)
    return Shape(nucleus, cell, "", angle)


def _star(
    rng: np.random.Generator,
    centre: Floats,
    radius: float,
    aspect: float,
    angle: float,
    *,
    wave: float,
    spikes: int = 0,
) -> Outline:
    """Return an ellipse with waves (`wave` is the sd of their amplitude), of which the first shifts it, and spikes."""
    theta = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    turned = theta - angle
    outline = 1 / np.sqrt(np.cos(turned) ** 2 / aspect + np.sin(turned) ** 2 * aspect)
    orders = np.arange(1, 8)[:, None]
    amplitude = rng.normal(0, wave, orders.shape) / np.maximum(orders / 2, 1)
    outline = outline * (1 + (amplitude * np.cos(orders * theta + rng.uniform(0, 2 * np.pi, orders.shape))).sum(0))
    for _ in range(spikes):
        off = (theta - rng.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi
        outline = outline + rng.uniform(0.2, 0.95) * np.exp(-((off / rng.uniform(0.1, 0.4)) ** 2))
    return Outline(centre, (radius * np.maximum(outline, 0.2)).astype(np.float32))
