"""What an image file claims, what reading it gives, and what decoders raise where it is damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from embstore.pixels.size import UNKNOWN, PixelSize

# What decoders raise on damaged files, found by flipping bytes; imagecodecs' errors are RuntimeErrors.
DECODING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    SyntaxError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True)
class Claim:
    """What the header of an open image file says, checked against what it may: `read` decodes its pixels.

    `axes` name the dimensions of `shape` as tifffile does, `size` is what a pixel measures. `white_is_zero` bits are
    those of a TIFF that says so (photometric interpretation 0).
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    size: PixelSize
    read: Callable[[], np.ndarray]
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many it has
    white_is_zero: bool = False


@dataclass(frozen=True)
class Planes:
    """The channels of one image: `pixels` (c, y, x), and what a pixel measures.

    `depth` is how many planes of a z-stack each channel is the maximum of.
    """

    pixels: np.ndarray
    size: PixelSize = UNKNOWN
    depth: int = 1
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many it has
    white_is_zero: bool = False  # the file says so of its bits, which are True where it is white

    @property
    def pixel_size_um(self) -> float | None:
        """Return µm per pixel where the file is sure of it."""
        return self.size.um


def one_line(error: BaseException) -> str:
    """Return what an error says on one line of at most 120 characters, or its kind."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
