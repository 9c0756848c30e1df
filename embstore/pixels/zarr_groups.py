"""Find the images of a Zarr group: itself, a plate's wells, series of bioformats2raw, or images of SpatialData."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from embstore.errors import ImageError
from embstore.pixels.ngff import WRONG_JSON, ZARR_TODO, below
from embstore.pixels.ome_xml import n_images
from embstore.pixels.ome_zarr import attributes, is_zarr
from embstore.pixels.planes import one_line

SERIES = "bioformats2raw.layout"
# the names that scPortrait gives its masks
OF_SCPORTRAIT = {"seg_all_nucleus": "nuclei", "seg_all_cytosol": "cells"}


class PlatePosition(TypedDict, total=False):
    """Where on a plate a field was imaged; empty for other images."""

    plate: str
    well: str
    site: str


@dataclass(frozen=True)
class ZarrField:
    """One image of a group: its path inside ("" is the group itself), and its position on a plate.

    `labels` are its label images by name if the group lists them, else they are the image's own. A `contained` image is
    one of a container, and is named after it.
    """

    path: str = ""
    place: PlatePosition = field(default_factory=PlatePosition)
    labels: Mapping[str, Path] | None = None
    contained: bool = False


def fields_of(path: Path) -> tuple[list[ZarrField], list[ImageError]]:
    """Return the images of a group, and errors for wells that cannot be read; ImageError if it is not a group."""
    metadata = attributes(path)
    if "plate" in metadata:
        return _of_plate(path, metadata["plate"])
    if "multiscales" in metadata:
        return [ZarrField()], []
    if is_series(path):
        return [ZarrField(name, contained=True) for name in _series(path)], []
    if is_zarr(path / "images"):
        return _of_spatial_data(path), []
    if inside := sorted(p.name for p in path.iterdir() if is_zarr(p) and "multiscales" in _attributes_if_any(p))[:3]:
        raise ImageError(
            f"{path.name} is not an OME image, wanted multiscales; its groups are: give {path.name}/{inside[0]}"
        )
    return [ZarrField()], []


def is_series(path: Path) -> bool:
    """True if a group contains the series into which bioformats2raw converts a file."""
    return is_zarr(path) and (SERIES in _attributes_if_any(path) or is_zarr(path / "OME"))


def label_images(path: Path) -> dict[str, Path]:
    """Return name -> group of an image's label images; empty without a group `labels`; ImageError if it is invalid."""
    if not is_zarr(path / "labels"):
        return {}
    names = attributes(path / "labels").get("labels", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ImageError(f"{path.name} lists its labels as {names!r}, wanted names", todo=ZARR_TODO)
    return {name: path / "labels" / below(path.name, name) for name in names}


def _of_plate(path: Path, plate: Any) -> tuple[list[ZarrField], list[ImageError]]:
    try:
        name = str(plate.get("name") or path.name.removesuffix(".zarr"))
        wells = [below(path.name, str(well["path"])) for well in plate["wells"]]
    except WRONG_JSON as error:
        raise ImageError(
            f"{path.name} has a plate that is damaged ({one_line(error)}), wanted wells and fields", todo=ZARR_TODO
        ) from error
    fields: list[ZarrField] = []
    failures: list[ImageError] = []
    for well in wells:
        try:
            fields += _of_well(path, name, well)
        except ImageError as error:
            failures.append(error)
    return fields, failures


def _of_well(path: Path, plate: str, well: str) -> list[ZarrField]:
    try:
        sites = [str(image["path"]) for image in attributes(path / well)["well"]["images"]]
    except WRONG_JSON as error:
        raise ImageError(
            f"well {well} of {path.name} is damaged ({one_line(error)}), wanted images", todo=ZARR_TODO
        ) from error
    fields = []
    for site in (below(path.name, site) for site in sites):
        place: PlatePosition = {"plate": plate, "well": well.replace("/", ""), "site": site}
        fields.append(ZarrField(f"{well}/{site}", place))
    return fields


def _series(path: Path) -> list[str]:
    """Return the series of a container: as listed, else as many as its OME-XML has images, else its numbered groups."""
    listed = _attributes_if_any(path / "OME").get("series")
    if listed is not None:
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise ImageError(f"{path.name} lists its series as {listed!r}, wanted names", todo=ZARR_TODO)
        return [below(path.name, name) for name in listed]
    described = path / "OME" / "METADATA.ome.xml"
    if described.is_file():
        return [str(n) for n in range(n_images(described.read_text("utf-8", "replace"), described.name))]
    return sorted((p.name for p in path.iterdir() if p.name.isdecimal() and is_zarr(p)), key=int)


def _of_spatial_data(path: Path) -> list[ZarrField]:
    """Return the images of SpatialData; labels belong to the only image, else to the one they are named after."""
    images, labels = (_groups(path / kind) for kind in ("images", "labels"))
    fields = []
    for image in images:
        of_image = {
            OF_SCPORTRAIT.get(name, name.removeprefix(f"{image}_")): path / "labels" / name
            for name in labels
            if len(images) == 1 or name.startswith(f"{image}_")
        }
        fields.append(ZarrField(f"images/{image}", labels=of_image, contained=True))
    return fields


def _groups(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir() if is_zarr(p)) if path.is_dir() else []


def _attributes_if_any(path: Path) -> dict[str, Any]:
    try:
        return attributes(path)
    except ImageError:
        return {}
