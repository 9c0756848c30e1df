"""Read image files as planes; whatever a file's header states is checked before memory is allocated for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from embstore.errors import ImageError
from embstore.hdf5 import file_and_dataset
from embstore.pixels.colours import light
from embstore.pixels.depths import counts
from embstore.pixels.hdf5_stacks import HDF5_SIGNATURE, open_hdf5
from embstore.pixels.limits import MAX_BYTES, MAX_RATIO, RATIO_FREE_BYTES, check_dtype
from embstore.pixels.npy import NPY_SIGNATURE, open_npy
from embstore.pixels.ome_zarr import is_zarr, open_zarr
from embstore.pixels.pillow import open_pillow
from embstore.pixels.planes import Claim, Header, Planes, decoding
from embstore.pixels.stack import Arrangement, arranged, arrangement
from embstore.pixels.tiff import TIFF_SIGNATURES, open_tiff
from embstore.pixels.unpack import GZIP_SIGNATURE, unpacked


def read_planes(path: str | Path, channels: int | None = None, *, labels: bool = False) -> Planes:
    """Read every channel of one image file: TIFF, PNG, JPEG, WebP, BMP or npy, recognised by content, not suffix.

    `FILE.h5::DATASET` names a dataset of an HDF5 file.
    Returns pixels (c, y, x) of uint8, uint16 or float32, to which other types are converted (see `counts`). Values are
    as stored, at any bit depth, but inverted if the file declares that zero is white. An RGB file gives three planes,
    or one if they are equal; an opaque alpha channel is dropped. With `labels`, values keep the file's dtype, "zero is
    white" applies to bits only, and palette indices are not turned into colours. The pixel size comes from OME or
    ImageJ metadata, else from TIFF's resolution if that cannot be a print resolution. A file packed with gzip is
    unpacked first. If `channels`, the number expected, is given, a z-stack is read as its maximum projection. Raises
    ImageError for files that are missing, damaged, not images, too large, or whose values are not intensities (CMYK,
    complex numbers, ...), and for other stacks over depth or time.
    """
    path = Path(path)
    with _checked(path, channels, labels=labels) as (claim, how):
        pixels, colour = _shown(path, claim, how)
        values = pixels if labels else counts(path, pixels)
        planes = Planes(values, claim.size, how.depth, how.taken, colour)
        return replace(planes, absent=claim.absent, white_is_zero=claim.white_is_zero)


def read_header(path: str | Path, channels: int | None = None) -> Header:
    """Return how the channels are arranged in a file, from its header alone; only colour pictures are decoded.

    No header states whether colours are equal and alpha is opaque. Raises the errors of `read_planes`, except for
    damage that only decoding finds.
    """
    path = Path(path)
    with _checked(path, channels) as (claim, how):
        if claim.colour and channels != 1:
            pixels, colour = _shown(path, claim, how)
            return Header((len(pixels), *how.shape[1:]), how.taken, colour, how.depth)
        return Header(how.shape, how.taken, claim.colour, how.depth)


def read_shape(path: str | Path, channels: int | None = None) -> tuple[int, int, int]:
    """Return the shape (c, y, x) that `read_planes` would return; raises the errors of `read_header`."""
    return read_header(path, channels).shape


def _shown(path: Path, claim: Claim, how: Arrangement) -> tuple[np.ndarray, str]:
    with decoding(path):
        pixels = claim.read()
    return light(arranged(pixels, how), claim.colour)


@contextmanager
def _checked(path: Path, channels: int | None, *, labels: bool = False) -> Iterator[tuple[Claim, Arrangement]]:
    """Open an image file and check everything that its header states; raises ImageError if anything is wrong."""
    with ExitStack() as files:
        with decoding(path):
            claim = files.enter_context(_opened(path, channels, labels=labels))
        check_dtype(path, claim.dtype)
        yield claim, arrangement(path, claim.shape, claim.axes, channels)


@contextmanager
def _opened(path: Path, channels: int | None, *, labels: bool) -> Iterator[Claim]:
    file, dataset = file_and_dataset(path)
    if dataset:
        with open_hdf5(file, dataset, channels) as claim:
            yield claim
    elif path.is_dir() and is_zarr(path):
        yield open_zarr(path, MAX_BYTES)
    elif _head(path).startswith(GZIP_SIGNATURE):
        limits = {"max_bytes": MAX_BYTES, "max_ratio": MAX_RATIO, "free_bytes": RATIO_FREE_BYTES}
        with unpacked(path, **limits) as plain, _open_file(plain, channels, labels=labels) as claim:
            yield claim
    else:
        with _open_file(path, channels, labels=labels) as claim:
            yield claim


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


@contextmanager
def _open_file(path: Path, channels: int | None, *, labels: bool) -> Iterator[Claim]:
    if not (head := _head(path)):
        raise ImageError(f"{path.name} is empty (0 bytes), wanted an image; copy the file again")
    if head == HDF5_SIGNATURE[:4]:
        with open_hdf5(path, "", channels) as claim:
            yield claim
        return
    if head == NPY_SIGNATURE[:4]:
        yield open_npy(path, channels)
        return
    reader = open_tiff(path, channels, labels=labels) if head in TIFF_SIGNATURES else open_pillow(path, labels=labels)
    with reader as claim:
        yield claim
