"""How a table names cells: by `cell_id`, or by an image and the cell's label in its mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.sources.columns import MEANINGS, TextRow, column_key

NAME_COLUMNS = ("cell_id", "cell", "cell_name")
IMAGE_COLUMNS = tuple(name for name in MEANINGS["key"] if name not in NAME_COLUMNS)
# CellProfiler's ObjectNumber, and names in other tables for the value of a cell in its mask
LABEL_COLUMNS = (
    *("cell_index", "cell_label", "mask_label", "mask_id", "mask_value", "cell_number", "cell_no", "cell_nr"),
    *("object_number", "objectnumber", "object_id", "label_id", "instance_id", "nucleus_label", "label"),
)


def cell_naming(
    path: Path, rows: Sequence[tuple[int, TextRow]], *, taken: Iterable[str], asked: bool
) -> Callable[[TextRow], str] | None:
    """Return the function from a row (with its line) to its cell's name, `image:label` or a cell_id; None if
    impossible.

    Columns that are `taken` have another meaning. The function raises EmbstoreError, with the line, for a label that is
    not a whole number from 1: 0 means the outside of cells in a mask, so that 0 among the labels shows that they were
    counted from 0. Columns of text name cells only if labels of cells were `asked` for.
    """
    columns = {column_key(column): column for column in (rows[0][1] if rows else ()) if column not in taken}
    image, name, label = (
        next((columns[key] for key in keys if key in columns), None)
        for keys in (IMAGE_COLUMNS, NAME_COLUMNS, LABEL_COLUMNS)
    )
    if name and image and _all_whole(rows, name):
        label = name  # cell 1, 2, 3 of an image
    elif name:
        return lambda row: row[name].strip()
    if not image or not label or not (asked or _all_whole(rows, label)):
        return None
    for line, row in rows:
        if not _whole(row[label]):
            raise EmbstoreError(
                f"{path}, line {line}: {label} is {row[label]!r}; wanted the cell's label in the mask of "
                f"{row[image]!r}, a whole number from 1 (0 is outside the cells)"
            )
    return lambda row: f"{row[image].strip()}:{_whole(row[label])}"


def labels_of_cells_error(path: Path) -> EmbstoreError:
    """Return the error for labels of cells that an ingest is given: cells are known once images are in."""
    return EmbstoreError(
        f"{path.name} labels cells, which are known once their images are in the store; ingest without it, then run "
        f"embstore labels add {path} --level cell --dataset NAME"
    )


def _all_whole(rows: Iterable[tuple[int, TextRow]], column: str) -> bool:
    return all(_whole(row[column]) is not None for _, row in rows)


def _whole(text: str) -> int | None:
    number = text.strip().removesuffix(".0")
    return int(number) if number.isdecimal() else None
