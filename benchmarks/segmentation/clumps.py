"""Simulated fields of what real ones fail on: compact clumps, a few nuclei ten times as bright, and hardly any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

PX = 512
# kind -> clumps by nuclear diameter, single nuclei by it, how many of them are bright, haze, blur in pixels
KINDS = {
    "clumps": ((5, 3, 2), (25, 12, 5), 0, 0.15, 1.5),
    "compact": ((4, 3, 2), (2, 2, 2), 0, 0.3, 2.0),
    "bright": ((0, 0, 0), (90, 45, 25), 3, 0.1, 1.5),
    "sparse": ((0, 0, 0), (4, 3, 2), 0, 0.0, 1.5),
}
DIAMETERS_PX = (16, 30, 44)


@dataclass
class Canvas:
    """A field (y, x) that nuclei are added to: its light, and the number of each nucleus."""

    light: np.ndarray
    truth: np.ndarray
    rng: np.random.Generator

    def add(self, y: float, x: float, diameter: float, overlap: float) -> bool:
        """Add a nucleus of about this diameter; False where more than `overlap` of it lies on others."""
        if not (0 <= y < PX and 0 <= x < PX) or self.truth[int(y), int(x)]:
            return False
        rng, (rows, columns) = self.rng, np.mgrid[:PX, :PX].astype(np.float32)
        radius, ratio, angle = (
            diameter / 2 * np.exp(rng.normal(0, 0.12)),
            np.exp(rng.uniform(0, 0.4)),
            rng.uniform(0, 3),
        )
        along = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
        across = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        turn = np.arctan2(along, across)
        wobble = 1 + 0.05 * np.cos(2 * turn + rng.uniform(0, 6)) + 0.04 * np.cos(3 * turn + rng.uniform(0, 6))
        mine = (along / np.sqrt(ratio)) ** 2 + (across * np.sqrt(ratio)) ** 2 < (radius * wobble) ** 2
        if not mine.any() or (self.truth[mine] > 0).sum() > overlap * mine.sum():
            return False
        grain = ndimage.gaussian_filter(rng.normal(size=(PX, PX)).astype(np.float32), 0.07 * diameter) * diameter / 5
        own = np.exp(rng.normal(0, 0.3)) * (1 + 0.15 * grain)
        self.light = np.where(mine, self.light + np.where(self.truth > 0, 0.5, 1) * own, self.light)
        self.truth[mine & (self.truth == 0)] = self.truth.max() + 1
        return True


def field(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the light (y, x; uint16) and the true nuclei of a simulated field."""
    size = seed % len(DIAMETERS_PX)
    clumps, singles, bright, haze, blur = KINDS[kind]
    canvas = Canvas(np.zeros((PX, PX), np.float32), np.zeros((PX, PX), np.int32), np.random.default_rng(seed))
    rng, diameter = canvas.rng, DIAMETERS_PX[size]
    for _ in range(clumps[size]):
        _add_clump(canvas, diameter, int(rng.integers(6, 16)))
    placed = 0
    for _ in range(4 * singles[size]):
        if placed < singles[size]:
            placed += canvas.add(*rng.uniform(0, PX, 2), diameter, 0.0)
    for label in rng.permutation(np.arange(1, canvas.truth.max() + 1))[:bright]:
        canvas.light[canvas.truth == label] *= rng.uniform(6, 12)
    light = ndimage.gaussian_filter(canvas.light, blur) + haze * ndimage.gaussian_filter(canvas.light, diameter)
    light = light + 0.1 + (0.1 * np.arange(PX) / PX if haze else 0)
    light += rng.normal(0, 0.03, light.shape) * np.sqrt(light + 0.3)
    return (light * 800).clip(0, 65535).astype(np.uint16), canvas.truth


def _add_clump(canvas: Canvas, diameter: float, nuclei: int) -> None:
    y, x = canvas.rng.uniform(0.15 * PX, 0.85 * PX, 2)
    added = 0
    for _ in range(40 * nuclei):
        away, turn = 0.55 * diameter * np.sqrt(nuclei * canvas.rng.uniform()), canvas.rng.uniform(0, 2 * np.pi)
        added += canvas.add(y + away * np.sin(turn), x + away * np.cos(turn), diameter, 0.12)
        if added == nuclei:
            return


def fields() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, light and true nuclei of twelve simulated fields: four kinds, each at three magnifications."""
    for number, kind in enumerate(KINDS):
        for size in range(len(DIAMETERS_PX)):
            yield f"simulated/{kind}-{size}", *field(kind, 300 * number + size)
