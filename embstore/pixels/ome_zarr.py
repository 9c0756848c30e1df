"""OME-Zarr images (versions 0.4 and 0.5): what their metadata says, and their full resolution; the only door to zarr.

Metadata as specified at https://ngff.openmicroscopy.org (`multiscales`, `omero`, `plate`, `well`).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.planes import Claim
from embstore.pixels.size import UNKNOWN, PixelSize, agreed

METADATA = (".zattrs", "zarr.json")
# what zarr and its codecs raise on damaged groups and chunks
ZARR_ERRORS = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)
_TODO = "export it as OME-Zarr 0.4 or 0.5 again"


@dataclass(frozen=True)
class ZarrImage:
    """One image: the names of its axes and channels, and what its metadata say of a pixel's size."""

    axes: str
    channel_names: tuple[str, ...]
    size: PixelSize
    dataset: str  # the array of full resolution


class PlatePosition(TypedDict, total=False):
    """Where on a plate a field was imaged; empty for an image that is on none."""

    plate: str
    well: str
    site: str


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a group (or array) of Zarr."""
    return any((path / name).is_file() for name in METADATA)


def attributes(path: Path) -> dict[str, Any]:
    """Return the OME metadata of a group, of either version; ImageError where there is none."""
    zarr = _zarr()
    try:
        attrs = zarr.open_group(path, mode="r").attrs.asdict()
    except ZARR_ERRORS as error:
        raise ImageError(f"{path.name} is no group of Zarr ({_line(error)}), wanted OME-Zarr", todo=_TODO) from error
    found: dict[str, Any] = attrs.get("ome", attrs)
    return found


def describe(path: Path) -> ZarrImage:
    """Read the metadata of one image; ImageError where it is no OME-Zarr image."""
    attrs = attributes(path)
    try:
        scales = attrs["multiscales"][0]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales["axes"]]
        first = scales["datasets"][0]
        names = tuple(str(channel.get("label", "")) for channel in attrs.get("omero", {}).get("channels", []))
        size = _pixel_size(axes, first.get("coordinateTransformations", []))
        return ZarrImage("".join(axis["name"] for axis in axes).upper(), names, size, _below(path, str(first["path"])))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ImageError(
            f"{path.name} has no OME image ({_line(error)} is missing), wanted multiscales", todo=_TODO
        ) from error


def open_zarr(path: Path, max_bytes: int) -> Claim:
    """Open the full resolution of an image; ImageError where it claims more than `max_bytes` or is damaged."""
    image = describe(path)
    zarr = _zarr()
    try:
        array = zarr.open_array(path / image.dataset, mode="r")
        claimed = math.prod(array.shape) * array.dtype.itemsize
    except ZARR_ERRORS as error:
        raise _damaged(path, error) from error
    if len(array.shape) != len(image.axes) or not 0 < claimed <= max_bytes:
        raise ImageError(
            f"{path.name} claims {array.shape} with axes {image.axes}, {claimed / 1e9:,.1f} GB; wanted at most "
            f"{max_bytes / 1e9:.1f} GB; cut it into fields"
        )

    def read() -> np.ndarray:
        try:
            return np.asarray(array[...])
        except ZARR_ERRORS as error:
            raise _damaged(path, error) from error

    return Claim(array.shape, image.axes, array.dtype, image.size, read)


def _damaged(path: Path, error: BaseException) -> ImageError:
    return ImageError(f"{path.name} is damaged ({_line(error)}), wanted a complete OME-Zarr", todo=_TODO)


def _pixel_size(axes: list[dict[str, Any]], transformations: list[dict[str, Any]]) -> PixelSize:
    scale = next((t["scale"] for t in transformations if t.get("type") == "scale"), None)
    if scale is None:
        return UNKNOWN
    sizes = [(axis, size) for axis, size in zip(axes, scale, strict=True) if axis["name"] in ("x", "y")]
    if all(float(size) == 1 and not axis.get("unit") for axis, size in sizes):  # what writers put who know nothing
        return UNKNOWN
    return agreed([(f"scale of {axis['name']}", str(size), axis.get("unit") or "") for axis, size in sizes])


def _below(path: Path, part: str) -> str:
    """Return a path of the metadata, which may not lead out of its own group."""
    plain = os.path.normpath(part)
    if Path(plain).is_absolute() or plain.split("/")[0] == "..":
        raise ImageError(f"{path.name} names {part!r}, which leaves it; wanted a path below", todo=_TODO)
    return plain


def fields_of(path: Path) -> list[tuple[str, PlatePosition]]:
    """Return the images of a group, as paths below it with their plate, well and site; "" is the group itself."""
    attrs = attributes(path)
    if "plate" not in attrs:
        return [("", {})]
    try:
        name = str(attrs["plate"].get("name") or path.name.removesuffix(".zarr"))
        return [field for well in attrs["plate"]["wells"] for field in _fields_of_well(path, name, str(well["path"]))]
    except (KeyError, TypeError, AttributeError) as error:
        raise ImageError(
            f"{path.name} has a plate without {_line(error)}, wanted wells and fields", todo=_TODO
        ) from error


def _fields_of_well(path: Path, plate: str, part: str) -> list[tuple[str, PlatePosition]]:
    place = _below(path, part)
    sites = [_below(path, str(image["path"])) for image in attributes(path / place)["well"]["images"]]
    return [(f"{place}/{site}", {"plate": plate, "well": place.replace("/", ""), "site": site}) for site in sites]


def label_images(path: Path) -> dict[str, Path]:
    """Return name -> group of the label images that an image brings, none where it has no group `labels`."""
    if not is_zarr(path / "labels"):
        return {}
    names = attributes(path / "labels").get("labels", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ImageError(f"{path.name} lists its labels as {names!r}, wanted names", todo=_TODO)
    return {name: path / "labels" / _below(path, name) for name in names}


def _zarr() -> Any:
    try:
        import zarr
    except ImportError as error:
        raise EmbstoreError(
            "reading OME-Zarr needs zarr, which is not installed; run pip install 'embstore[zarr]'"
        ) from error
    return zarr


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
