"""The manifest layout: a CSV or Parquet with one row for each field, its files in columns named by role."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.hdf5 import file_and_dataset
from embstore.ids import split_list
from embstore.sources.channels import Channels, Reading
from embstore.sources.columns import (
    FILE_COLUMNS,
    ImageFields,
    TextRow,
    column_key,
    description,
    known_columns,
    locations_of,
    notes_on,
    tidy_rows,
    unknown_ids,
)
from embstore.sources.delimited import refuse_workbook
from embstore.sources.located import difference, existing_like, foreign_folder, with_slashes, without_folder
from embstore.sources.record import POSITION, Failure, Source, SourceImage, labels_of
from embstore.sources.tables import TABLE_SUFFIXES, abridged, bare_name, is_image, is_table_file, text_table

LOAD_DATA = re.compile(r"(?P<image>Image_)?FileName_(?P<channel>.+)", re.IGNORECASE)  # CellProfiler's LoadData
DEFAULT_NAMES = tuple(f"manifest{suffix}" for suffix in TABLE_SUFFIXES)


@dataclass(frozen=True)
class ManifestColumns:
    """The columns of a manifest: role -> column of files, or one `file` column with its `channels`."""

    known: dict[str, str]
    by_role: dict[str, str]
    file: str | None
    channels: str | None
    folder: str | None  # the folder of the keys: SubCell's lists repeat their prefixes in every folder
    in_order: tuple[str, ...]  # the roles of a multi-channel file whose row does not name them
    paths: dict[str, str]  # CellProfiler's column FileName_X -> PathName_X, the folder of its files

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that determine where pixels are."""
        return tuple(c for c in (*self.by_role.values(), *self.paths.values(), self.file, self.channels) if c)

    def files_of(self, row: TextRow) -> dict[str, str]:
        """Return column -> file of a row, with its folder if a column has it."""
        columns = [self.file] if self.file else self.by_role.values()
        named = {column: row[column].strip() for column in columns if row[column].strip()}
        folders = {column: row[path].strip().rstrip("/\\") for column, path in self.paths.items()}
        return {c: _joined(folders[c], file) if folders.get(c) else file for c, file in named.items()}


def read_manifest(source: Path, reading: Reading, *, one_cell: bool = False) -> Source:
    """Return the fields that a manifest lists; files are relative to its folder, or another root, and below it.

    Every row that cannot be used is a failure with its line; the others are read. With `one_cell`, a row is one cell
    that fills its files. Raises EmbstoreError if the columns do not determine where the pixels are.
    """
    if reading.labels:
        raise EmbstoreError(
            "--labels does not go with a manifest: give locations in its column `locations`, or later "
            "with `embstore labels add`"
        )
    path = find_manifest(source)
    table = text_table(path, reading.renaming, as_written=True)
    rows = table.numbered
    if not rows:
        raise EmbstoreError(f"{path} has no row below its header; wanted one for each field")
    root = (reading.root or path.parent).resolve()
    columns = _columns(path, list(rows[0][1]), reading.channels)
    missing = tidy_rows(rows, columns.known, columns.used)
    located = _Located(root, foreign_folder(root, [f for _, row in rows for f in columns.files_of(row).values()]))
    images, keyed, failures = _images(located, path, rows, columns, one_cell=one_cell)
    locations = locations_of(path, keyed, columns.known)
    return Source(
        root,
        tuple(images),
        labels_of(locations, path.name),
        tuple(failures),
        (
            f"{path.name}: {len(images)} of {len(rows)} rows can be used; {_columns_used(columns)}",
            *notes_on(table, columns.known),
            *located.notes,
            *_unread_files(rows, columns),
            *_shared_files(images),
            *missing,
            *unknown_ids((row for _, row in rows), columns.known),
        ),
        tuple(locations),
        (str(path),),
    )


@dataclass(frozen=True)
class _Located:
    """Where a manifest's files are: its root, and the folder of another computer that corresponds to it."""

    root: Path
    foreign: str | None

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"{self.foreign} in the table is read as {self.root}",) if self.foreign else ()

    def path(self, file: str) -> str:
        below = without_folder(file, self.foreign) if self.foreign else file
        return _below(self.root, with_slashes(self.root, below))


def _images(
    located: _Located, path: Path, rows: Sequence[tuple[int, TextRow]], columns: ManifestColumns, *, one_cell: bool
) -> tuple[list[SourceImage], list[tuple[str, TextRow]], list[Failure]]:
    """Return the images that rows describe, those rows by the key of their image, and a failure for each other row."""
    images: list[SourceImage] = []
    keyed: list[tuple[str, TextRow]] = []
    failures: list[Failure] = []
    lines: dict[str, int] = {}
    for line, row in rows:
        image, errors = _image(located, row, columns, f"{path}:{line}", one_cell=one_cell)
        if image.key in lines:
            errors.append(f"{image.key} is in line {lines[image.key]} already, wanted each once")
        if errors:
            todo = "correct the row, then run the same command again"
            failures.append(Failure(f"{path}:{line}", "plan", "; ".join(errors), todo))
            continue
        lines[image.key] = line
        images.append(image)
        keyed.append((image.key, row))
    return images, keyed, failures


def find_manifest(source: Path) -> Path:
    """Return the table itself, or the one called manifest in a folder; EmbstoreError if there is none."""
    refuse_workbook(source)
    if is_table_file(source):
        return source
    for name in DEFAULT_NAMES:
        if (source / name).is_file():
            return source / name
    todo = f"give a CSV or Parquet, or name it {DEFAULT_NAMES[0]}"
    raise EmbstoreError(f"{source} is no manifest and contains none; {todo}")


def file_columns(columns: Sequence[str], channels: Channels) -> tuple[dict[str, str], str | None]:
    """Return role -> column of the columns of files, and the column of multi-channel files.

    CellProfiler's `FileName_DNA` is a column of the channel `DNA`. A column that the user gave a role takes precedence.
    """
    by_role: dict[str, str] = {}
    named = {channels.by_name[column] for column in columns if column in channels.by_name}
    for column in columns:
        loaded = LOAD_DATA.fullmatch(column)
        role = channels.role(column) or (channels.role(loaded["channel"]) if loaded else None)
        if role and role not in by_role and (column in channels.by_name or role not in named):
            by_role[role] = column
    file = next((column for column in columns if column_key(column) in FILE_COLUMNS), None)
    return by_role, file


def _columns(path: Path, columns: Sequence[str], channels: Channels) -> ManifestColumns:
    by_role, file = file_columns(columns, channels)
    named = next((c for c in columns if c.lower() == "channels"), None)
    absent = sorted(name for name in channels.by_name if name not in columns)
    problem = f"{path} has the columns {', '.join(columns)}"
    if absent:
        raise EmbstoreError(f"{problem}, and no {', '.join(absent)} that --channels names")
    if by_role and file:
        raise EmbstoreError(
            f"{problem}: both {file} and {', '.join(by_role.values())}; wanted one file for each row, or for each role"
        )
    if not by_role and not file:
        raise EmbstoreError(
            f"{problem}; wanted files in columns named by role (nucleus, protein, ...) or in `file` with `channels`; "
            "other names: --channels COLUMN=ROLE,..."
        )
    if file and not named and not channels.in_order:
        todo = f"name what the planes of {file} show: --channels nucleus,protein"
        raise EmbstoreError(f"{problem} and no channels; {todo}")
    known = known_columns(c for c in columns if c not in by_role.values())
    folder = "output_folder" if known.get("key") == "output_prefix" and "output_folder" in columns else None
    return ManifestColumns(known, by_role, file, named, folder, channels.in_order, _paths(columns, by_role))


def _paths(columns: Sequence[str], by_role: Mapping[str, str]) -> dict[str, str]:
    """Return FileName_X -> PathName_X for the columns of CellProfiler if a table has both."""
    lower = {column.lower(): column for column in columns}
    pairs = {c: lower.get(c.lower().replace("filename_", "pathname_", 1)) for c in by_role.values()}
    return {column: path for column, path in pairs.items() if path and LOAD_DATA.fullmatch(column)}


def _joined(folder: str, file: str) -> str:
    """Return a file after its folder, separated as the folder is."""
    return f"{folder}\\{file}" if "\\" in folder and "/" not in folder else f"{folder}/{file}"


def _unread_files(rows: Sequence[tuple[int, TextRow]], columns: ManifestColumns) -> tuple[str, ...]:
    """Return a note for each column of image files that has no role."""
    meant = {*columns.used, *columns.known.values()}
    texts = {c: [row[c] for _, row in rows if row[c]] for c in rows[0][1] if c not in meant}
    unread = [c for c, values in texts.items() if values and all(is_image(Path(value)) for value in values)]
    return tuple(
        f"{column} names files, but is not a known channel: left out (--channels {column}=ROLE)" for column in unread
    )


def _shared_files(images: Sequence[SourceImage]) -> tuple[str, ...]:
    """Return a note that counts the files that several rows name."""
    counts = Counter(file for image in images for file in set(image.files))
    shared = sorted(file for file, count in counts.items() if count > 1)
    return (f"files that several rows name: {abridged(shared)}",) if shared else ()


def _image(
    located: _Located, row: TextRow, columns: ManifestColumns, listed: str, *, one_cell: bool
) -> tuple[SourceImage, list[str]]:
    """Return the image that a row describes, and everything that is wrong with it."""
    errors: list[str] = []
    files, roles, role_reasons = _files(row, columns)
    errors += _unusable_roles(roles) if files else ["it names no file"]
    files = tuple(map(located.path, files))
    errors += [error for file in files if (error := _unusable_file(located.root, file))]
    try:
        fields: ImageFields = description(row, columns.known, columns.used)
    except EmbstoreError as error:
        errors.append(str(error))
        fields = {}
    key = _key(row, columns) or (bare_name(files[0]) if files else "")
    if not key.isprintable():
        errors.append(f"its key {key!r} cannot be printed")
    image = SourceImage(
        key=key, files=files, roles=roles, one_cell=one_cell, listed=listed, role_reasons=role_reasons, **fields
    )
    return image, errors


def _key(row: TextRow, columns: ManifestColumns) -> str:
    key = row.get(columns.known.get("key", ""), "").strip()
    if columns.folder is None:
        return key
    return "/".join(part for part in Path(row[columns.folder].strip(), key).parts if part not in ("/", ".."))


def _files(row: TextRow, columns: ManifestColumns) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the files of a row, its roles, and the reason for each."""
    if columns.file:
        roles = tuple(split_list(row[columns.channels], ",;")) if columns.channels else ()
        why = f"{POSITION}, column {columns.channels}" if roles else POSITION
        roles = roles or columns.in_order
        return tuple(columns.files_of(row).values()), roles, (why,) * len(roles)
    files = columns.files_of(row)
    pairs = {role: column for role, column in columns.by_role.items() if column in files}
    return tuple(files[c] for c in pairs.values()), tuple(pairs), tuple(f"column {c}" for c in pairs.values())


def _unusable_roles(roles: Sequence[str]) -> list[str]:
    if not roles:
        return ["it has no channel"]
    return [f"its channels are {', '.join(roles)}, wanted each role once"] if len(set(roles)) != len(roles) else []


def _below(root: Path, file: str) -> str:
    """Return a path relative to the root if it is below, else unchanged."""
    plain = Path(os.path.normpath(file))
    if plain.is_absolute() and file.isprintable():
        # the root has no links, but a table may name files through links
        beside = (plain, Path(os.path.realpath(plain.parent)) / plain.name)
        plain = next((path.relative_to(root) for path in beside if path.is_relative_to(root)), plain)
    return plain.as_posix()


def _unusable_file(root: Path, file: str) -> str | None:
    if Path(file).is_absolute() or Path(file).parts[:1] == ("..",):
        return f"{file} is not below {root}, wanted a path that does (or another --source-root)"
    try:
        if file_and_dataset(root / file)[0].exists():
            return None
        other = existing_like(root, file)
        return f"{file} does not exist" + (f", {other} does: {difference(file, other)}" if other else "")
    except (OSError, ValueError) as error:  # a null byte, a name that is too long
        return f"{file[:80]!r} cannot be a file ({error})"


def _columns_used(columns: ManifestColumns) -> str:
    files = f"files in {columns.file}" if columns.file else ", ".join(f"{c}: {r}" for r, c in columns.by_role.items())
    known = ", ".join(f"{column} as {meaning}" for meaning, column in columns.known.items())
    return files + (f"; {known}" if known else "")
