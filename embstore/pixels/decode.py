"""Image files to planes, with every claim of a file checked before any memory is spent on it."""

from __future__ import annotations

from pathlib import Path

from embstore.errors import ImageError
from embstore.pixels.limits import DTYPES, MAX_BYTES, MAX_RATIO, RATIO_FREE_BYTES, check_dtype
from embstore.pixels.ome_zarr import is_zarr, read_array
from embstore.pixels.pillow import read_pillow
from embstore.pixels.planes import DAMAGE, Planes, one_line
from embstore.pixels.stack import channels_first, project
from embstore.pixels.tiff import TIFF_SIGNATURES, read_tiff
from embstore.pixels.unpack import GZIP_SIGNATURE, unpacked


def read_planes(path: Path, channels: int | None = None, *, labels: bool = False) -> Planes:
    """Read every channel of one image file: TIFF, PNG, JPEG, WebP or BMP, told by content and not by suffix.

    Returns pixels (c, y, x) of uint8, uint16 or float32. An RGB file gives three planes, RGBA four. The pixel size
    comes from OME or ImageJ metadata, else from TIFF's resolution where that is no print resolution. A file that is
    packed with gzip is unpacked first. With `channels`, how many are expected, a z-stack is read as its maximum
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
            f"{path.name} is damaged ({one_line(error)}), wanted a complete image; copy or export the file again"
        ) from error
    if not labels:
        check_dtype(path, planes.pixels.dtype, DTYPES)
    return planes


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _read(path: Path, channels: int | None) -> Planes:
    if not (head := _head(path)):
        raise ImageError(f"{path.name} is empty (0 bytes), wanted an image; copy the file again")
    return read_tiff(path, channels) if head in TIFF_SIGNATURES else read_pillow(path)


def _read_zarr(path: Path, channels: int | None) -> Planes:
    pixels, axes, size = read_array(path, MAX_BYTES)
    check_dtype(path, pixels.dtype)
    depth = 1
    if channels is not None:
        pixels, axes, depth = project(pixels, axes, channels)
    return Planes(channels_first(path, pixels, axes), size, depth)
