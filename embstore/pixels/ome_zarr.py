"""OME-Zarr images (versions 0.4 and 0.5): their attributes and full resolution; the only module that imports zarr."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.ngff import ZARR_TODO, ZarrImage, zarr_image
from embstore.pixels.planes import DECODING_ERRORS, Claim, one_line

METADATA = (".zattrs", ".zgroup", "zarr.json")
ZARR_ERRORS = (*DECODING_ERRORS, AssertionError)  # zarr asserts that metadata are valid


def is_zarr(path: Path) -> bool:
    """True if a folder is a group (or array) of Zarr."""
    return any((path / name).is_file() for name in METADATA)


def attributes(path: Path) -> dict[str, Any]:
    """Return the OME metadata of a group, of either version; ImageError if there are none."""
    zarr = _zarr()
    try:
        attrs = zarr.open_group(path, mode="r").attrs.asdict()
    except ZARR_ERRORS as error:
        raise ImageError(
            f"{path.name} is not a Zarr group ({one_line(error)}), wanted OME-Zarr", todo=ZARR_TODO
        ) from error
    metadata = attrs.get("ome", attrs)
    if not isinstance(metadata, dict):
        raise ImageError(f"{path.name} has {metadata!r:.60} as its OME metadata, wanted multiscales", todo=ZARR_TODO)
    return metadata


def describe(path: Path) -> ZarrImage:
    """Return the metadata of one image; ImageError if it is not an OME-Zarr image."""
    return zarr_image(attributes(path), path.name)


def open_zarr(path: Path, max_bytes: int) -> Claim:
    """Open the full resolution of an image; ImageError if it claims more than `max_bytes` or is damaged."""
    image = describe(path)
    zarr = _zarr()
    try:
        array = zarr.open_array(path / image.dataset, mode="r")
        shape, dtype = tuple(map(int, array.shape)), array.dtype
        claimed = math.prod(shape) * dtype.itemsize
        claimed = max(claimed, math.prod(array.shards or array.chunks) * dtype.itemsize)
        codecs = [str(getattr(codec, "codec_id", codec)) for codec in (*array.filters, *array.compressors)]
    except ZARR_ERRORS as error:
        raise _damaged(path, error) from error
    if len(shape) != len(image.axes) or not 0 < claimed <= max_bytes:
        raise ImageError(
            f"{path.name} claims {shape} with axes {image.axes}, {claimed / 1e9:,.1f} GB; wanted at most "
            f"{max_bytes / 1e9:.1f} GB; cut it into fields"
        )
    if any("pickle" in codec.lower() for codec in codecs):  # unpickling could run any code
        raise ImageError(f"{path.name} has chunks that are pickles, which are never loaded", todo=ZARR_TODO)

    def read() -> np.ndarray:
        try:
            return np.asarray(array[...])
        except ZARR_ERRORS as error:
            raise _damaged(path, error) from error

    return Claim(shape, image.axes, dtype, image.size, read, absent=_absent(path, array))


def _absent(path: Path, array: Any) -> tuple[int, int]:
    """Return how many chunks of an array are not stored (and read as its fill value), and how many it has."""
    try:
        n = math.prod(math.ceil(size / chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
        return max(0, n - int(array.nchunks_initialized)), n
    except ZARR_ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> ImageError:
    return ImageError(f"{path.name} is damaged ({one_line(error)}), wanted a complete OME-Zarr", todo=ZARR_TODO)


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise EmbstoreError(
            "reading OME-Zarr needs zarr, which is not installed; run pip install 'embstore[zarr]'"
        ) from error
    return zarr
