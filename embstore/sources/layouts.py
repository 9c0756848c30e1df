"""The layouts by name, and how the channels of one image are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embstore.errors import EmbstoreError, ImageError, choices
from embstore.pixels.colours import brightest
from embstore.pixels.decode import read_header, read_planes
from embstore.pixels.planes import Planes
from embstore.pixels.size import PixelSize
from embstore.pixels.vendors import vendor_files
from embstore.sources.assignment import assignment_text, channels_in_file, fitting_roles
from embstore.sources.beside import table_beside
from embstore.sources.channels import Reading, parse_channels
from embstore.sources.columns import named_columns
from embstore.sources.crops import read_crops
from embstore.sources.fields import read_field_files
from embstore.sources.hpa import read_hpa
from embstore.sources.manifest import read_manifest
from embstore.sources.masks import with_masks
from embstore.sources.ome import read_ome
from embstore.sources.opencell import read_opencell
from embstore.sources.record import ATLAS, Failure, Source, SourceImage
from embstore.sources.tables import is_table_file
from embstore.sources.tool_files import files_below, what_lies_there

# layouts whose names show what each channel is
NAMED: dict[str, Callable[[Path, Reading], Source]] = {"opencell": read_opencell, "hpa": read_hpa}
# layouts that may need further information
ASKED: dict[str, Callable[[Path, Reading], Source]] = {
    "manifest": read_manifest,
    "fields": read_field_files,
    "crops": read_crops,
    "ome": read_ome,
}


# where a layout has its nuclei
CALLED = {
    "hpa": " (HPA: blue)",
    "manifest": " (a column `nucleus`, or `nucleus` in `channels`)",
    "fields": " (--channels ENDING=nucleus)",
}


def read_source(
    source: str | Path,
    layout: str,
    labels: str | Path | None,
    *,
    channels: str = "",
    source_root: str | Path | None = None,
    masks: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    whole: bool = False,
    segmented: bool = False,
) -> Source:
    """Return the contents of a folder (or one file), as the named layout reads it; nothing is decoded yet.

    `columns` gives meanings to a table's columns (`Where is it?` -> `locations`). With a folder of `masks`, each image
    has its own (see `with_masks`). An image without nucleus and mask is a failure, unless it is a crop of one cell, or
    only `whole` images are used, or they are `segmented` by a segmenter that needs no nucleus. Raises EmbstoreError
    for a wrong choice, and if nothing is found.
    """
    source, labels, source_root, masks = Path(source), _path(labels), _path(source_root), _path(masks)
    if (source / ATLAS).exists():  # its masks are images too
        raise EmbstoreError(
            f"{source} is a phantom atlas, with its truth next to its images; ingest {source / 'images'}"
        )
    if layout not in NAMED | ASKED:
        raise EmbstoreError(choices(layout, "image layout", NAMED | ASKED))
    if layout in NAMED and (channels or source_root):
        given = "--channels" if channels else "--source-root"
        raise EmbstoreError(f"{given} does not go with --layout {layout}, whose names are enough; leave it out")
    reading = Reading(labels, parse_channels(channels), source_root, named_columns(columns))
    source_images = (NAMED | ASKED)[layout](source, reading)
    if labels is None and layout != "manifest" and not is_table_file(source):
        source_images = _with_table_beside(source, layout, reading, source_images)
    if not source_images.images and not source_images.failures:
        raise EmbstoreError(_nothing_known(source, layout, source_images.notes))
    if vendors := vendor_files(files_below(source)):
        source_images = replace(source_images, notes=(*source_images.notes, vendors))
    masked = source_images if masks is None else with_masks(source_images, masks)
    return masked if whole or segmented else _cuttable(masked, CALLED.get(layout, ""))


def _with_table_beside(source: Path, layout: str, reading: Reading, source_images: Source) -> Source:
    """Return a source as described by the table next to its images, or unchanged if there is none."""
    table, notes = table_beside(source, source_images, reading.renaming)
    if table is None and reading.renaming is not None:
        why = "; ".join([f"no table describes {source}", *notes])
        raise EmbstoreError(f"--columns names columns of a table, and {why}; give it with --labels")
    described = source_images if table is None else (NAMED | ASKED)[layout](source, replace(reading, labels=table))
    return replace(described, notes=(*notes, *described.notes))


def _nothing_known(source: Path, layout: str, notes: Sequence[str]) -> str:
    """Return why a source has no image, and what it contains."""
    files = files_below(source)
    if vendors := vendor_files(files):
        return f"{source} contains {vendors}"
    seen = "; ".join([f"it contains {what_lies_there(files)}", *notes])
    return f"{source} contains no image of the layout {layout!r} ({seen}); check --layout and the folder"


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _cuttable(source: Source, called: str) -> Source:
    """Return the source with a failure instead of each image in which no cell can be found.

    `called` is where the layout has its nuclei.
    """
    without = [
        image for image in source.images if image.masks is None and not image.one_cell and "nucleus" not in image.roles
    ]
    failures = [
        Failure(
            image.listed or str(source.root / image.files[0]),
            "plan",
            f"field {image.key} has {', '.join(sorted(image.roles))} and no nucleus: cells cannot be found without it",
            f"add its nucleus channel{called}, give masks with --masks, or take whole images with --backbone "
            "NAME:unit=image",
        )
        for image in without
    ]
    images = tuple(image for image in source.images if image not in without)
    return replace(source, images=images, failures=(*source.failures, *failures))


def read_channels(root: str | Path, image: SourceImage) -> tuple[Planes, tuple[str, ...]]:
    """Return an image's channels (c, y, x) in one dtype, and the role of each.

    A pseudo-coloured RGB file of one role is read as its brightest plane at each pixel, a z-stack as its maximum
    projection. Raises ImageError if the files do not fit together.
    """
    read = [read_planes(Path(root) / file, channels_in_file(image)) for file in image.files]
    headers = [planes.header for planes in read]
    roles = fitting_roles(image, headers)
    absent = check_chunks(image.files, [planes.absent for planes in read])
    size = max((planes.size for planes in read), key=_how_sure)  # the first of the most reliable ones
    if len(image.files) == len(image.roles):
        pixels = np.stack([brightest(planes.pixels, planes.colour) for planes in read])  # (c, y, x)
    else:
        pixels = read[0].pixels
    planes = Planes(pixels, size, max(header.depth for header in headers), headers[0].axis, absent=absent)
    return replace(planes, assignment=assignment_text(image, headers)), roles


def check_chunks(files: Sequence[str], absent: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return how many chunks of an image are not stored, and how many it has; ImageError if a file has none."""
    for file, (missing, n) in zip(files, absent, strict=True):
        if missing and missing == n:
            raise ImageError(f"{file} has none of its {n} chunks, wanted pixels; copy the whole folder again")
    return sum(missing for missing, _ in absent), sum(n for _, n in absent)


def _how_sure(size: PixelSize) -> int:
    return 2 if size.um is not None else 1 if size.ignored else 0


def foresee_channels(root: str | Path, image: SourceImage) -> tuple[tuple[int, ...], tuple[str, ...], str]:
    """Return the shape (y, x), roles and assignment that `read_channels` would return, from files' headers.

    Raises the same errors, except for damage that only decoding finds.
    """
    headers = [read_header(Path(root) / file, channels_in_file(image)) for file in image.files]
    return headers[0].shape[1:], fitting_roles(image, headers), assignment_text(image, headers)
