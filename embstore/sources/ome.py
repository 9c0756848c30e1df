"""The OME layout: OME-TIFF files, and OME-Zarr images and plates, whose metadata name their channels."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.ome_zarr import PlatePosition, describe, fields_of, is_zarr, label_images
from embstore.pixels.tiff import ome_xml
from embstore.sources.channels import Channels, Reading, named_roles
from embstore.sources.described import with_descriptions
from embstore.sources.masks import own_masks
from embstore.sources.record import POSITION, Failure, Source, SourceImage
from embstore.sources.tables import bare_name, image_files

_TODO = "mend or replace it, then run the same command again"


def read_ome(source: Path, reading: Reading) -> Source:
    """Return the OME-TIFFs and OME-Zarr images of a folder; plates give plate, well and site.

    Roles come from `channels`, by position or name, else from well-known channel names in the metadata; a file whose
    channels stay unknown is a failure that lists them. Pixel sizes are read from the metadata, with the pixels. Label
    images of an OME-Zarr that are called nuclei or cells are its masks. `labels` has a row an image or a well.
    """
    if reading.root:
        raise EmbstoreError("--source-root does not go with --layout ome; give the folder itself")
    root, files, failures = _files(source)
    images = []
    left_out: set[str] = set()
    for file, place in files:
        try:
            roles, told_by = _roles(root / file, reading.channels)
            masks, others = own_masks(label_images(root / file))
        except EmbstoreError as error:
            failures.append(_failure(root / file, error))
            continue
        key = bare_name(file).replace(".zarr", "")
        images.append(replace(SourceImage(key, (file,), roles, masks=masks, told_by=told_by), **place))
        left_out.update(others)
    notes = (*_channels(images), *_labels(images, sorted(left_out)))
    found = Source(root, tuple(images), failures=tuple(failures), notes=notes)
    return with_descriptions(found, reading.labels) if reading.labels else found


def _files(source: Path) -> tuple[Path, list[tuple[str, PlatePosition]], list[Failure]]:
    """Return the root, every image below it with its place on a plate, and the groups that hold none."""
    if source.is_dir() and is_zarr(source):
        root, tiffs, groups = source.parent, [], [source]
    else:
        root, paths = image_files(source)
        groups = sorted(p for p in source.rglob("*.zarr") if p.is_dir() and is_zarr(p)) if source.is_dir() else []
        tiffs = [p for p in paths if ".tif" in p.name.lower() and not any(g in p.parents for g in groups)]
    files: list[tuple[str, PlatePosition]] = [(path.relative_to(root).as_posix(), {}) for path in tiffs]
    failures = []
    for group in groups:
        base = group.relative_to(root).as_posix()
        try:
            files += [(f"{base}/{path}" if path else base, place) for path, place in fields_of(group)]
        except ImageError as error:
            failures.append(_failure(group, error))
    return root, files, failures


def _failure(path: Path, error: EmbstoreError) -> Failure:
    found, todo = (error.found, error.todo) if isinstance(error, ImageError) else (str(error), _TODO)
    return Failure(str(path), "plan", found, todo)


def _roles(path: Path, channels: Channels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the role of each channel, and why it is that one."""
    if channels.in_order:
        roles, told_by = channels.in_order, (POSITION,) * len(channels.in_order)
    else:
        names = describe(path).channel_names if path.is_dir() else _tiff_channels(path)
        roles, told_by = named_roles(names, channels, path.name), tuple(f"name {name}" for name in names)
    if not roles:
        raise EmbstoreError(f"{path.name} names no channel; say what its planes show: --channels nucleus,protein")
    return roles, told_by


def _channels(images: Sequence[SourceImage]) -> Iterator[str]:
    yield from (f"channels: {roles}" for roles in sorted({", ".join(image.roles) for image in images}))


def _labels(images: Sequence[SourceImage], left_out: Sequence[str]) -> Iterator[str]:
    if masked := sum(image.masks is not None for image in images):
        yield f"masks: {masked} images bring label images of their nuclei or cells"
    if left_out:
        yield f"label images whose names are not nuclei or cells, left out: {', '.join(left_out)}"


def _tiff_channels(path: Path) -> Sequence[str]:
    """Return the names of the channels of the first image in an OME-TIFF."""
    xml = ome_xml(path)
    if not xml:
        raise EmbstoreError(f"{path.name} holds no OME metadata; say what its planes show: --channels nucleus,protein")
    try:
        tree = ET.fromstring(xml)
    except ET.ParseError as error:
        raise EmbstoreError(f"{path.name} holds OME metadata that is no XML ({error})") from error
    pixels = next((element for element in tree.iter() if element.tag.endswith("Pixels")), None)
    return [] if pixels is None else [c.get("Name") or "" for c in pixels if c.tag.endswith("Channel")]
