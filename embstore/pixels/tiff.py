"""TIFF files to arrays and the names of their axes: every claim checked first, parts and pages all there."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.limits import MAX_CHANNELS, MAX_STACK_PAGES, check_dtype, check_size
from embstore.pixels.photometric import check_mode, check_palette, colour_of, enum_name, inverted, mode_of
from embstore.pixels.planes import DECODING_ERRORS, Claim, one_line
from embstore.pixels.size import UNKNOWN, PixelSize, imagej_size, ome_size, tag_size

# Codecs whose output size is bound by the caller; a JPEG inside a TIFF allocates what its own header claims.
TIFF_CODECS = frozenset({"NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "ZSTD", "LZMA"})
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# What tifffile logs about a damaged file is raised here as an ImageError; without a handler it would reach stderr too.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@contextmanager
def open_tiff(path: Path, channels: int | None, *, labels: bool = False) -> Iterator[Claim]:
    """Open a TIFF of one image; with `channels`, how many are expected, it may be a z-stack.

    With `labels`, zero is white in bits alone: label images with an inverting lookup table keep their labels.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = _checked_series(path, tiff, MAX_CHANNELS if channels is None else MAX_STACK_PAGES)
        colour = colour_of(tiff.pages[0])
        axes = series.axes if colour else series.axes.replace("S", "C")
        read = _reading(path, series, tiff.pages[0], labels=labels)
        yield Claim(series.shape, axes, series.dtype, _pixel_size(tiff), read, colour)


def _reading(path: Path, series: Any, page: Any, *, labels: bool) -> Callable[[], np.ndarray]:
    """Return the function that decodes a series to the values that its photometric interpretation gives."""
    photometric, _, bits = mode_of(page)
    if photometric == "PALETTE" and not labels:
        check_palette(path, page)
    invert = photometric == "MINISWHITE" and (bits == 1 or not labels)

    def read() -> np.ndarray:
        pixels: np.ndarray = series.asarray(maxworkers=1)
        return inverted(pixels, bits) if invert else pixels

    return read


def ome_xml(path: Path) -> str:
    """Return the OME metadata of a TIFF as it stands there, empty where it has none; ImageError for other files."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.ome_metadata or ""
    except DECODING_ERRORS as error:
        raise ImageError(f"{path.name} is no complete TIFF ({one_line(error)}), wanted OME-TIFF") from error


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
    if len(modes := {mode_of(page) for page in pages}) > 1:
        found = " and ".join(sorted(f"{photometric} of {bits} bits" for photometric, _, bits in modes))
        raise ImageError(f"{path.name} holds pages of {found}, wanted one kind; export each to its own file")
    if len(tiff.series) != 1:
        shapes = " and ".join(str(series.shape) for series in tiff.series[:3])
        raise ImageError(
            f"{path.name} holds {len(tiff.series)} images ({shapes}), wanted one; export each to its own file"
        )
    series = tiff.series[0]
    claimed = math.prod(series.shape) * series.dtype.itemsize
    check_size(path, claimed)
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
    import tifffile

    if page.dtype is not None:
        check_dtype(path, page.dtype)
    check_mode(path, page)
    check_size(path, page.nbytes)
    check_size(path, math.prod(page.chunks) * page.dtype.itemsize)  # a tile may be larger than its image
    if (codec := enum_name(tifffile.COMPRESSION, page.compression)) not in TIFF_CODECS:
        raise ImageError(
            f"{path.name} is compressed with {codec}, wanted none, deflate, LZW, PackBits or zstd; export it losslessly"
        )
    size = path.stat().st_size
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(parts) < math.prod(page.chunked) or any(n <= 0 or start + n > size for start, n in parts):
        # the decoder would fill what is missing with zeros without warning
        raise ImageError(f"{path.name} is cut off at {size} bytes, wanted all of its pixels; copy the file again")


def _pixel_size(tiff: Any) -> PixelSize:
    """Return what OME metadata say, else ImageJ's, else the tags where they are no print resolution."""
    tags = tiff.pages[0].tags
    size = ome_size(tiff.ome_metadata or "") if tiff.is_ome else UNKNOWN
    if size == UNKNOWN and tiff.is_imagej:
        size = imagej_size(tiff.imagej_metadata or {}, tags)
    return tag_size(tags) if size == UNKNOWN else size
