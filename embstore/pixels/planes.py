"""What an image file's header claims, what reading it returns, and what decoders raise if it is damaged."""

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

# what decoders raise on damaged files, found by flipping bytes; imagecodecs' errors are RuntimeErrors
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
    SystemError,  # of C code that takes a damaged size for a length
    EOFError,
    struct.error,
    tokenize.TokenError,
)


OWN_MISTAKES = (TypeError, AttributeError)  # of these, the ones that our own code raises are bugs, not damage


WARNINGS = threading.Lock()  # `warnings.catch_warnings` changes the whole process


@dataclass(frozen=True)
class Claim:
    """What the header of an open image file states, checked against the limits; `read` decodes its pixels.

    `axes` names the dimensions of `shape` as tifffile does, `size` is the pixel size. `colour` is LA, RGB or RGBA if
    the file states that axis S contains colours; no other axis does. `white_is_zero` is true for bits of a TIFF that
    states so (photometric interpretation 0); `read` returns them inverted.
    """

    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    size: PixelSize
    read: Callable[[], np.ndarray]
    colour: str = ""
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many exist
    white_is_zero: bool = False


@dataclass(frozen=True)
class Header:
    """How the channels of one image are arranged in its file; `shape` (c, y, x) is what reading returns.

    `axis` is the file's axis that contains the channels (C, S, I, Q or Z; empty if there is one plane), `colour` is LA,
    RGB or RGBA if they are colours, and `depth` is the number of planes of which each channel is the maximum.
    """

    shape: tuple[int, int, int]
    axis: str = ""
    colour: str = ""
    depth: int = 1


@dataclass(frozen=True)
class Planes:
    """The channels of one image: `pixels` (c, y, x), the pixel size, and how they are arranged in the file.

    `assignment` states which plane became which role, and why, if roles are known.
    """

    pixels: np.ndarray
    size: PixelSize = UNKNOWN
    depth: int = 1
    axis: str = ""
    colour: str = ""
    assignment: str = ""
    absent: tuple[int, int] = (0, 0)  # of the chunks of a Zarr: how many are not stored, and how many exist
    white_is_zero: bool = False  # the file states that its bits, which are True where it is white, are inverted

    @property
    def header(self) -> Header:
        """Return how the channels are arranged in the file."""
        channels, height, width = self.pixels.shape
        return Header((channels, height, width), self.axis, self.colour, self.depth)

    @property
    def pixel_size_um(self) -> float | None:
        """Return µm per pixel if the file states it reliably."""
        return self.size.um


def one_line(error: BaseException) -> str:
    """Return an error's message on one line of at most 120 characters, or its type if it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what a library raises on a file into an ImageError; a bug of our own code is raised unchanged."""
    try:
        yield
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist, wanted an image; check the path or restore the file") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, wanted an image file; name a file inside") from None
    except PermissionError:
        raise ImageError(f"{path} cannot be read by this user, wanted an image; change its permissions") from None
    except DECODING_ERRORS as error:
        if isinstance(error, OWN_MISTAKES) and _is_ours(error):
            raise
        raise ImageError(
            f"{path.name} is damaged ({one_line(error)}), wanted a complete image; copy or export the file again"
        ) from error


def _is_ours(error: BaseException) -> bool:
    """True if an error was raised in a line of this package, not in a library that it called."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("embstore")
