"""Read TIFF files as arrays with named axes; every claim is checked first, and all parts and pages must exist."""

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
from embstore.pixels.ome_xml import OmeImage, OmeXmlError, companion, ome_image
from embstore.pixels.photometric import check_mode, check_palette, colour_of, enum_name, inverted, mode_of
from embstore.pixels.planes import DECODING_ERRORS, Claim, one_line
from embstore.pixels.size import UNKNOWN, PixelSize, imagej_size, tag_size

# codecs whose output size the caller limits; a JPEG inside a TIFF allocates what its own header claims
TIFF_CODECS = frozenset({"NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "ZSTD", "LZMA"})
MAX_XML_BYTES = 64 << 20
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# what tifffile logs about a damaged file is raised here as an ImageError; without a handler it would be printed too
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@contextmanager
def open_tiff(path: Path, channels: int | None, *, labels: bool = False) -> Iterator[Claim]:
    """Open a TIFF of one image; if `channels`, the number expected, is given, it may be a z-stack.

    With `labels`, zero is white in bits only: label images with an inverting lookup table keep their labels.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        ome = _described(path, tiff)
        if ome.others:
            tiff.is_ome = False  # else tifffile reads the other files of the set, and fills missing ones with zeros
        series = _checked_series(path, tiff, MAX_CHANNELS if channels is None else MAX_STACK_PAGES)
        size = _pixel_size(tiff, ome.size)
        if ome.others:
            yield _part_of_set(path, tiff, ome, size, channels)
            return
        page = tiff.pages[0]
        colour = colour_of(page)
        axes = series.axes if colour else series.axes.replace("S", "C")
        read = _reading(path, lambda: series.asarray(maxworkers=1), page, labels=labels)
        yield Claim(series.shape, axes, series.dtype, size, read, colour, white_is_zero=_white_is_zero(page))


def _white_is_zero(page: Any) -> bool:
    photometric, _, bits = mode_of(page)
    return bool(photometric == "MINISWHITE" and bits == 1)


def _described(path: Path, tiff: Any) -> OmeImage:
    """Return the image that the OME metadata of an open TIFF describe; damaged metadata are ignored and noted."""
    try:
        text = _ome_text(path, tiff)
        return ome_image(text, path.name) if text else OmeImage()
    except OmeXmlError as error:
        return OmeImage(size=PixelSize(ignored=error.found))


def _part_of_set(path: Path, tiff: Any, ome: OmeImage, size: PixelSize, expected: int | None) -> Claim:
    """Return the claim of a file of a set: its own planes of an image whose other planes are in other files."""
    own = ome.own
    channels, depths = ({getattr(plane, axis) for plane in own} for axis in ("c", "z"))
    if expected is not None and len(channels) < expected:
        raise ImageError(
            f"{path.name} has {len(channels)} of {expected} channels, and is one of a set with "
            f"{', '.join(ome.others[:2])}; read the set as one image: --layout ome"
        )
    pages = [tiff.pages[plane.ifd] for plane in own if plane.ifd < len(tiff.pages)]
    shapes = {(page.shape, page.dtype) for page in pages}
    if len(own) != len(channels) * len(depths) or len(pages) < len(own) or len(shapes) != 1 or len(pages[0].shape) != 2:
        raise ImageError(
            f"{path.name} is one of the files of a set ({', '.join(ome.others[:2])}), and does not contain whole "
            "channels of it, wanted one file per channel or per image; join the set into one file"
        )
    shape = (len(channels), len(depths), *pages[0].shape)  # of one time point
    read = _reading(path, lambda: np.stack([page.asarray() for page in pages]).reshape(shape), pages[0], labels=False)
    return Claim(shape, "CZYX", pages[0].dtype, size, read)


def _reading(path: Path, decode: Callable[[], np.ndarray], page: Any, *, labels: bool) -> Callable[[], np.ndarray]:
    """Return the function that decodes pixels to values according to a page's photometric interpretation."""
    photometric, _, bits = mode_of(page)
    if photometric == "PALETTE" and not labels:
        check_palette(path, page)
    invert = photometric == "MINISWHITE" and (bits == 1 or not labels)
    return (lambda: inverted(decode(), bits)) if invert else decode


def ome_xml(path: Path) -> str:
    """Return the OME metadata of a TIFF, "" if it has none; ImageError for other files.

    They may be in another file (`.companion.ome`), which is then read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return _ome_text(path, tiff)
    except DECODING_ERRORS as error:
        raise ImageError(f"{path.name} is not a complete TIFF ({one_line(error)}), wanted OME-TIFF") from error


def _ome_text(path: Path, tiff: Any) -> str:
    text = (tiff.ome_metadata or "") if tiff.is_ome else ""
    other = companion(text, path.name)
    if not other:
        return text
    beside = path.with_name(Path(other).name)
    if not beside.is_file():
        raise OmeXmlError(f"{path.name} has its metadata in {beside.name}, which is missing; put it next to this file")
    if is_tiff(beside):
        return "" if beside == path else ome_xml(beside)
    if beside.stat().st_size > MAX_XML_BYTES:
        raise ImageError(f"{beside.name} has {beside.stat().st_size / 1e6:,.0f} MB, wanted OME-XML; replace the file")
    return beside.read_text("utf-8")


def is_tiff(path: Path) -> bool:
    """True if a file begins like a TIFF."""
    with path.open("rb") as file:
        return file.read(4) in TIFF_SIGNATURES


def _checked_series(path: Path, tiff: Any, most_pages: int) -> Any:
    """Return the only series of a TIFF after checking its page count, claimed size, codec and stored parts."""
    n_pages = len(tiff.pages)
    if n_pages == 0 or _next_page_offset(tiff, tiff.pages[n_pages - 1].offset) != 0:
        # tifffile stops where the chain of pages breaks, so a two-channel file would pass for one channel
        raise ImageError(f"{path.name} ends after {n_pages} pages, wanted all of them; copy the file again")
    if n_pages > most_pages:
        raise ImageError(
            f"{path.name} has {n_pages} pages, wanted 1 to {most_pages} channels; export a projection or one plane"
        )
    pages = [tiff.pages[i] for i in range(n_pages)]
    for page in pages:
        _check_page(path, page)
    if len(modes := {mode_of(page) for page in pages}) > 1:
        kinds = " and ".join(sorted(f"{photometric} of {bits} bits" for photometric, _, bits in modes))
        raise ImageError(f"{path.name} has pages of {kinds}, wanted one kind; export each to its own file")
    if len(tiff.series) != 1:
        shapes = " and ".join(str(series.shape) for series in tiff.series[:3])
        raise ImageError(
            f"{path.name} has {len(tiff.series)} images ({shapes}), wanted one; export each to its own file"
        )
    series = tiff.series[0]
    if any(page is None for page in series.pages):
        raise ImageError(f"{path.name} is missing planes that its OME metadata list, wanted all; export the file again")
    claimed = math.prod(series.shape) * series.dtype.itemsize
    check_size(path, claimed)
    if claimed > sum(page.nbytes for page in pages):
        raise ImageError(
            f"{path.name} declares the shape {series.shape} but its pages contain less, wanted every plane; "
            "export the file again"
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
    """Raise ImageError for a page that claims too much, uses another codec, or has parts outside the file."""
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
        # the decoder would fill missing parts with zeros without warning
        raise ImageError(f"{path.name} ends at {size} bytes, wanted all of its pixels; copy the file again")


def _pixel_size(tiff: Any, size: PixelSize) -> PixelSize:
    """Return the size from OME metadata, else ImageJ's, else from tags that cannot be a print resolution."""
    tags = tiff.pages[0].tags
    if size == UNKNOWN and tiff.is_imagej:
        size = imagej_size(tiff.imagej_metadata or {}, tags)
    return tag_size(tags) if size == UNKNOWN else size
