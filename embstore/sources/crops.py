"""The crops layout: each image is one cell, cut out by another tool; in a folder, a manifest or a SubCell list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.sources.channels import Channels, Reading
from embstore.sources.columns import Row, description, known_columns, locations_of
from embstore.sources.manifest import read_manifest
from embstore.sources.record import Fault, Source, SourceImage, labels_of
from embstore.sources.tables import TABLE_SUFFIXES, bare_name, image_files, numbered_rows

TODO = "rename it, or say what it shows: --channels NAME=ROLE for `<cell>_NAME.tif`"


def read_crops(source: Path, reading: Reading) -> Source:
    """Return crops of one cell each: `<cell>_<channel>` files of a folder, multi-channel files, or rows of a table.

    In a folder, `channels.in_order` names the planes of multi-channel files; else the word behind the last `_` says
    what a file shows. `labels` has a row a cell, by the name of its files. A table is read like a manifest (columns
    `r_image, y_image, b_image, g_image, output_prefix` are SubCellPortable's).
    """
    if source.is_file() and source.suffix in TABLE_SUFFIXES:
        return read_manifest(source, reading, one_cell=True)
    if reading.root:
        raise EmbstoreError("--source-root goes with a table of crops; leave it out, or give the table")
    channels, labels = reading.channels, reading.labels
    root, paths = image_files(source)
    images, faults = _multi_channel(root, paths, channels) if channels.in_order else _by_name(root, paths, channels)
    if labels is None:
        return Source(root, tuple(images), faults=tuple(faults))
    return _described(Source(root, tuple(images), faults=tuple(faults)), labels)


def _multi_channel(root: Path, paths: Sequence[Path], channels: Channels) -> tuple[list[SourceImage], list[Fault]]:
    files = [path.relative_to(root).as_posix() for path in paths]
    return [SourceImage(bare_name(f), (f,), channels.in_order, one_cell=True) for f in files], []


def _by_name(root: Path, paths: Sequence[Path], channels: Channels) -> tuple[list[SourceImage], list[Fault]]:
    cells: dict[str, dict[str, str]] = {}
    faults = []
    for path in paths:
        file = path.relative_to(root).as_posix()
        key, _, name = bare_name(file).rpartition("_")
        role = channels.role(name)
        if not key or role is None:
            error = f"its name does not say what it shows: {name!r} is no channel that is known"
            faults.append(Fault(str(path), "plan", error, TODO))
        elif rival := cells.setdefault(key, {}).get(role):
            faults.append(Fault(str(path), "plan", f"{rival} is the {role} of {key} too", "keep one of them"))
        else:
            cells[key][role] = file
    return [_image(key, files) for key, files in cells.items() if files], faults


def _image(key: str, files: Mapping[str, str]) -> SourceImage:
    order = sorted(files, key=lambda role: (role != "nucleus", role != "protein", role))
    return SourceImage(key, tuple(files[role] for role in order), tuple(order), one_cell=True)


def _described(source: Source, path: Path) -> Source:
    """Add what a table with a row a cell says of them: proteins, genes, locations, any further column."""
    rows = numbered_rows(path)
    known = known_columns(rows[0][1]) if rows else {}
    if "key" not in known:
        found = ", ".join(rows[0][1]) if rows else "no row"
        raise EmbstoreError(f"{path} has {found}; wanted a column `cell` or `key` with the names of the cells")
    by_key, faults = _by_key(path, rows, known["key"])
    images, keyed = [], []
    for image in source.images:
        row = by_key.get(image.key) or by_key.get(Path(image.key).name)
        if row is None:
            images.append(image)
            continue
        keyed.append((image.key, row))
        images.append(replace(image, **description(row, known)))
    notes = (f"labels: {len(keyed)} of {len(images)} cells have a row in {path.name}",)
    said = locations_of(keyed, known)
    return replace(
        source,
        images=tuple(images),
        labels=labels_of(said, path.name),
        asked=tuple(said),
        faults=(*source.faults, *faults),
        notes=notes,
        sound=(str(path),),
    )


def _by_key(path: Path, rows: Sequence[tuple[int, Row]], key: str) -> tuple[dict[str, Row], list[Fault]]:
    found: dict[str, Row] = {}
    faults = []
    for line, row in rows:
        if found.setdefault(row[key].strip(), row) != row:
            error = f"{row[key]} has another row before this one"
            faults.append(Fault(f"{path}:{line}", "plan", error, "keep one row a cell; the first was taken"))
    return found, faults
