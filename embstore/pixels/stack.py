"""Named axes to (channel, y, x): a z-stack as its maximum projection, told from channels by names or their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.limits import MAX_CHANNELS, MAX_UNNAMED_PLANES


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


def channels_first(path: Path, pixels: np.ndarray, axes: str) -> np.ndarray:
    """Return (c, y, x), native byte order, from an array whose axes tifffile has named."""
    keep = [i for i, (axis, n) in enumerate(zip(axes, pixels.shape, strict=True)) if axis in "YX" or n > 1]
    axes = "".join(axes[i] for i in keep)
    pixels = pixels.reshape([pixels.shape[i] for i in keep])
    if "Z" in axes or "T" in axes:
        what = "a z-stack" if "Z" in axes else "a time series"
        raise ImageError(
            f"{path.name} is {what} {pixels.shape} with axes {axes}, wanted (channel, y, x); export a projection"
        )
    if axes == "YX":
        pixels = pixels[np.newaxis]
    elif axes in ("YXS", "YXC"):
        pixels = np.moveaxis(pixels, -1, 0)
    elif axes not in ("CYX", "SYX", "IYX", "QYX"):
        raise ImageError(f"{path.name} has axes {axes}, wanted YX, CYX or YXS; export it as (channel, y, x)")
    most = MAX_UNNAMED_PLANES if axes[0] in "IQ" else MAX_CHANNELS
    if len(pixels) > most:
        raise ImageError(
            f"{path.name} holds {len(pixels)} planes with axes {axes}, wanted at most {most} channels; "
            "export a projection, or name the channel axis C"
        )
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
