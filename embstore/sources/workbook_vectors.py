"""Embeddings in Excel workbooks; a sheet is read whole, since its cells cannot be read by column."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from embstore.arrays import Float64s
from embstore.errors import EmbstoreError
from embstore.sources.numerals import plain_numbers
from embstore.sources.values import as_text, clean_name
from embstore.sources.workbooks import open_sheet, sheet_records

ROWS_AT_ONCE = 4096
_Part = Float64s | list[object]  # some cells of a column: numbers with NaN if a cell is empty, else as they are typed


@dataclass(frozen=True, repr=False)
class WorkbookTable:
    """A sheet of a workbook: numbers if every cell of a column is one, else text."""

    path: Path
    table: pa.Table
    rows: Sequence[int]
    notes: tuple[str, ...] = ()
    indices: Collection[str] = ()

    def __repr__(self) -> str:
        return f"<WorkbookTable {self.path.name}: {len(self.rows)} rows, {self.table.num_columns} columns>"

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self.table.schema

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns whole."""
        return self.table.select(list(names))

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; empty if there is no row."""
        return self.table[name].slice(0, ROWS_AT_ONCE).combine_chunks()

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns, at most so many rows at a time."""
        yield from self.table.select(list(names)).to_batches(max_chunksize=rows)

    def lines(self, rows: int) -> Sequence[int]:
        """Return the row of the sheet that contains each row, as Excel counts."""
        return self.rows[:rows]


def open_workbook(path: Path, named: Sequence[str], *, header: bool) -> WorkbookTable:
    """Return a sheet of embeddings; `named` columns are text. Without a `header`, columns are called 1, 2, 3, ...

    Raises EmbstoreError if the sheet has nothing.
    """
    sheet = open_sheet(path)
    records = sheet_records(sheet)
    begins = next(records, None)
    if begins is None:
        raise EmbstoreError(f"{path} has nothing in sheet {sheet.name}; wanted a table with a header row")
    names = [clean_name(as_text(cell)) if header else str(at) for at, cell in enumerate(begins[1], start=1)]
    numbers = [] if header else [begins[0]]
    columns: list[list[_Part]] = [[] for _ in names]
    if not header:
        _add(columns, [begins[1]])
    while block := list(islice(records, ROWS_AT_ONCE)):
        numbers += [number for number, _ in block]
        _add(columns, [cells for _, cells in block])
    arrays = [_column(f"{path}: {name}", parts, text=name in named) for name, parts in zip(names, columns, strict=True)]
    return WorkbookTable(path, pa.table(arrays, names=names), numbers, sheet.notes)


def _add(columns: Sequence[list[_Part]], rows: Sequence[Sequence[object]]) -> None:
    for parts, cells in zip(columns, zip(*rows, strict=True), strict=True):
        parts.append(_numbers(cells) if all(map(_is_number, cells)) else list(cells))


def _is_number(cell: object) -> bool:
    return cell is None or (isinstance(cell, (int, float)) and not isinstance(cell, bool))


def _numbers(cells: Sequence[object]) -> Float64s:
    return np.array(cells, dtype=np.float64)  # None becomes NaN


def _column(what: str, parts: Sequence[_Part], *, text: bool) -> pa.Array:
    """Return the cells of a column: whole numbers, numbers, or text, which may be numbers that are stored as text."""
    if not parts:
        return pa.array([], pa.string() if text else pa.float64())
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts) and not text:
        return _arrow(np.concatenate(arrays))
    texts = [_written(cell) for part in parts for cell in (_listed(part) if isinstance(part, np.ndarray) else part)]
    floats = None if text else _stored_as_text(what, texts)
    return pa.array(texts, pa.string()) if floats is None else _arrow(floats)


def _listed(numbers: Float64s) -> list[float | None]:
    return [None if np.isnan(number) else number for number in numbers.tolist()]


def _written(cell: object) -> str:
    """Return a text unchanged (`nan` is counted as missing later), and anything else as text."""
    return cell if isinstance(cell, str) else as_text(cell)


def _arrow(numbers: Float64s) -> pa.Array:
    whole = bool(len(numbers)) and bool(np.isfinite(numbers).all()) and bool((numbers == np.floor(numbers)).all())
    return pa.array(numbers.astype(np.int64) if whole and abs(numbers).max() < 2**53 else numbers, from_pandas=True)


def _stored_as_text(what: str, texts: Sequence[str]) -> Float64s | None:
    """Return the numbers of a column of text, None if some text is not a number."""
    try:
        plain = plain_numbers(list(map(as_text, texts)), what)
        return np.array([float(number) if number else np.nan for number in plain])
    except (ValueError, EmbstoreError):  # if the column is needed, text is refused there
        return None
