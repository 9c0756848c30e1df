"""What is drawn in a cell's window: random texture, spots and threads."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embstore.phantom.v1 import law

Plane = npt.NDArray[np.float32]  # (y, x)
Floats = npt.NDArray[np.float64]

GRAINS_UM = (0.22, 0.35, 0.55, 0.9, 1.6, 3.0)
SHEET_PX = 1024  # a sheet is seamless and repeats after this


class Grid(NamedTuple):
    """A cell's window: its size in pixels and the pixels' size."""

    height: int
    width: int
    um: float


@cache
def _sheets(um: float) -> dict[float, Plane]:
    """Return a sheet of texture for each grain, mean 0 and standard deviation 1, (y, x), seamless."""
    from scipy import ndimage

    rng = law.random(law.STREAM_TEXTURE, round(um * 1e6))
    sheets = {}
    for grain in GRAINS_UM:
        noise = rng.standard_normal((SHEET_PX, SHEET_PX), dtype=np.float32)
        smooth = ndimage.gaussian_filter(noise, grain / um, mode="wrap", truncate=3.0)
        sheets[grain] = np.asarray((smooth - smooth.mean()) / smooth.std(), np.float32)
    return sheets


def texture(rng: np.random.Generator, grid: Grid, grain_um: float) -> Plane:
    """Return random texture of about this grain, mean 0 and standard deviation 1, (y, x)."""
    nearest = min(GRAINS_UM, key=lambda grain: abs(np.log(grain / grain_um)))
    y, x = rng.integers(SHEET_PX, size=2)
    rows, columns = ((start + np.arange(n)) % SHEET_PX for start, n in zip((y, x), grid[:2], strict=True))
    cut: Plane = _sheets(grid.um)[nearest][np.ix_(rows, columns)]
    return cut[::-1] if rng.random() < 0.5 else cut


def blur(plane: Plane, sigma_px: float) -> Plane:
    """Return the plane under a Gaussian, (y, x)."""
    from scipy import ndimage

    smooth: Plane = ndimage.gaussian_filter(plane, sigma_px, mode="nearest", truncate=3.0)
    return smooth


def spots(grid: Grid, at: Floats, peak: Floats, sigma_um: Floats | float) -> Plane:
    """Return round spots at these places (n, 2) in pixels, each with its peak and its sigma, (y, x)."""
    if not len(at):
        return np.zeros((grid.height, grid.width), np.float32)
    sigma = np.broadcast_to(np.asarray(sigma_um, np.float64) / grid.um, len(at))[:, None]
    down = np.exp(-(((np.arange(grid.height) - at[:, :1]) / sigma) ** 2) / 2) * peak[:, None]
    across = np.exp(-(((np.arange(grid.width) - at[:, 1:]) / sigma) ** 2) / 2)
    drawn: Plane = down.T.astype(np.float32) @ across.astype(np.float32)
    return drawn


def threads(
    rng: np.random.Generator,
    grid: Grid,
    room: npt.NDArray[np.bool_],
    starts: Floats,
    heading: Floats,
    *,
    length_um: float,
    wiggle: float,
    sigma_um: float,
) -> Plane:
    """Return wandering threads from these starts (n, 2) in pixels, each ending where it leaves the room, (y, x).

    `heading` in radians (n,); `wiggle` is the standard deviation of the turn over one µm, in radians. About 1 along the
    middle of a thread that is alone.
    """
    steps = max(1, int(length_um / grid.um))
    angle = heading[:, None] + np.cumsum(rng.normal(0, wiggle * np.sqrt(grid.um), (len(starts), steps)), axis=1)
    y = (starts[:, :1] + np.cumsum(np.sin(angle), axis=1)).astype(np.intp)
    x = (starts[:, 1:] + np.cumsum(np.cos(angle), axis=1)).astype(np.intp)
    seen = (y >= 0) & (y < grid.height) & (x >= 0) & (x < grid.width)
    inside = np.logical_and.accumulate(seen & room[y % grid.height, x % grid.width], axis=1)
    flat = np.bincount((y * grid.width + x)[inside], minlength=grid.height * grid.width)
    sigma_px = sigma_um / grid.um
    line = blur(flat.reshape(grid.height, grid.width).astype(np.float32), sigma_px)
    return line * np.float32(sigma_px * np.sqrt(2 * np.pi))


def places(rng: np.random.Generator, weight: Plane, number: int) -> Floats:
    """Return random places (number, 2) in pixels, as likely as the weight says; none where it is 0 everywhere."""
    total = np.cumsum(weight.ravel(), dtype=np.float64)
    if not number or total[-1] <= 0:
        return np.zeros((0, 2))
    picked = np.searchsorted(total, rng.random(number) * total[-1], side="right")
    y, x = np.divmod(np.minimum(picked, total.size - 1), weight.shape[1])
    return np.stack([y, x], axis=1) + rng.uniform(-0.5, 0.5, (number, 2))
