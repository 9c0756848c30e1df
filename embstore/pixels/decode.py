"""Image files to planes, with every claim of a file checked before any memory is spent on it."""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from embstore.errors import ImageError
from embstore.pixels.ome_zarr import is_zarr, read_array
from embstore.pixels.stack import project
from embstore.pixels.unpack import GZIP_SIGNATURE, unpacked

# The largest field met in practice is 3072 × 3072 × 4 channels of uint16 (75 MB); the rest is room for stitched ones.
MAX_BYTES = 1 << 30
# Real fields compress 2-4 times and label masks up to about 150 times; deflate can reach 1032 times.
# An empty field is legitimate, so the ratio counts only where being wrong would cost memory.
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 << 20
MAX_CHANNELS = 64  # the most highly multiplexed panels
MAX_STACK_PAGES = 2048  # channels × depth of a z-stack; its bytes are limited like any other image's
MAX_UNNAMED_PLANES = 8  # planes of unnamed meaning: more of them is a z-stack rather than channels
DTYPES = ("uint8", "uint16", "float32")
LABEL_DTYPES = (*DTYPES, "bool", "int16", "int32", "uint32", "int64", "uint64")  # what segmentation tools save
# Codecs whose output size is bound by the caller; a JPEG inside a TIFF allocates what its own header claims.
TIFF_CODECS = frozenset({"NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "ZSTD", "LZMA"})
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
PILLOW_MODES = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1, "I;16B": 1, "I;16L": 1, "I": 1, "F": 1}
MICROMETRE = frozenset({"um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"})

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

# What tifffile logs about a damaged file is raised here as an ImageError; without a handler it would reach stderr too.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_pillow_warnings = threading.Lock()  # `warnings.catch_warnings` changes the whole process


@dataclass(frozen=True)
class Planes:
    """The channels of one image: `pixels` (c, y, x) in the file's own dtype, µm per pixel where the file is sure.

    `depth` is how many planes of a z-stack each channel is the maximum of.
    """

    pixels: np.ndarray
    pixel_size_um: float | None
    depth: int = 1


def read_planes(path: Path, channels: int | None = None, *, labels: bool = False) -> Planes:
    """Read every channel of one image file: TIFF, PNG, JPEG, WebP or BMP, told by content and not by suffix.

    Returns pixels (c, y, x) of uint8, uint16 or float32. An RGB file gives three planes, RGBA four. The pixel size
    comes from OME or ImageJ metadata in micrometres, and is None otherwise: dots per inch are rarely true. A file that
    is packed with gzip is unpacked first. With `channels`, how many are expected, a z-stack is read as its maximum
    projection. With `labels` the bits and long integers of label images are read too. Raises ImageError for files that
    are missing, damaged, no image, too large, or other stacks over depth or time.
    """
    try:
        if path.is_dir() and is_zarr(path):
            planes = _read_zarr(path, channels)
        elif _head(path).startswith(GZIP_SIGNATURE):
            limits = {"max_bytes": MAX_BYTES, "max_ratio": MAX_RATIO, "free_bytes": RATIO_FREE_BYTES}
            with unpacked(path, **limits) as plain:
                planes = _read(plain, channels)
        else:
            planes = _read(path, channels)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist, wanted an image; check the path or restore the file") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, wanted an image file; name a file in it") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read by this user, wanted an image; change its permissions") from None
    except DAMAGE as error:
        raise ImageError(
            f"{path.name} is damaged ({_one_line(error)}), wanted a complete image; copy or export the file again"
        ) from error
    if not labels:
        _check_dtype(path, planes.pixels.dtype, DTYPES)
    return planes


def ome_xml(path: Path) -> str:
    """Return the OME metadata of a TIFF as it stands there, empty where it has none; ImageError for other files."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.ome_metadata or ""
    except DAMAGE as error:
        raise ImageError(f"{path.name} is no complete TIFF ({_one_line(error)}), wanted OME-TIFF") from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _read(path: Path, channels: int | None) -> Planes:
    if not (head := _head(path)):
        raise ImageError(f"{path.name} is empty (0 bytes), wanted an image; copy the file again")
    return _read_tiff(path, channels) if head in TIFF_SIGNATURES else _read_pillow(path)


def _read_zarr(path: Path, channels: int | None) -> Planes:
    pixels, axes, pixel_size_um = read_array(path, MAX_BYTES)
    _check_dtype(path, pixels.dtype)
    depth = 1
    if channels is not None:
        pixels, axes, depth = project(pixels, axes, channels)
    return Planes(_channels_first(path, pixels, axes), pixel_size_um, depth)


def _read_tiff(path: Path, channels: int | None) -> Planes:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = _checked_series(path, tiff, MAX_CHANNELS if channels is None else MAX_STACK_PAGES)
        pixels, axes, depth = series.asarray(maxworkers=1), series.axes, 1
        if channels is not None:
            pixels, axes, depth = project(pixels, axes, channels)
        return Planes(_channels_first(path, pixels, axes), _tiff_pixel_size_um(tiff), depth)


def _checked_series(path: Path, tiff: Any, most_pages: int) -> Any:
    """Return the one series of a TIFF after checking its page count, claimed size, codec and stored parts."""
    n_pages = len(tiff.pages)
    if n_pages == 0 or _next_page_offset(tiff, tiff.pages[n_pages - 1].offset) != 0:
        # tifffile stops where the chain of pages breaks, and a two-channel file would pass for one channel
        raise ImageError(f"{path.name} is cut off after {n_pages} pages, wanted all of them; copy the file again")
    if n_pages > most_pages:
        raise ImageError(
            f"{path.name} holds {n_pages} pages, wanted 1 to {most_pages} channels; export a projection or one plane"
        )
    pages = [tiff.pages[i] for i in range(n_pages)]
    for page in pages:
        _check_page(path, page)
    if len(tiff.series) != 1:
        shapes = " and ".join(str(series.shape) for series in tiff.series[:3])
        raise ImageError(
            f"{path.name} holds {len(tiff.series)} images ({shapes}), wanted one; export each to its own file"
        )
    series = tiff.series[0]
    claimed = math.prod(series.shape) * series.dtype.itemsize
    _check_size(path, claimed)
    _check_dtype(path, series.dtype)
    if claimed > sum(page.nbytes for page in pages):
        raise ImageError(
            f"{path.name} names shape {series.shape} but its pages hold less, wanted every plane; export the file again"
        )
    return series


def _next_page_offset(tiff: Any, offset: int) -> int:
    """Return where the page after the one at `offset` begins in the file, 0 after the last."""
    form, file = tiff.tiff, tiff.filehandle
    file.seek(offset)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(offset + form.tagnosize + n_tags * form.tagsize)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    return int(following)


def _check_page(path: Path, page: Any) -> None:
    """Refuse a page that claims too much, uses another codec, or whose parts lie outside the file."""
    _check_size(path, page.nbytes)
    _check_size(path, math.prod(page.chunks) * page.dtype.itemsize)  # a tile may be larger than its image
    if page.compression.name not in TIFF_CODECS:
        raise ImageError(
            f"{path.name} is compressed with {page.compression.name}, wanted none, deflate, LZW, PackBits or zstd; "
            "export it losslessly"
        )
    size = path.stat().st_size
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(parts) < math.prod(page.chunked) or any(n <= 0 or start + n > size for start, n in parts):
        # the decoder would fill what is missing with zeros without a word
        raise ImageError(f"{path.name} is cut off at {size} bytes, wanted all of its pixels; copy the file again")


def _check_size(path: Path, claimed: int) -> None:
    """Refuse a file that would decode to more memory than a field of view needs."""
    if claimed <= 0:
        raise ImageError(f"{path.name} has no pixels, wanted at least one; export the file again")
    if claimed > MAX_BYTES:
        raise ImageError(
            f"{path.name} claims {claimed / 1e9:,.1f} GB of pixels, wanted at most {MAX_BYTES / 1e9:.1f} GB; "
            "cut it into fields of view"
        )
    ratio = claimed / max(path.stat().st_size, 1)
    if claimed > RATIO_FREE_BYTES and ratio > MAX_RATIO:
        raise ImageError(
            f"{path.name} would grow {ratio:,.0f} times to {claimed / 1e6:,.0f} MB, wanted at most {MAX_RATIO} times; "
            "if it is a real image, save it uncompressed"
        )


def _check_dtype(path: Path, dtype: np.dtype[Any], wanted: Sequence[str] = LABEL_DTYPES) -> None:
    if dtype.name not in wanted:
        raise ImageError(f"{path.name} holds {dtype.name} pixels, wanted {', '.join(DTYPES)}; convert the file")


def _channels_first(path: Path, pixels: np.ndarray, axes: str) -> np.ndarray:
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


def _tiff_pixel_size_um(tiff: Any) -> float | None:
    """Return µm per pixel from OME or ImageJ metadata, None where they are silent or x and y differ."""
    if tiff.is_ome:
        return _ome_pixel_size_um(tiff.ome_metadata or "")
    if tiff.is_imagej and str((tiff.imagej_metadata or {}).get("unit", "")).strip().lower() in MICROMETRE:
        tags = tiff.pages[0].tags
        sizes = [_per_pixel(tags[name].value) for name in ("XResolution", "YResolution") if name in tags]
        return _agreed(sizes)
    return None


def _ome_pixel_size_um(xml: str) -> float | None:
    """Return PhysicalSizeX of the first OME Pixels element; its unit is µm unless it says otherwise (OME 2016-06)."""
    element = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml)
    if element is None:
        return None
    attributes = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', element.group()))
    units = [attributes.get(f"PhysicalSize{axis}Unit", "µm").strip().lower() for axis in "XY"]
    if not set(units) <= MICROMETRE | {"&#181;m", "&#xb5;m"}:
        return None
    return _agreed([_number(attributes.get(f"PhysicalSize{axis}", "")) for axis in "XY"])


def _agreed(sizes: list[float | None]) -> float | None:
    """Return the pixel size when x and y both give it, within 1 %, and it is one a microscope can have."""
    known = [size for size in sizes if size is not None and 0.001 < size < 100]
    if len(known) != 2 or abs(known[0] - known[1]) > 0.01 * known[0]:
        return None
    return known[0]


def _per_pixel(resolution: tuple[int, int]) -> float | None:
    pixels, units = resolution
    return units / pixels if pixels and units else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _read_pillow(path: Path) -> Planes:
    try:
        # Pillow only warns between one and two times its pixel limit
        with _pillow_warnings, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=PILLOW_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path.name} claims too many pixels ({_one_line(error)}), wanted a field of view; cut it into fields"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path.name} is not an image this program knows, wanted TIFF, PNG, JPEG, WebP or BMP; convert the file"
        ) from None
    with image:
        return Planes(_pillow_pixels(path, image), None)


def _pillow_pixels(path: Path, image: Image.Image) -> np.ndarray:
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(f"{path.name} holds {frames} frames, wanted one; export each to its own file")
    if image.mode not in PILLOW_MODES:
        raise ImageError(
            f"{path.name} has pixels of Pillow mode {image.mode}, wanted grey or RGB (8 or 16 bit); convert the file"
        )
    bytes_per_sample = 4 if image.mode in ("I", "F") else 2 if image.mode.startswith("I;") else 1
    _check_size(path, image.width * image.height * PILLOW_MODES[image.mode] * bytes_per_sample)
    pixels = np.asarray(image)
    if pixels.dtype == np.int32 and image.format == "PNG":
        pixels = pixels.astype(np.uint16)  # older Pillow widens 16-bit grey PNG
    _check_dtype(path, pixels.dtype)
    planes = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(planes, dtype=planes.dtype.newbyteorder("="))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
