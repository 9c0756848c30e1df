"""The crops layout: each image is one cell, cut out by another tool; in a folder, a manifest or a SubCell list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.sources.channels import Channels, Reading
from embstore.sources.composites import composite_files, composites_note, named_composite
from embstore.sources.described import with_descriptions
from embstore.sources.grouped import grouped
from embstore.sources.manifest import read_manifest
from embstore.sources.record import POSITION, Failure, Source, SourceImage
from embstore.sources.tables import IMAGE_SUFFIXES, bare_name, image_files, is_table_file

_TODO = "rename it, or name what it shows: --channels NAME=ROLE for `<cell>_NAME.tif`"


def read_crops(source: Path, reading: Reading) -> Source:
    """Return crops of one cell each: `<cell>_<channel>` files of a folder, multi-channel files, or rows of a table.

    In a folder, `channels.in_order` names the planes of multi-channel files; otherwise the word after the last `_` is
    the channel. `labels` has a row for each cell, by the name of its files. A table is read like a manifest (columns
    `r_image, y_image, b_image, g_image, output_prefix` are SubCellPortable's). Raises EmbstoreError for a wrong choice.
    """
    if is_table_file(source):
        return read_manifest(source, reading, one_cell=True)
    if reading.root:
        raise EmbstoreError("--source-root goes with a table of crops; leave it out, or give the table")
    channels, labels = reading.channels, reading.labels
    root, paths = image_files(source, suffixes=(*IMAGE_SUFFIXES, ".npy"))
    if channels.in_order:
        described = Source(root, _multi_channel(root, paths, channels))
    else:
        described = _by_name(root, paths, channels)
    return with_descriptions(described, labels, reading.renaming) if labels else described


def _multi_channel(root: Path, paths: Sequence[Path], channels: Channels) -> tuple[SourceImage, ...]:
    files = [path.relative_to(root).as_posix() for path in paths]
    role_reasons = (POSITION,) * len(channels.in_order)
    roles = channels.in_order
    return tuple(SourceImage(bare_name(f), (f,), roles, one_cell=True, role_reasons=role_reasons) for f in files)


def _by_name(root: Path, paths: Sequence[Path], channels: Channels) -> Source:
    named = []
    failures = []
    merged = []
    for path in paths:
        file = path.relative_to(root).as_posix()
        key, _, name = bare_name(file).rpartition("_")
        role = channels.role(name)
        if key and role:
            named.append((file, key, role, f"name {name}"))
        elif named_composite(file):
            merged.append(file)
        else:
            error = f"{name!r} in its name is not a known channel"
            failures.append(Failure(str(path), "plan", error, _TODO))
    composites = composite_files((file, key, role) for file, key, role, _ in named)
    images, doubled = grouped(root, [item for item in named if item[0] not in composites], one_cell=True)
    notes = composites_note([*composites, *merged])
    return Source(root, tuple(images), failures=(*failures, *doubled), notes=tuple(notes))
