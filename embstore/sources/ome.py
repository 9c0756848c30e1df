"""The OME layout: OME-TIFF files, and OME-Zarr images and plates, whose metadata name their channels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.ome_xml import OmeImage, OmeXmlError, ome_image
from embstore.pixels.ome_zarr import describe, is_zarr
from embstore.pixels.tiff import ome_xml
from embstore.pixels.zarr_groups import ZarrField, fields_of, is_series, label_images
from embstore.sources.channels import Channels, Reading, named_roles
from embstore.sources.described import with_descriptions
from embstore.sources.masks import own_masks
from embstore.sources.record import POSITION, Failure, Source, SourceImage
from embstore.sources.tables import bare_name, image_files

SET_ENDING = re.compile(r"[ _.\-]+(c|ch|channel|w)?$", re.IGNORECASE)  # before the number of a channel
_TODO = "repair or replace it, then run the same command again"


def read_ome(source: Path, reading: Reading) -> Source:
    """Return the OME-TIFFs and OME-Zarr images of a folder; plates give plate, well and site.

    Roles come from `channels`, by position or name, else from well-known channel names in the metadata; a file whose
    channels stay unknown is a failure that lists them. Pixel sizes are read from the metadata, with the pixels. Label
    images of an OME-Zarr that are called nuclei or cells are its masks. `labels` has a row for each image or well.
    Raises EmbstoreError for a wrong choice.
    """
    if reading.root:
        raise EmbstoreError("--source-root does not go with --layout ome; give the folder itself")
    root, files, failures = _files(source)
    images: list[SourceImage] = []
    left_out: set[str] = set()
    of_sets: set[str] = set()  # files that are part of an image which has been read
    for file, field in files:
        if file in of_sets:
            continue
        try:
            parts = _parts(root, file)
            of_sets.update(parts)
            roles, role_reasons = _roles(root / file, reading.channels)
            masks, others = own_masks(label_images(root / file) if field.labels is None else field.labels)
            key = _key_within(file) if field.contained else _key(parts)
            image = SourceImage(key, _complete(root, parts, roles), roles, masks=masks, role_reasons=role_reasons)
            images.append(replace(image, **field.place))
            left_out.update(others)
        except EmbstoreError as error:
            failures.append(_failure(root / file, error))
    notes = (*_channels(images), *_labels(images, sorted(left_out)))
    described = Source(root, tuple(images), failures=tuple(failures), notes=notes)
    return with_descriptions(described, reading.labels, reading.renaming) if reading.labels else described


def _files(source: Path) -> tuple[Path, list[tuple[str, ZarrField]], list[Failure]]:
    """Return the root, every image below it with its position on a plate, and the groups without images."""
    if source.is_dir() and is_zarr(source):
        if is_series(source.parent):  # one of several, which are named after their container
            return source.parent.parent, [(f"{source.parent.name}/{source.name}", ZarrField(contained=True))], []
        root, tiffs, groups = source.parent, [], [source]
    else:
        root, paths = image_files(source)
        groups = sorted(p for p in source.rglob("*.zarr") if p.is_dir() and is_zarr(p)) if source.is_dir() else []
        tiffs = [p for p in paths if ".tif" in p.name.lower() and not any(g in p.parents for g in groups)]
    files = [(path.relative_to(root).as_posix(), ZarrField()) for path in tiffs]
    failures = []
    for group in groups:
        base = group.relative_to(root).as_posix()
        try:
            fields, unread = fields_of(group)
        except ImageError as error:
            fields, unread = [], [error]
        files += [(f"{base}/{field.path}" if field.path else base, field) for field in fields]
        failures += [_failure(group, error) for error in unread]
    return root, files, failures


def _key_within(file: str) -> str:
    """Return the name of an image of a container: `f1/0` in `f1.ome.zarr/0`, `sd/a` in `sd.zarr/images/a`."""
    *above, part = PurePosixPath(file).parts
    names = [re.sub(r"(\.ome)?\.zarr$", "", name) for name in above if name != "images"]
    return "/".join([*names, part])


def _parts(root: Path, file: str) -> tuple[str, ...]:
    """Return the files of an image in the order of their channels: one, or those of an OME-TIFF set."""
    if (root / file).is_dir():
        return (file,)
    try:
        ome = ome_image(text, Path(file).name) if (text := ome_xml(root / file)) else OmeImage()
    except OmeXmlError:  # these matter only if they have to name the channels
        ome = OmeImage()
    if not ome.others:
        return (file,)
    by_channel: dict[int, set[str]] = {}
    for plane in ome.planes:
        by_channel.setdefault(plane.c, set()).add(plane.file or PurePosixPath(file).name)
    names = [name for c in sorted(by_channel) for name in sorted(by_channel[c])]
    if len(set(names)) != len(by_channel) or any(PurePosixPath(name).name != name for name in names):
        raise ImageError(
            f"{file} is one of {len(set(names))} files for {len(by_channel)} channels ({', '.join(names[:3])}), "
            "wanted one file per channel; join the set into one file (bfconvert)"
        )
    return tuple(PurePosixPath(file).with_name(name).as_posix() for name in names)


def _complete(root: Path, parts: Sequence[str], roles: Sequence[str]) -> tuple[str, ...]:
    """Return the files of an image; ImageError if one of a set is missing or has no role."""
    if missing := [part for part in parts if not (root / part).exists()]:
        raise ImageError(
            f"of the {len(parts)} files of this image {', '.join(missing)} is missing, wanted a file for each of "
            f"{', '.join(roles)}; put it next to the others"
        )
    if len(parts) > 1 and len(parts) != len(roles):
        raise ImageError(
            f"the set {', '.join(parts[:3])} has {len(parts)} channels and {len(roles)} roles, wanted as many; "
            "name what each shows: --channels nucleus,protein,..."
        )
    return tuple(parts)


def _key(parts: Sequence[str]) -> str:
    """Return the name of an image: its file's name, or the common part of the names of a set."""
    if len(parts) == 1:
        return bare_name(parts[0]).replace(".zarr", "")
    letters = zip(*(bare_name(part) for part in parts), strict=False)
    common = "".join(same[0] for same in takewhile(lambda column: len(set(column)) == 1, letters))
    return SET_ENDING.sub("", common) or bare_name(parts[0])


def _failure(path: Path, error: EmbstoreError) -> Failure:
    problem, todo = (error.found, error.todo) if isinstance(error, ImageError) else (str(error), _TODO)
    return Failure(str(path), "plan", problem, todo)


def _roles(path: Path, channels: Channels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the role of each channel, and the reason for it."""
    if channels.in_order:
        roles, role_reasons = channels.in_order, (POSITION,) * len(channels.in_order)
    else:
        names = describe(path).channel_names if path.is_dir() else _tiff_channels(path)
        roles, role_reasons = named_roles(names, channels, path.name), tuple(f"name {name}" for name in names)
    if not roles:
        raise EmbstoreError(f"{path.name} names no channel; name what its planes show: --channels nucleus,protein")
    return roles, role_reasons


def _channels(images: Sequence[SourceImage]) -> Iterator[str]:
    yield from (f"channels: {roles}" for roles in sorted({", ".join(image.roles) for image in images}))


def _labels(images: Sequence[SourceImage], left_out: Sequence[str]) -> Iterator[str]:
    if masked := sum(image.masks is not None for image in images):
        yield f"masks: {masked} images bring label images of their nuclei or cells"
    if left_out:
        yield f"label images whose names are not nuclei or cells, left out: {', '.join(left_out)}"


def _tiff_channels(path: Path) -> Sequence[str]:
    """Return the names of the channels of the image in an OME-TIFF."""
    xml = ome_xml(path)
    if not xml:
        raise EmbstoreError(f"{path.name} has no OME metadata; name what its planes show: --channels nucleus,protein")
    return ome_image(xml, path.name).channel_names
