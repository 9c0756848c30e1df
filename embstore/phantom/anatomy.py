"""The cells of a simulated field: smooth irregular nuclei, cell outlines that give way to each other, nucleoli."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Points = npt.NDArray[np.float64]


def as_plane(values: npt.ArrayLike) -> Plane:
    """Return the values as single-precision light, whatever precision the arithmetic ended in."""
    return np.asarray(values, dtype=np.float32)


NUCLEUS_RADIUS_UM = 6.0  # the 12 µm nucleus that DESIGN §4 estimates pixel sizes by
CELLS = (8, 14)  # nuclei per field, both ends included
# no outline reaches farther from its centre: windows that save most of the arithmetic
NUCLEUS_REACH_UM, CELL_REACH_UM, NUCLEOLUS_REACH_UM = 12.0, 24.0, 3.0
DIRECTIONS = 2048  # an outline's radius is tabulated; a step is 0.05 µm at a cell's edge, a quarter of a pixel


@dataclass(frozen=True)
class Anatomy:
    """Where everything is in one field; labels 1..n are shared by nuclei and cells, 0 is background."""

    pixel_size_um: float
    nuclei: Labels  # (y, x)
    cells: Labels  # (y, x), each nucleus lies inside its cell
    nucleoli: Plane  # (y, x) in [0, 1]
    from_nucleus_um: Plane  # (y, x), distance to the nearest nucleus, 0 inside
    thickness: Plane  # (y, x) in [0, 1], how much cell lies under a pixel
    centres: Points  # (n, 2) nucleus centres, y x, in pixels
    poles: Points  # (n, 2) centrosomes, y x, in pixels, just outside each nucleus

    @property
    def count(self) -> int:
        """Return the number of cells."""
        return len(self.centres)

    def px(self, um: float) -> float:
        """Return a length in pixels."""
        return um / self.pixel_size_um


@dataclass(frozen=True)
class Outline:
    """A star-shaped outline: its radius in every direction, from an ellipse, waves and spikes."""

    centre: npt.NDArray[np.float64]  # y x, in pixels
    radius_px: float
    aspect: float
    angle: float
    waves: npt.NDArray[np.float64]  # (k, 3): order, amplitude, phase
    spikes: npt.NDArray[np.float64]  # (k, 3): direction, width in radians, length against the radius

    def radius(self, theta: Points | float) -> Points:
        """Return the radius in pixels in the directions theta (radians)."""
        turned = theta - self.angle
        ellipse = 1 / np.sqrt(np.cos(turned) ** 2 / self.aspect + np.sin(turned) ** 2 * self.aspect)
        wave = sum(a * np.cos(k * theta + phase) for k, a, phase in self.waves)
        spike = sum(s * np.exp(-(((theta - d + np.pi) % (2 * np.pi) - np.pi) ** 2) / w**2) for d, w, s in self.spikes)
        return np.asarray(self.radius_px * (ellipse * (1 + wave) + spike), dtype=np.float64)


def grow(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> Anatomy:
    """Return the anatomy of a field with 8-14 cells, some of them touching, some cut by the field's edge."""
    from scipy import ndimage

    outlines = _nuclei(rng, shape, pixel_size_um)
    nuclei, _ = _claim(outlines, shape, NUCLEUS_REACH_UM / pixel_size_um)
    cells, inward = _claim([_cell(rng, o) for o in outlines], shape, CELL_REACH_UM / pixel_size_um)
    cells = np.where(nuclei > 0, nuclei, cells)
    away = ndimage.distance_transform_edt(nuclei == 0).astype(np.float32) * np.float32(pixel_size_um)
    thickness = np.sqrt(np.clip(1.15 - inward**2, 0.1, 1.0)) * (cells > 0)
    return Anatomy(
        pixel_size_um=pixel_size_um,
        nuclei=nuclei,
        cells=cells,
        nucleoli=_nucleoli(rng, outlines, nuclei, pixel_size_um),
        from_nucleus_um=away,
        thickness=np.where(nuclei > 0, 1.0, thickness).astype(np.float32),
        centres=np.array([o.centre for o in outlines]),
        poles=np.array([_pole(rng, o, pixel_size_um) for o in outlines]),
    )


def _nuclei(rng: np.random.Generator, shape: tuple[int, int], pixel_size_um: float) -> list[Outline]:
    wanted = int(rng.integers(CELLS[0], CELLS[1] + 1))
    outlines: list[Outline] = []
    while len(outlines) < wanted:
        outline = _nucleus(rng, _place(rng, outlines, shape), pixel_size_um)
        # 0.85 of the radii's sum: neighbours touch, and elongated ones may overlap a little
        if all(_gap(outline, other) > 0.85 for other in outlines):
            outlines.append(outline)
    return outlines


def _place(rng: np.random.Generator, outlines: list[Outline], shape: tuple[int, int]) -> Points:
    """Return a centre: anywhere in the field, or in a third of the draws right beside an earlier nucleus."""
    size = np.array(shape)
    if outlines and rng.random() < 0.33:
        near = outlines[rng.integers(len(outlines))]
        direction = rng.uniform(0, 2 * np.pi)
        step = near.radius_px * rng.uniform(1.9, 2.4)
        # a nucleus whose centre is outside would be a sliver that nobody could count
        beside = near.centre + step * np.array([np.sin(direction), np.cos(direction)])
        return np.asarray(np.clip(beside, 0.03 * size, 0.97 * size), dtype=np.float64)
    return np.asarray(rng.uniform(0.04, 0.96, 2) * size, dtype=np.float64)


def _gap(a: Outline, b: Outline) -> float:
    return float(np.hypot(*(a.centre - b.centre)) / (a.radius_px + b.radius_px))


def _waves(rng: np.random.Generator, orders: range, amplitude: float) -> Points:
    k = np.array(orders, dtype=float)
    return np.stack([k, rng.normal(0, amplitude, k.size) / (k / 2), rng.uniform(0, 2 * np.pi, k.size)], axis=1)


def _nucleus(rng: np.random.Generator, centre: Points, pixel_size_um: float) -> Outline:
    return Outline(
        centre=centre,
        radius_px=NUCLEUS_RADIUS_UM / pixel_size_um * float(rng.lognormal(0, 0.1)),
        aspect=float(rng.uniform(1.0, 1.5)),
        angle=float(rng.uniform(0, np.pi)),
        waves=_waves(rng, range(2, 6), 0.05),
        spikes=np.zeros((0, 3)),
    )


def _cell(rng: np.random.Generator, nucleus: Outline) -> Outline:
    count = int(rng.integers(0, 5))
    spikes = [rng.uniform(0, 2 * np.pi, count), rng.uniform(0.12, 0.35, count), rng.uniform(0.2, 0.75, count)]
    shift = rng.normal(0, 0.22 * nucleus.radius_px, 2)
    return Outline(
        centre=nucleus.centre + shift,
        radius_px=nucleus.radius_px * float(rng.uniform(1.65, 2.15)),
        aspect=float(np.sqrt(nucleus.aspect) * rng.uniform(1.0, 1.4)),
        angle=nucleus.angle + float(rng.normal(0, 0.4)),
        waves=_waves(rng, range(2, 8), 0.09),
        spikes=np.stack(spikes, axis=1),
    )


def _claim(outlines: list[Outline], shape: tuple[int, ...], reach_px: float) -> tuple[Labels, Plane]:
    """Return who owns each pixel, (y, x), and how far out it lies there (1 at the free outline).

    A pixel that lies in several outlines goes to the one in which it lies deepest: Voronoi's rule for shapes.
    """
    labels, best = np.zeros(shape, np.int32), np.ones(shape, np.float32)
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False, dtype=np.float64)
    for label, outline in enumerate(outlines, start=1):
        low = np.clip(np.floor(outline.centre - reach_px), 0, shape).astype(int)
        high = np.clip(np.ceil(outline.centre + reach_px), 0, shape).astype(int)
        window = (slice(low[0], high[0]), slice(low[1], high[1]))
        y = np.arange(low[0], high[0], dtype=np.float32)[:, None] - np.float32(outline.centre[0])
        x = np.arange(low[1], high[1], dtype=np.float32)[None, :] - np.float32(outline.centre[1])
        direction = (np.arctan2(y, x) * np.float32(DIRECTIONS / (2 * np.pi))).astype(np.intp)  # negative ones wrap
        depth = np.sqrt(y * y + x * x) / outline.radius(angles).astype(np.float32)[direction]
        inside = depth < best[window]
        labels[window][inside] = label
        best[window][inside] = depth[inside]
    return labels, best


def _nucleoli(rng: np.random.Generator, outlines: list[Outline], nuclei: Labels, pixel_size_um: float) -> Plane:
    """Return one to four roundish nucleoli in every nucleus, (y, x) in [0, 1]."""
    blobs = []
    for outline in outlines:
        for _ in range(int(rng.integers(1, 5))):
            theta, out = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.62)
            centre = outline.centre + out * outline.radius(theta) * np.array([np.sin(theta), np.cos(theta)])
            radius_px = rng.uniform(0.7, 1.6) / pixel_size_um
            angle, waves = rng.uniform(0, np.pi), _waves(rng, range(2, 5), 0.1)
            blobs.append(Outline(centre, radius_px, rng.uniform(1, 1.5), angle, waves, np.zeros((0, 3))))
    owners, _ = _claim(blobs, nuclei.shape, NUCLEOLUS_REACH_UM / pixel_size_um)
    return ((owners > 0) & (nuclei > 0)).astype(np.float32)


def _pole(rng: np.random.Generator, nucleus: Outline, pixel_size_um: float) -> Points:
    """Return the centrosome's place, 0.5-2 µm outside the nucleus."""
    theta = rng.uniform(0, 2 * np.pi)
    out = nucleus.radius(theta) + rng.uniform(0.5, 2.0) / pixel_size_um
    return np.asarray(nucleus.centre + out * np.array([np.sin(theta), np.cos(theta)]), dtype=np.float64)
