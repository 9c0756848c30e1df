"""How each location looks: one function per location, from a field's anatomy to light before the microscope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embstore.phantom.anatomy import Anatomy, Labels, Plane, Points, as_plane


@dataclass(frozen=True)
class Scene:
    """What a pattern may use: the anatomy, the field's random numbers and the protein's grain and crowd."""

    anatomy: Anatomy
    rng: np.random.Generator
    grain: float = 1.0  # factor on the size of spots and threads
    crowd: float = 1.0  # factor on their number

    @cached_property
    def nucleus(self) -> Plane:
        """Return 1 in nuclei, (y, x)."""
        return as_plane(self.anatomy.nuclei > 0)

    @cached_property
    def cytoplasm(self) -> Plane:
        """Return 1 in cells outside nuclei, (y, x)."""
        return as_plane((self.anatomy.cells > 0) & (self.anatomy.nuclei == 0))

    def number(self, low: int, high: int) -> int:
        """Return how many structures one cell has, drawn between low and high and scaled by the crowd."""
        return max(1, round(float(self.rng.uniform(low, high)) * self.crowd))


def blur(plane: Plane, sigma_px: float) -> Plane:
    """Return the plane under a Gaussian of this sigma, (y, x) float32."""
    from scipy import ndimage

    return as_plane(ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0))


def texture(scene: Scene, size_um: float) -> Plane:
    """Return random texture with grains of about this size, mean 0 and standard deviation 1, (y, x)."""
    noise = blur(scene.rng.standard_normal(scene.nucleus.shape, dtype=np.float32), scene.anatomy.px(size_um))
    return as_plane((noise - noise.mean()) / noise.std())


def rim(labels: Labels) -> Plane:
    """Return 1 on the pixels of a label that have a 4-neighbour of another label, (y, x)."""
    edge = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return as_plane(edge & (labels > 0))


def line(drawn: Plane, sigma_px: float) -> Plane:
    """Return thin lines widened to this sigma, about 1 along their middle."""
    return blur(drawn, sigma_px) * np.float32(sigma_px * np.sqrt(2 * np.pi))


def spots(scene: Scene, at: Points, peak: npt.NDArray[np.float64], sigma_um: float) -> Plane:
    """Return round spots at these places (n, 2) in pixels, each with its peak, (y, x)."""
    sigma_px = scene.anatomy.px(sigma_um * scene.grain)
    return blur(_drawn(scene, at, peak), sigma_px) * np.float32(2 * np.pi * sigma_px**2)


def threads(
    scene: Scene,
    starts: Points,
    heading: npt.NDArray[np.float64],
    *,
    length_um: float,
    wiggle: float,
    sigma_um: float,
) -> Plane:
    """Return wandering threads from these starts (n, 2), each ending where it would leave its cell, (y, x).

    `heading` in radians (n,); `wiggle` is the standard deviation of the turn over one µm, in radians.
    """
    a = scene.anatomy
    steps = int(a.px(length_um))
    turns = scene.rng.normal(0, wiggle * np.sqrt(a.pixel_size_um), (len(starts), steps))
    angle = heading[:, None] + np.cumsum(turns, axis=1)
    path = starts[:, None] + np.cumsum(np.stack([np.sin(angle), np.cos(angle)], axis=-1), axis=1)  # (n, steps, 2)
    y, x = np.moveaxis(np.clip(path, 0, np.array(a.cells.shape) - 1).astype(int), -1, 0)
    owners = a.cells[y, x]
    inside = np.logical_and.accumulate((owners == owners[:, :1]) & (owners > 0), axis=1)
    return line(_drawn(scene, path[inside], np.ones(int(inside.sum()))), a.px(sigma_um * scene.grain))


def _drawn(scene: Scene, at: Points, weight: npt.NDArray[np.float64]) -> Plane:
    height, width = scene.anatomy.cells.shape
    y, x = np.floor(at).astype(int).T
    kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    flat = np.bincount(y[kept] * width + x[kept], weights=weight[kept], minlength=height * width)
    return as_plane(flat.reshape(height, width))


def _inside(scene: Scene, where: Plane, low: int, high: int, *, near_nucleus: bool = False) -> Points:
    """Return low-high random places per cell within `where`, (n, 2); near the nucleus is the nearer of two draws.

    A cell with less room than the field's median, at the field's edge above all, gets proportionally fewer.
    """
    a, found = scene.anatomy, []
    owned = np.flatnonzero(where)
    owners = a.cells.ravel()[owned]
    order = np.argsort(owners, kind="stable")
    bounds = np.searchsorted(owners[order], np.arange(1, a.count + 2))
    usual = max(1, int(np.median(np.diff(bounds))))
    for label in range(a.count):
        mine = owned[order[bounds[label] : bounds[label + 1]]]
        if mine.size:
            number = -(-scene.number(low, high) * min(mine.size, usual) // usual)
            pick = mine[scene.rng.integers(mine.size, size=(2, number))]
            away = a.from_nucleus_um.ravel()[pick]
            found.append(np.where(away[0] < away[1], pick[0], pick[1]) if near_nucleus else pick[0])
    at = np.concatenate(found) if found else np.zeros(0, int)
    return np.stack(np.unravel_index(at, a.cells.shape), axis=1) + scene.rng.random((at.size, 2))


def _nucleoplasm(scene: Scene) -> Plane:
    body = 0.75 + 0.12 * texture(scene, 0.5) + 0.08 * texture(scene, 1.5)
    return as_plane(scene.nucleus * body * (1 - 0.75 * scene.anatomy.nucleoli))


def _nuclear_membrane(scene: Scene) -> Plane:
    ring = line(rim(scene.anatomy.nuclei), scene.anatomy.px(0.22 * scene.grain))
    return as_plane(ring * (1 + 0.2 * texture(scene, 0.5)) + 0.14 * scene.nucleus)


def _nucleolus(scene: Scene) -> Plane:
    soft = blur(scene.anatomy.nucleoli, scene.anatomy.px(0.15))
    return as_plane(soft * (1.1 + 0.15 * texture(scene, 0.3)) + 0.12 * _nucleoplasm(scene))


def _nuclear_punctae(scene: Scene) -> Plane:
    at = _inside(scene, scene.nucleus * (scene.anatomy.nucleoli == 0), 6, 20)
    return as_plane(spots(scene, at, scene.rng.uniform(0.5, 1.6, len(at)), 0.3) + 0.12 * _nucleoplasm(scene))


def _cytoplasmic(scene: Scene) -> Plane:
    body = scene.anatomy.thickness * (0.8 + 0.07 * texture(scene, 0.4) + 0.07 * texture(scene, 2.0))
    return as_plane(scene.cytoplasm * body + 0.2 * _nucleoplasm(scene))


def _er(scene: Scene) -> Plane:
    # the zero crossings of smooth noise make a net; it thins out away from the nucleus
    net = np.exp(-((texture(scene, 0.45 * scene.grain) / 0.55) ** 2)) + 0.25
    dense = 0.12 + np.exp(-scene.anatomy.from_nucleus_um / 3.5)
    envelope = line(rim(scene.anatomy.nuclei), scene.anatomy.px(0.22))
    return as_plane(0.8 * scene.cytoplasm * net * dense + 0.4 * envelope + 0.06 * scene.nucleus)


def _golgi(scene: Scene) -> Plane:
    a, rng = scene.anatomy, scene.rng
    owner = np.repeat(np.arange(a.count), [scene.number(14, 26) for _ in range(a.count)])
    axis = a.poles - a.centres
    out = np.arctan2(axis[:, 0], axis[:, 1])[owner]
    along, across = rng.normal(0, a.px(1.9), owner.size), np.abs(rng.normal(0, a.px(0.7), owner.size))
    y = a.poles[owner, 0] + across * np.sin(out) + along * np.cos(out)
    x = a.poles[owner, 1] + across * np.cos(out) - along * np.sin(out)
    tangent = out + np.pi / 2 + rng.normal(0, 0.5, owner.size)
    ribbons = threads(scene, np.stack([y, x], axis=1), tangent, length_um=2.2, wiggle=0.7, sigma_um=0.26)
    return as_plane(ribbons * (1 - 0.7 * scene.nucleus))


def _mitochondria(scene: Scene) -> Plane:
    starts = _inside(scene, scene.cytoplasm, 35, 60, near_nucleus=True)
    heading = scene.rng.uniform(0, 2 * np.pi, len(starts))
    return as_plane(
        threads(scene, starts, heading, length_um=4.0, wiggle=0.75, sigma_um=0.24) * (1 - 0.85 * scene.nucleus)
    )


def _vesicles(scene: Scene) -> Plane:
    at = _inside(scene, scene.cytoplasm, 35, 80, near_nucleus=True)
    return as_plane(spots(scene, at, scene.rng.lognormal(-0.2, 0.5, len(at)), 0.27))


def _membrane(scene: Scene) -> Plane:
    edge = rim(scene.anatomy.cells)
    at = _inside(scene, edge, 30, 60)
    ruffles = threads(scene, at, scene.rng.uniform(0, 2 * np.pi, len(at)), length_um=1.4, wiggle=0.6, sigma_um=0.2)
    ring = line(edge, scene.anatomy.px(0.2 * scene.grain)) * np.clip(1 + 0.35 * texture(scene, 1.0), 0.2, 2)
    return as_plane(ring + 0.5 * ruffles + 0.1 * _cytoplasmic(scene))


def _centrosome(scene: Scene) -> Plane:
    a, rng = scene.anatomy, scene.rng
    apart = rng.normal(0, a.px(0.5), (a.count, 2))
    second = rng.random(a.count) < 0.5
    at = np.concatenate([a.poles + apart, (a.poles - apart)[second]])
    return as_plane(spots(scene, at, rng.uniform(1.2, 2.2, len(at)), 0.3) + 0.06 * _cytoplasmic(scene))


def _cytoskeleton(scene: Scene) -> Plane:
    a, rng = scene.anatomy, scene.rng
    aster = np.repeat(a.poles, scene.number(24, 36), axis=0)
    free = _inside(scene, scene.cytoplasm, 70, 100)
    owner = a.cells[free[:, 0].astype(int), free[:, 1].astype(int)] - 1
    outward = np.arctan2(*(free - a.poles[owner]).T) + rng.normal(0, 0.6, len(free))
    starts = np.concatenate([aster, free])
    heading = np.concatenate([rng.uniform(0, 2 * np.pi, len(aster)), outward])
    drawn = threads(scene, starts, heading, length_um=13.0, wiggle=0.22, sigma_um=0.12)
    # tubulin that is in no filament hazes the whole cytoplasm
    return as_plane((0.55 * drawn + 0.12 * a.thickness) * (1 - 0.6 * scene.nucleus))


PATTERNS: dict[str, Callable[[Scene], Plane]] = {
    "nucleoplasm": _nucleoplasm,
    "nuclear_membrane": _nuclear_membrane,
    "nucleolus_gc": _nucleolus,
    "nuclear_punctae": _nuclear_punctae,
    "cytoplasmic": _cytoplasmic,
    "er": _er,
    "golgi": _golgi,
    "mitochondria": _mitochondria,
    "vesicles": _vesicles,
    "membrane": _membrane,
    "centrosome": _centrosome,
    "cytoskeleton": _cytoskeleton,
}


def chromatin(scene: Scene) -> Plane:
    """Return the dyed DNA: every nucleus with its own brightness, grainy, dark where nucleoli are, (y, x)."""
    level = np.concatenate([[0.0], scene.rng.lognormal(0, 0.22, scene.anatomy.count)]).astype(np.float32)
    body = 0.7 + 0.13 * texture(scene, 0.3) + 0.1 * texture(scene, 0.9)
    return as_plane(level[scene.anatomy.nuclei] * np.clip(body, 0.1, 2) * (1 - 0.55 * scene.anatomy.nucleoli))
