"""PNG, JPEG, WebP and BMP files to arrays, by Pillow; every claim checked first."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from embstore.errors import ImageError
from embstore.pixels.limits import check_dtype, check_size
from embstore.pixels.planes import Planes, one_line

PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
PILLOW_MODES = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1}

_pillow_warnings = threading.Lock()  # `warnings.catch_warnings` changes the whole process


def read_pillow(path: Path) -> Planes:
    """Read a picture of one frame, whose pixel size is never sure."""
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
        raise ImageError(
            f"{path.name} is not an image this program knows, wanted TIFF, PNG, JPEG, WebP or BMP; convert the file"
        ) from None
    with image:
        return Planes(_pillow_pixels(path, image))


def _pillow_pixels(path: Path, image: Image.Image) -> np.ndarray:
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(f"{path.name} holds {frames} frames, wanted one; export each to its own file")
    if image.mode not in PILLOW_MODES:
        raise ImageError(
            f"{path.name} has pixels of Pillow mode {image.mode}, wanted grey or RGB (8 or 16 bit); convert the file"
        )
    bytes_per_sample = 4 if image.mode in ("I", "F") else 2 if image.mode.startswith("I;") else 1
    check_size(path, image.width * image.height * PILLOW_MODES[image.mode] * bytes_per_sample)
    pixels = np.asarray(image)
    if pixels.dtype == np.int32 and image.format == "PNG":
        pixels = pixels.astype(np.uint16)  # older Pillow widens 16-bit grey PNG
    check_dtype(path, pixels.dtype)
    planes = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(planes, dtype=planes.dtype.newbyteorder("="))
