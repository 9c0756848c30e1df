"""The OME metadata of an OME-Zarr image: axes, channels, pixel size (https://ngff.openmicroscopy.org)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.errors import ImageError
from embstore.pixels.planes import one_line
from embstore.pixels.size import UNKNOWN, PixelSize, agreed

AXES = "tczyx"
ZARR_TODO = "export it as OME-Zarr 0.4 or 0.5 again"
# what JSON of the wrong form raises
WRONG_JSON = (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError)


@dataclass(frozen=True)
class ZarrImage:
    """One image: the names of its axes and channels, and its pixel size as the metadata state it."""

    axes: str
    channel_names: tuple[str, ...]
    size: PixelSize
    dataset: str  # the array of full resolution


def zarr_image(attributes: Mapping[str, Any], name: str) -> ZarrImage:
    """Return the image that the attributes of a group called `name` describe; ImageError if they are not OME-Zarr."""
    if "multiscales" not in attributes:
        raise ImageError(f"{name} has no OME image ('multiscales' is missing), wanted multiscales", todo=ZARR_TODO)
    try:
        first = attributes["multiscales"][0]
        version = str(first.get("version") or attributes.get("version") or "of no version")
        if "axes" not in first:
            raise ImageError(
                f"{name} is OME-Zarr {version} and does not name its axes, wanted 0.4 or 0.5 (0.1 to 0.3 are not read)",
                todo=ZARR_TODO,
            )
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in first["axes"]]
        channels = (attributes.get("omero") or {}).get("channels") or []
        return ZarrImage(
            axes=_axes(axes, name),
            channel_names=tuple(str(channel.get("label") or "") for channel in channels),
            size=_pixel_size(axes, first["datasets"][0], first),
            dataset=below(name, str(first["datasets"][0]["path"])),
        )
    except WRONG_JSON as error:
        raise ImageError(
            f"{name} has no OME image (its multiscales are damaged: {one_line(error)}), wanted OME-Zarr", todo=ZARR_TODO
        ) from error


def below(name: str, part: str) -> str:
    """Return a path that a group's metadata name; ImageError if it leads out of the group."""
    plain = os.path.normpath(part)
    if Path(plain).is_absolute() or plain.split("/")[0] == ".." or "\0" in plain:
        raise ImageError(f"{name} names {part!r}, which is outside; wanted a path inside it", todo=ZARR_TODO)
    return plain


def _axes(axes: Sequence[Mapping[str, Any]], name: str) -> str:
    names = [str(axis["name"]).lower() for axis in axes]
    if not names or len(set(names)) != len(names) or any(axis not in AXES or len(axis) != 1 for axis in names):
        raise ImageError(f"{name} has the axes {', '.join(names)}, wanted some of t, c, z, y, x", todo=ZARR_TODO)
    return "".join(names).upper()


def _pixel_size(
    axes: Sequence[Mapping[str, Any]], dataset: Mapping[str, Any], multiscale: Mapping[str, Any]
) -> PixelSize:
    """Return the product of the scales of an array and of its image, in the units of the axes."""
    levels = [level.get("coordinateTransformations") or [] for level in (dataset, multiscale)]
    factors = [_scales(transformations, len(axes)) for transformations in levels]
    if unread := [kind for scale in factors if isinstance(scale, str) for kind in [scale]]:
        return PixelSize(ignored=f"its scale is given by {unread[0]}, wanted only a scale")
    scales = [scale for several in factors for scale in several]
    if not scales:
        return UNKNOWN
    sizes = [(axis, math.prod(of_axis)) for axis, *of_axis in zip(axes, *scales, strict=True) if axis["name"] in "yx"]
    if all(float(size) == 1 and not axis.get("unit") for axis, size in sizes):  # the default of writers
        return UNKNOWN
    return agreed([(f"scale of {axis['name']}", str(size), str(axis.get("unit") or "")) for axis, size in sizes])


def _scales(transformations: Sequence[Mapping[str, Any]], n_axes: int) -> list[Sequence[float]] | str:
    """Return the scales among transformations, or the kind of a transformation that changes sizes in another way.

    SpatialData names an `output` for each coordinate system; the scales of several systems cannot be multiplied.
    """
    if len([t for t in transformations if "output" in t]) > 1:
        return "several coordinate systems"
    scales: list[Sequence[float]] = []
    for transformation in transformations:
        kind = str(transformation["type"])
        if kind == "sequence":
            inner = _scales(transformation["transformations"], n_axes)
            if isinstance(inner, str):
                return inner
            scales += inner
        elif kind == "scale" and "scale" in transformation:
            scales.append([_number(value) for value in transformation["scale"]])
            if len(scales[-1]) != n_axes:
                raise ValueError(f"a scale of {len(scales[-1])} numbers for {n_axes} axes")
        elif kind not in ("identity", "translation"):
            return f"a transformation of type {kind}"
    return scales


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a scale of {value!r}")
    return value
