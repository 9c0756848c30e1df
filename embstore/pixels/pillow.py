"""PNG, JPEG, WebP and BMP files to arrays, by Pillow; every claim checked first."""

from __future__ import annotations

import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from embstore.errors import ImageError
from embstore.pixels.limits import check_size
from embstore.pixels.planes import Claim, one_line
from embstore.pixels.size import UNKNOWN
from embstore.pixels.vendors import CONVERT, vendor_suffix

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
# samples a pixel and the dtype that numpy gets, by mode
PILLOW_MODES = {
    "1": (1, "bool"),
    "L": (1, "u1"),
    "LA": (2, "u1"),
    "RGB": (3, "u1"),
    "RGBA": (4, "u1"),
    "I;16": (1, "<u2"),
    "I;16L": (1, "<u2"),
    "I;16B": (1, ">u2"),
    "I": (1, "i4"),  # older Pillow widens 16-bit grey PNG to this
    "F": (1, "f4"),
}

_pillow_warnings = threading.Lock()  # `warnings.catch_warnings` changes the whole process


@contextmanager
def open_pillow(path: Path) -> Iterator[Claim]:
    """Open a picture of one frame, whose pixel size is never sure."""
    try:
        # Pillow only warns between one and two times its pixel limit
        with _pillow_warnings, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=PILLOW_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path.name} claims too many pixels ({one_line(error)}), wanted a field of view; cut it into fields"
        ) from None
    except UnidentifiedImageError:
        if suffix := vendor_suffix(path.name):
            found = f"{path.name} is in a microscope's own format ({suffix}), wanted TIFF, PNG, JPEG, WebP or BMP"
            raise ImageError(found, todo=CONVERT.replace("them", "it")) from None
        raise ImageError(
            f"{path.name} is not an image this program knows, wanted TIFF, PNG, JPEG, WebP or BMP; convert the file"
        ) from None
    with image:
        if image.format == "PNG":
            _check_png(path)
        yield _claim(path, image)


def _check_png(path: Path) -> None:
    """Refuse a PNG that ends before its pixels do, by the lengths that its chunks claim; none of them is read."""
    size, start = path.stat().st_size, 8  # behind the signature
    with path.open("rb") as file:
        file.seek(start)
        kind = b""
        while kind != b"IEND" and len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start += 12 + length  # behind the chunk's length, kind, data and checksum
            if start > size and kind in (b"IHDR", b"IDAT"):
                raise ImageError(
                    f"{path.name} is cut off at {size} bytes, wanted all of its pixels; copy the file again"
                )
            file.seek(start)


def _claim(path: Path, image: Image.Image) -> Claim:
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(f"{path.name} holds {frames} frames, wanted one; export each to its own file")
    if image.mode not in PILLOW_MODES:
        raise ImageError(
            f"{path.name} has pixels of Pillow mode {image.mode}, wanted grey or RGB (8 or 16 bit); convert the file"
        )
    samples, dtype = PILLOW_MODES[image.mode][0], np.dtype(PILLOW_MODES[image.mode][1])
    check_size(path, image.width * image.height * samples * dtype.itemsize)
    shape = (image.height, image.width) if samples == 1 else (image.height, image.width, samples)
    return Claim(shape, "YXS"[: len(shape)], dtype, UNKNOWN, lambda: np.asarray(image))
