"""What an image file claims, what reading it gives, and what decoders raise where it is damaged."""

from __future__ import annotations

import struct
import threading
import tokenize
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import ImageError
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
    EOFError,
    struct.error,
    tokenize.TokenError,
)


OWN_MISTAKES = (TypeError, AttributeError)  # of these, what our own code raised is a bug and no damage


WARNINGS = threading.Lock()  # `warnings.catch_warnings` changes the whole process


@dataclass(frozen=True)
class Claim:
    """What the header of an open image file says, checked against what it may: `read` decodes its pixels.

    `axes` name the dimensions of `shape` as tifffile does, `size` is what a pixel measures. `colour` is LA, RGB or
    RGBA where the file says that the axis S holds colours; no other axis ever does. `white_is_zero` bits are those of a
    TIFF that says so (photometric interpretation 0); `read` returns them inverted.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    size: PixelSize
    read: Callable[[], np.ndarray]
    colour: str = ""
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many it has
    white_is_zero: bool = False


@dataclass(frozen=True)
class Header:
    """How the channels of one image lie in its file: the `shape` (c, y, x) that reading gives, and where from.

    `axis` is the file's axis that the channels are taken from (C, S, I, Q or Z; none where there is one plane),
    `colour` is LA, RGB or RGBA where they are colours, `depth` how many planes of a z-stack each channel is the maximum
    of.
    """

    shape: tuple[int, int, int]
    axis: str = ""
    colour: str = ""
    depth: int = 1


@dataclass(frozen=True)
class Planes:
    """The channels of one image: `pixels` (c, y, x), what a pixel measures, and how they lie in the file.

    `assignment` says which plane became which role, and why, where roles are known.
    """

    pixels: np.ndarray
    size: PixelSize = UNKNOWN
    depth: int = 1
    axis: str = ""
    colour: str = ""
    assignment: str = ""
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many it has
    white_is_zero: bool = False  # the file says so of its bits, which are True where it is white

    @property
    def header(self) -> Header:
        """Return how the channels lie in the file."""
        channels, height, width = self.pixels.shape
        return Header((channels, height, width), self.axis, self.colour, self.depth)

    @property
    def pixel_size_um(self) -> float | None:
        """Return µm per pixel where the file is sure of it."""
        return self.size.um


def one_line(error: BaseException) -> str:
    """Return what an error says on one line of at most 120 characters, or its kind."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what a library raises on a file into an ImageError; a mistake of our own code stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist, wanted an image; check the path or restore the file") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, wanted an image file; name a file in it") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read by this user, wanted an image; change its permissions") from None
    except DECODING_ERRORS as error:
        if isinstance(error, OWN_MISTAKES) and _is_ours(error):
            raise
        raise ImageError(
            f"{path.name} is damaged ({one_line(error)}), wanted a complete image; copy or export the file again"
        ) from error


def _is_ours(error: BaseException) -> bool:
    """True if an error was raised in a line of this package, and not in a library that it called."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("embstore")
