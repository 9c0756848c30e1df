"""Write rows to stdout as a table, JSON, CSV or Parquet, and messages to stderr."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from embstore.errors import EmbstoreError
from embstore.tabular import pylist
from embstore_cli.context import Format
from embstore_cli.terminal import discard, escaped, make_console
from embstore_cli.values import csv_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

    from embstore.tabular import Tabular

MOST_ROWS = 10_000  # of a table; more of them are data
ROWS_AT_A_TIME = 10_000  # converted to Python values at once
PART_BYTES = 64 << 20
ALL_OF_IT = "--format csv, json or parquet"


def emit_table(
    answer: Tabular | pa.Table | pa.RecordBatchReader,
    form: Format,
    *,
    title: str = "",
    people: Sequence[str] = (),
    faint: str = "",
) -> None:
    """Write an answer of the library to stdout: as CSV, JSON or Parquet with all rows and columns, else as a table.

    Of a reader of record batches only a few are in memory at a time. At a terminal, the table has the columns `people`
    (default: all), in that order, as far as they fit; in a pipe it has all columns at their full width. `faint` names a
    boolean column whose true rows are dimmed.
    """
    import pyarrow as pa

    if not isinstance(answer, (pa.Table, pa.RecordBatchReader)):
        answer = answer.to_arrow()
    if form is Format.table:
        _write_table(answer, title, people, faint)
        return
    reader = answer.to_reader() if isinstance(answer, pa.Table) else answer
    {Format.json: _write_json, Format.csv: _write_csv, Format.parquet: _write_parquet}[form](reader)


def say(text: str) -> None:
    """Write one line for people to stderr; if stderr was closed, the command continues."""
    try:
        make_console(stderr=True).print(escaped(text), markup=False, soft_wrap=True)
    except BrokenPipeError:
        discard(sys.stderr)


def end_process(error: str) -> NoReturn:
    """Write an error's line to stderr and end the process, whatever its other threads are doing."""
    say(f"error: {error}")
    os._exit(1)


def print_line(text: str = "", *, style: str = "") -> None:
    """Write one line for people to stdout."""
    make_console().print(escaped(text), markup=False, soft_wrap=True, style=style or None)


def _write_table(answer: pa.Table | pa.RecordBatchReader, title: str, people: Sequence[str], faint: str) -> None:
    import pyarrow as pa

    from embstore_cli.tables import print_table

    table = answer if isinstance(answer, pa.Table) else _first_rows(answer, MOST_ROWS + 1)
    shown = table.slice(0, MOST_ROWS)
    names = [name for name in people if name in table.column_names] if make_console().is_terminal else []
    values = {name: pylist(shown[name]) for name in names or table.column_names}
    n_columns = print_table(values, title=title, dimmed=pylist(shown[faint]) if faint else ())
    if table.num_rows > MOST_ROWS:
        say(f"only the first {MOST_ROWS} rows are shown; all of them: {ALL_OF_IT}")
    if n_columns < table.num_columns:
        say(f"{n_columns} of {table.num_columns} columns are shown; all of them: {ALL_OF_IT}")


def _first_rows(reader: pa.RecordBatchReader, n: int) -> pa.Table:
    """Return at least the first `n` rows, or all where there are fewer."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    while sum(batch.num_rows for batch in batches) < n and (batch := next(reader, None)) is not None:
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=reader.schema)


def _write_json(reader: pa.RecordBatchReader) -> None:
    escape = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    sys.stdout.write("[")
    before = "\n "
    for row in _rows(reader):
        text = json.dumps({name: plain(value) for name, value in row.items()}, indent=1, ensure_ascii=escape)
        sys.stdout.write(before + text.replace("\n", "\n "))
        before = ",\n "
    sys.stdout.write("]\n" if before == "\n " else "\n]\n")


def _write_csv(reader: pa.RecordBatchReader) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # it is a file's text: a replaced letter would be another name
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(reader.schema.names)
    for columns in _columns(reader):
        writer.writerows(zip(*map(_csv_values, columns), strict=True))


def _csv_values(column: pa.Array) -> list[Any]:
    import pyarrow.types as kinds

    values = pylist(column)
    if kinds.is_string(column.type) or kinds.is_integer(column.type):
        return values  # as csv writes them, None as an empty field
    return [csv_text(plain(value)) for value in values]


def _rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for columns in _columns(reader):
        for values in zip(*map(pylist, columns), strict=True):
            yield dict(zip(reader.schema.names, values, strict=True))


def _columns(reader: pa.RecordBatchReader) -> Iterator[list[pa.Array]]:
    """Yield the columns of so few rows at a time that they may become Python values."""
    for batch in reader:
        for start in range(0, batch.num_rows, ROWS_AT_A_TIME):
            yield batch.slice(start, ROWS_AT_A_TIME).columns


def _write_parquet(reader: pa.RecordBatchReader) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise EmbstoreError("Parquet is not text, and stdout is a terminal; write it to a file: ... > rows.parquet")
    fields = [field if _storable(field) else pa.field(field.name, pa.string()) for field in reader.schema]
    with pq.ParquetWriter(sys.stdout.buffer, pa.schema(fields)) as writer:
        for group in _row_groups(reader):
            columns = [
                column if field.type == column.type else pa.chunked_array([_as_text(column)])
                for field, column in zip(fields, group.columns, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=writer.schema))


def _row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Yield the rows in parts of PART_BYTES or a little more."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    for batch in reader:
        batches.append(batch)
        if sum(part.nbytes for part in batches) >= PART_BYTES:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    texts = [None if value is None else csv_text(plain(value)) for value in pylist(column)]
    return pa.array(texts, pa.string())


def _storable(field: pa.Field) -> bool:
    """True if Parquet has this type; it has no intervals, unions or records without fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True
