"""Which row of a table describes which image: by its key, the names of its files, or its well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError
from embstore.sources.columns import FILE_COLUMNS, TextRow, column_key, known_columns
from embstore.sources.joining import keys_by_name, loose_name, well_name
from embstore.sources.record import Failure, SourceImage
from embstore.sources.tables import TextTable, is_image

NumberedRow = tuple[int, TextRow]


@dataclass(frozen=True)
class ImageRows:
    """The rows of a table by the key of the image that each describes, and those that describe none, or several."""

    column: str  # that names images
    by_image: dict[str, NumberedRow] = field(default_factory=dict)
    unmet: list[str] = field(default_factory=list)
    shared: dict[str, Sequence[str]] = field(default_factory=dict)  # name that fits several images -> their keys
    failures: list[Failure] = field(default_factory=list)


def image_rows(
    path: Path, rows: Sequence[NumberedRow], known: Mapping[str, str], root: Path, images: Sequence[SourceImage]
) -> ImageRows:
    """Return which row describes which image, by the column that matches most of them.

    A column names images (`image_id`), their files, or wells. If two rows of one image differ, the first is used and
    the other is a failure. Raises EmbstoreError if no column names images.
    """
    ways = list(_ways(rows, known, root, images))
    if not ways:
        listed = ", ".join(rows[0][1]) if rows else "no row"
        raise EmbstoreError(
            f"{path} has {listed}; wanted a column that names images (image_id, key, cell), files (file) or wells "
            "(well); add a table of proteins later, with embstore labels add"
        )
    naming = {way.column for way in ways}
    described = [column for column in known.values() if column not in naming]
    return max((_joined(path, rows, way, described) for way in ways), key=lambda joined: len(joined.by_image))


@dataclass(frozen=True)
class _Way:
    """A column that may name images: the name in a row, and the keys of the images with that name."""

    column: str
    name: Callable[[TextRow], str]
    find: Callable[[str], Sequence[str]]
    several: bool = False  # images may share a row, as those of a well do


def _ways(
    rows: Sequence[NumberedRow], known: Mapping[str, str], root: Path, images: Sequence[SourceImage]
) -> Iterator[_Way]:
    names = _Names.of_images(root, images)
    files = [column for column in (rows[0][1] if rows else ()) if names_files(column, rows)]
    for column in dict.fromkeys([*([known["key"]] if "key" in known else []), *files]):
        yield _Way(column, partial(_cell, column), names.find)
    if "well" in known:
        place = [meaning for meaning in ("plate", "well") if meaning in known]
        columns = [known[meaning] for meaning in place]
        by_place: dict[str, list[str]] = {}
        for image in images:
            by_place.setdefault(_place([getattr(image, meaning) or "" for meaning in place]), []).append(image.key)
        yield _Way(
            columns[-1], lambda row: _place([row[c] for c in columns]), lambda n: by_place.get(n, ()), several=True
        )


def _cell(column: str, row: TextRow) -> str:
    return row[column].strip()


def names_images(table: TextTable) -> bool:
    """True if some column of a table may name images, their files or wells."""
    known = known_columns(table.columns)
    return not known.keys().isdisjoint({"key", "well"}) or any(names_files(c, table.numbered) for c in table.columns)


def names_files(column: str, rows: Sequence[NumberedRow]) -> bool:
    """True if a column has a name for files, or if every name in it is that of an image file."""
    texts = [row[column] for _, row in rows if row[column]]
    return bool(texts) and (column_key(column) in FILE_COLUMNS or all(is_image(Path(text)) for text in texts))


@dataclass(frozen=True)
class _Names:
    """The names of images, unchanged and as people write them, with the keys of the images."""

    exact: Mapping[str, Sequence[str]]
    loose: Mapping[str, Sequence[str]]

    @classmethod
    def of_images(cls, root: Path, images: Sequence[SourceImage]) -> _Names:
        loose: dict[str, list[str]] = {}
        for image in images:
            for name in dict.fromkeys(_forms(root, image)):
                loose.setdefault(name, []).append(image.key)
        return cls(keys_by_name(image.key for image in images), loose)

    def find(self, name: str) -> Sequence[str]:
        """Return the keys of the images that a name may mean; only the one whose key it is, if there is one."""
        exact = self.exact.get(name, ())
        if name in exact:
            return [name]
        loose = loose_name(name)
        return exact or self.loose.get(loose, ()) or self.loose.get(_with_folder(loose), ())


def _forms(root: Path, image: SourceImage) -> Iterator[str]:
    """Yield the names of an image, and of its files, with and without folders."""
    for name in (image.key, *image.files):
        yield loose_name(name)
        yield loose_name(PurePosixPath(name).name)
    for file in image.files:
        yield _with_folder(loose_name((root.resolve() / file).as_posix()))


def _with_folder(name: str) -> str:
    """Return a path's last folder and its name: `p1/f1` of `/data/p1/f1`."""
    return "/".join(PurePosixPath(name).parts[-2:])


def _place(texts: Sequence[str]) -> str:
    """Return plate and well, or the well alone, the well as row and column."""
    *plate, well = (text.strip() for text in texts)
    return " ".join([*plate, well_name(well)])


def _joined(path: Path, rows: Sequence[NumberedRow], way: _Way, described: Sequence[str]) -> ImageRows:
    """Return which row describes which image; `described` are the columns that describe an image."""
    joined = ImageRows(way.column)
    by_name: dict[str, TextRow] = {}
    for line, row in rows:
        name = way.name(row)
        if not name:
            continue
        if name in by_name:
            if by_name[name] != row:
                error = f"{name} has an earlier row, which is used"
                joined.failures.append(Failure(f"{path}:{line}", "plan", error, "keep one row of it"))
            continue
        by_name[name] = row
        keys = way.find(name)
        if not keys:
            joined.unmet.append(name)
        elif len(keys) > 1 and not way.several:
            joined.shared[name] = keys
        else:
            others = _taken(joined, keys, (line, row), described)
            todo = "keep one row of it"
            joined.failures.extend(Failure(f"{path}:{line}", "plan", f"{name} is {other}", todo) for other in others)
    return joined


def _taken(joined: ImageRows, keys: Sequence[str], row: NumberedRow, described: Sequence[str]) -> Iterator[str]:
    """Use a row for its images; yield each that has a row of another name with another description."""
    for key in keys:
        line, first = joined.by_image.setdefault(key, row)
        if any(first[column] != row[1][column] for column in described):
            yield f"{key} too, which line {line} describes differently; that line is used"
