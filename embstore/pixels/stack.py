"""Turn an array with named axes into (channel, y, x); a z-stack becomes its maximum projection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.limits import MAX_CHANNELS, MAX_UNNAMED_PLANES


@dataclass(frozen=True)
class Arrangement:
    """How an array becomes (channel, y, x): its sizes and axes without those of length one, and which axis is depth."""

    sizes: tuple[int, ...]
    axes: str
    depth_axis: int | None
    taken: str  # the file's own name of the axis of the channels, if any

    @property
    def depth(self) -> int:
        """Return of how many planes of a z-stack each channel is the maximum."""
        return 1 if self.depth_axis is None else self.sizes[self.depth_axis]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the resulting shape (c, y, x)."""
        sizes = {axis: n for i, (axis, n) in enumerate(zip(self.axes, self.sizes, strict=True)) if i != self.depth_axis}
        channels = [n for axis, n in sizes.items() if axis not in "YX"]
        return (channels[0] if channels else 1), sizes["Y"], sizes["X"]


def arrangement(path: Path, shape: tuple[int, ...], axes: str, channels: int | None) -> Arrangement:
    """Return how an array of this shape is read; `axes` names its dimensions as tifffile does.

    If `channels`, the number expected, is given, depth is projected (the maximum over z), but never the only axis that
    could be the channels: if several channels are expected and z is the only axis, as many planes as channels are read
    as the channels, and any other number is refused. If (y, x) follow two unnamed axes, the one of length `channels` is
    the channels and the other is depth, in either order. Raises ImageError for anything else that is not (channel, y,
    x): a time series, or a stack whose channels and depth cannot be distinguished.
    """
    keep = [i for i, (axis, n) in enumerate(zip(axes, shape, strict=True)) if axis in "YX" or n > 1]
    sizes, own = tuple(shape[i] for i in keep), "".join(axes[i] for i in keep)
    axes, depth = own, None
    if channels is not None and "T" not in axes:
        axes = _without_channels(path, sizes, axes, channels) if "Z" in axes else _named(sizes, axes, channels)
        depth = axes.index("Z") if "Z" in axes else None
    flat = [i for i in range(len(axes)) if i != depth]
    _check_axes(path, tuple(sizes[i] for i in flat), "".join(axes[i] for i in flat))
    taken = "".join(own[i] for i in flat if axes[i] not in "YX")
    return Arrangement(sizes, axes, depth, taken)


def _without_channels(path: Path, sizes: tuple[int, ...], axes: str, channels: int) -> str:
    """Return axes with a z-stack's planes as channels if several are expected and no other axis can be the channels."""
    if channels == 1 or set(axes) - {*"YXZ"}:
        return axes
    planes = sizes[axes.index("Z")]
    if planes != channels:
        raise ImageError(
            f"{path.name} has {planes} planes along z and no channel axis, wanted {channels} channels; "
            "save the channels as an axis of their own (C), or name the one channel that it shows"
        )
    return axes.replace("Z", "C")


def arranged(pixels: np.ndarray, how: Arrangement) -> np.ndarray:
    """Return an array as (c, y, x) in native byte order, a z-stack as its maximum projection."""
    pixels, axes = pixels.reshape(how.sizes), how.axes
    if how.depth_axis is not None:
        pixels, axes = pixels.max(axis=how.depth_axis), axes[: how.depth_axis] + axes[how.depth_axis + 1 :]
    if axes == "YX":
        pixels = pixels[np.newaxis]
    elif axes.startswith("YX"):
        pixels = np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _named(sizes: tuple[int, ...], axes: str, channels: int) -> str:
    """Return four axes with the one of length `channels` named C and the other unnamed one Z."""
    if len(axes) != 4 or not axes.endswith("YX"):
        return axes
    of_channels = [i for i in (0, 1) if (axes[i] == "C" or "C" not in axes[:2]) and sizes[i] == channels]
    if len(of_channels) != 1:
        return axes
    return "CZYX" if of_channels[0] == 0 else "ZCYX"


def _check_axes(path: Path, sizes: tuple[int, ...], axes: str) -> None:
    if "Z" in axes or "T" in axes:
        what = "a z-stack" if "Z" in axes else "a time series"
        raise ImageError(f"{path.name} is {what} {sizes} with axes {axes}, wanted (channel, y, x); export a projection")
    if axes not in ("YX", "YXS", "YXC", "CYX", "SYX", "IYX", "QYX"):
        raise ImageError(f"{path.name} has axes {axes}, wanted YX, CYX or YXS; export it as (channel, y, x)")
    planes = 1 if axes == "YX" else sizes[-1] if axes.startswith("YX") else sizes[0]
    most = MAX_UNNAMED_PLANES if axes[0] in "IQ" else MAX_CHANNELS
    if planes > most:
        raise ImageError(
            f"{path.name} has {planes} planes with axes {axes}, wanted at most {most} channels; "
            "export a projection, or name the channel axis C"
        )
