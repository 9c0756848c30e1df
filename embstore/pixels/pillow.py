"""Read PNG, JPEG, WebP and BMP files with Pillow; everything that a header claims is checked first."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from embstore.errors import ImageError
from embstore.pixels.colours import COLOUR_OF_SAMPLES
from embstore.pixels.limits import check_size
from embstore.pixels.planes import WARNINGS, Claim, one_line
from embstore.pixels.size import UNKNOWN
from embstore.pixels.vendors import CONVERT, vendor_suffix

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# mode -> samples per pixel and dtype; tests/pixels/test_modes.py tests each of them
PILLOW_MODES = {
    "1": (1, "bool"),
    "L": (1, "u1"),
    "P": (1, "u1"),  # palette indices: kept in labels, else replaced by the palette's colours
    "LA": (2, "u1"),
    "RGB": (3, "u1"),
    "RGBA": (4, "u1"),
}
# colour type of a 16-bit PNG -> samples per pixel; Pillow would reduce colours to 8 bits
PNG_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}
PNG_STEPS = {2: 85, 4: 17}  # by which Pillow multiplies grey values of few bits


@contextmanager
def open_pillow(path: Path, *, labels: bool = False) -> Iterator[Claim]:
    """Open a picture of one frame, without a known pixel size; with `labels`, palette indices are kept.

    Raises ImageError for files that are no such picture, are truncated, or claim too much.
    """
    try:
        # Pillow only warns between one and two times its pixel limit
        with WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=PILLOW_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path.name} claims too many pixels ({one_line(error)}), wanted a field of view; cut it into fields"
        ) from None
    except UnidentifiedImageError:
        if suffix := vendor_suffix(path.name):
            problem = f"{path.name} is in a microscope's own format ({suffix}), wanted TIFF, PNG, JPEG, WebP or BMP"
            raise ImageError(problem, todo=CONVERT.replace("them", "it")) from None
        raise ImageError(
            f"{path.name} is not an image that embstore can read, wanted TIFF, PNG, JPEG, WebP, BMP or npy; "
            "convert the file"
        ) from None
    with image:
        bits, kind = _check_png(path) if image.format == "PNG" else (8, 0)
        _check_frames(path, image)
        if bits == 16:
            yield _deep_claim(path, image, PNG_SAMPLES[kind])
        else:
            step = PNG_STEPS.get(bits, 1) if image.mode == "L" else 1
            yield _claim(path, image, labels=labels, step=step)


def _check_png(path: Path) -> tuple[int, int]:
    """Return the bits per sample and the colour type of a PNG.

    Raises ImageError for a file that ends before its pixels do, from the lengths that its chunks claim, unread.
    """
    size, start = path.stat().st_size, 8  # after the signature
    with path.open("rb") as file:
        bits, colour_type = file.read(26)[24:]  # after width and height in the first chunk
        file.seek(start)
        kind = b""
        while kind != b"IEND" and len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start += 12 + length  # after the chunk's length, kind, data and checksum
            if start > size and kind in (b"IHDR", b"IDAT"):
                raise ImageError(f"{path.name} ends at {size} bytes, wanted all of its pixels; copy the file again")
            file.seek(start)
    return bits, colour_type


def _check_frames(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(f"{path.name} has {frames} frames, wanted one; export each to its own file")


def _claim(path: Path, image: Image.Image, *, labels: bool, step: int) -> Claim:
    """Return the claim of a picture of at most 8 bits per sample; Pillow multiplied its grey values by `step`."""
    # BMP of 5 bits per colour, which Pillow stretches to 8
    stretched = any(str(tile[3]).find("BGR;1") >= 0 for tile in getattr(image, "tile", ()))
    if image.mode not in PILLOW_MODES or stretched:
        problem = "5-bit colours" if stretched else f"pixels of Pillow mode {image.mode}"
        raise ImageError(f"{path.name} has {problem}, wanted grey or RGB (8 or 16 bit); convert the file")
    mode = image.mode
    if mode == "P" and not labels:
        mode = "RGBA" if "transparency" in image.info else "RGB"
    samples, dtype = PILLOW_MODES[mode][0], np.dtype(PILLOW_MODES[mode][1])
    _check_claim(path, image, samples, dtype)

    def read() -> np.ndarray:
        pixels = np.asarray(image if mode == image.mode else image.convert(mode))
        return pixels // np.uint8(step) if step > 1 else pixels

    return _named(image, samples, dtype, read)


def _deep_claim(path: Path, image: Image.Image, samples: int) -> Claim:
    """Return the claim of a 16-bit PNG, which imagecodecs decodes."""
    dtype = np.dtype(np.uint16)
    _check_claim(path, image, samples, dtype)

    def read() -> np.ndarray:
        from imagecodecs import png_decode

        pixels = png_decode(path.read_bytes()).reshape(image.height, image.width, -1)
        return np.squeeze(pixels[..., :samples], 2) if samples == 1 else pixels[..., :samples]  # drops tRNS's alpha

    return _named(image, samples, dtype, read)


def _check_claim(path: Path, image: Image.Image, samples: int, dtype: np.dtype[Any]) -> None:
    check_size(path, image.width * image.height * samples * dtype.itemsize)


def _named(image: Image.Image, samples: int, dtype: np.dtype[Any], read: Callable[[], np.ndarray]) -> Claim:
    shape = (image.height, image.width) if samples == 1 else (image.height, image.width, samples)
    return Claim(shape, "YXS"[: len(shape)], dtype, UNKNOWN, read, COLOUR_OF_SAMPLES.get(samples, ""))
