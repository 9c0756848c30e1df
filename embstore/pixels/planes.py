"""What an image file claims, what reading it gives, and what decoders raise where it is damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# What decoders raise on damaged files, found by flipping bytes; imagecodecs' errors are RuntimeErrors.
DAMAGE = (
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

    `axes` name the dimensions of `shape` as tifffile does; µm per pixel where the file is sure.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    pixel_size_um: float | None
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Planes:
    """The channels of one image: `pixels` (c, y, x), µm per pixel where the file is sure.

    `depth` is how many planes of a z-stack each channel is the maximum of.
    """

    pixels: np.ndarray
    pixel_size_um: float | None
    depth: int = 1


def one_line(error: BaseException) -> str:
    """Return what an error says on one line of at most 120 characters, or its kind."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
