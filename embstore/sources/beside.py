"""Find a table in a folder of images that describes them; if there are several, none is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.sources.columns import known_columns
from embstore.sources.delimited import OTHER_WORKBOOKS
from embstore.sources.image_rows import image_rows
from embstore.sources.record import Source
from embstore.sources.tables import Renaming, abridged, is_table_file, text_table

MOST_BYTES = 64 << 20  # a larger one is not a list of images, but of measurements


def table_beside(folder: Path, source: Source, renaming: Renaming | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the only table in a folder that has one row for some of its images, and notes on other tables.

    Returns None if no table or several match; the notes name those, and tables that cannot be read.
    """
    if not folder.is_dir() or not source.images:
        return None, ()
    describing: list[Path] = []
    unread: list[str] = []
    for path in _tables(folder):
        try:
            if path.stat().st_size <= MOST_BYTES and _describes(path, source, renaming):
                describing.append(path)
        except EmbstoreError as error:
            unread.append(f"{path.name} is next to the images, but cannot be read: {error}")
    unread += [f"{path.name} is next to the images, but is not read: save it as .xlsx" for path in _other_books(folder)]
    names = [path.name for path in describing]
    if len(describing) > 1:
        return None, (
            f"tables that describe these images: {abridged(names)}; none is read: choose with --labels",
            *unread,
        )
    notes = tuple(f"{name} is next to the images and describes them: read as --labels" for name in names)
    return next(iter(describing), None), (*notes, *unread)


def _tables(folder: Path) -> Sequence[Path]:
    """Return the tables of a folder, without hidden files and the lock files of open Excel workbooks."""
    return sorted(path for path in folder.iterdir() if is_table_file(path) and not path.name.startswith((".", "~$")))


def _other_books(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in OTHER_WORKBOOKS and path.is_file())


def _describes(path: Path, source: Source, renaming: Renaming | None) -> bool:
    table = text_table(path, renaming)
    try:
        rows = image_rows(path, table.numbered, known_columns(table.columns), source.root, source.images)
    except EmbstoreError:  # no column names images
        return False
    return bool(rows.by_image) and not rows.failures
