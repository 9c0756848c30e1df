"""What reading an image file gives, and what decoders raise where it is damaged."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from embstore.pixels.size import UNKNOWN, PixelSize

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
class Planes:
    """The channels of one image: `pixels` (c, y, x) in the file's own dtype, and what a pixel measures.

    `depth` is how many planes of a z-stack each channel is the maximum of.
    """

    pixels: np.ndarray
    size: PixelSize = UNKNOWN
    depth: int = 1

    @property
    def pixel_size_um(self) -> float | None:
        """Return µm per pixel where the file is sure of it."""
        return self.size.um


def one_line(error: BaseException) -> str:
    """Return what an error says on one line of at most 120 characters, or its kind."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
