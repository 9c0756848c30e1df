"""A z-stack as its maximum projection, told from channels by the names of its axes or by their number."""

from __future__ import annotations

import numpy as np


def project(pixels: np.ndarray, axes: str, channels: int) -> tuple[np.ndarray, str, int]:
    """Return an array without its depth (the maximum over z), the axes that are left, and how many planes there were.

    `axes` name the dimensions as tifffile does. Where two unnamed ones stand before (y, x), the one of length
    `channels` holds the channels and the other is depth, in either order. Anything else comes back as it was, with
    depth 1: time, and stacks whose channels cannot be told from their depth.
    """
    keep = [i for i, (axis, n) in enumerate(zip(axes, pixels.shape, strict=True)) if axis in "YX" or n > 1]
    pixels, axes = pixels.reshape([pixels.shape[i] for i in keep]), "".join(axes[i] for i in keep)
    if "T" not in axes and "Z" not in axes:
        axes = _named(pixels.shape, axes, channels)
    if "T" in axes or "Z" not in axes:
        return pixels, axes, 1
    depth = axes.index("Z")
    return pixels.max(axis=depth), axes.replace("Z", ""), pixels.shape[depth]


def _named(shape: tuple[int, ...], axes: str, channels: int) -> str:
    """Name the axes C and Z of a four-dimensional array of which one is as long as there are channels."""
    if len(axes) != 4 or not axes.endswith("YX"):
        return axes
    of_channels = [i for i in (0, 1) if (axes[i] == "C" or "C" not in axes[:2]) and shape[i] == channels]
    if len(of_channels) != 1:
        return axes
    return "CZYX" if of_channels[0] == 0 else "ZCYX"
