"""Image files to planes, with every claim of a file checked before any memory is spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.errors import ImageError
from embstore.pixels.depths import counts
from embstore.pixels.limits import MAX_BYTES, MAX_RATIO, RATIO_FREE_BYTES, check_dtype
from embstore.pixels.ome_zarr import is_zarr, open_zarr
from embstore.pixels.pillow import open_pillow
from embstore.pixels.planes import DECODING_ERRORS, Claim, Planes, one_line
from embstore.pixels.stack import Arrangement, arranged, arrangement
from embstore.pixels.tiff import TIFF_SIGNATURES, open_tiff
from embstore.pixels.unpack import GZIP_SIGNATURE, unpacked


def read_planes(path: str | Path, channels: int | None = None, *, labels: bool = False) -> Planes:
    """Read every channel of one image file: TIFF, PNG, JPEG, WebP or BMP, told by content and not by suffix.

    Returns pixels (c, y, x) of uint8, uint16 or float32, which other integers, floats and bits become (see `counts`);
    with `labels` they keep the file's own dtype. An RGB file gives three planes, RGBA four. The pixel size comes from
    OME or ImageJ metadata, else from TIFF's resolution where that is no print resolution. A file that is packed
    with gzip is unpacked first. With `channels`, how many are expected, a z-stack is read as its maximum projection.
    Raises ImageError for files that are missing, damaged, no image, too large, complex, or other stacks over depth or
    time.
    """
    path = Path(path)
    with _checked(path, channels) as (claim, how):
        pixels = arranged(claim.read(), how)
        pixels = ~pixels if claim.white_is_zero else pixels
        pixels = pixels if labels else counts(path, pixels)
        return Planes(pixels, claim.size, how.depth, absent=claim.absent, white_is_zero=claim.white_is_zero)


def read_shape(path: str | Path, channels: int | None = None) -> tuple[int, int, int]:
    """Return the shape (c, y, x) that `read_planes` would give, from the file's header alone.

    Raises the same errors, except for damage that only decoding finds.
    """
    with _checked(Path(path), channels) as (_, how):
        return how.shape


@contextmanager
def _checked(path: Path, channels: int | None) -> Iterator[tuple[Claim, Arrangement]]:
    """Open an image file and check all that it claims; whatever fails, then or while it is open, is an ImageError."""
    try:
        with _opened(path, channels) as claim:
            check_dtype(path, claim.dtype)
            yield claim, arrangement(path, claim.shape, claim.axes, channels)
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist, wanted an image; check the path or restore the file") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, wanted an image file; name a file in it") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read by this user, wanted an image; change its permissions") from None
    except DECODING_ERRORS as error:
        raise ImageError(
            f"{path.name} is damaged ({one_line(error)}), wanted a complete image; copy or export the file again"
        ) from error


@contextmanager
def _opened(path: Path, channels: int | None) -> Iterator[Claim]:
    if path.is_dir() and is_zarr(path):
        yield open_zarr(path, MAX_BYTES)
    elif _head(path).startswith(GZIP_SIGNATURE):
        limits = {"max_bytes": MAX_BYTES, "max_ratio": MAX_RATIO, "free_bytes": RATIO_FREE_BYTES}
        with unpacked(path, **limits) as plain, _open_file(plain, channels) as claim:
            yield claim
    else:
        with _open_file(path, channels) as claim:
            yield claim


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


@contextmanager
def _open_file(path: Path, channels: int | None) -> Iterator[Claim]:
    if not (head := _head(path)):
        raise ImageError(f"{path.name} is empty (0 bytes), wanted an image; copy the file again")
    with open_tiff(path, channels) if head in TIFF_SIGNATURES else open_pillow(path) as claim:
        yield claim
