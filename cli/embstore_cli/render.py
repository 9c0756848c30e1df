"""Write rows to stdout as a table, JSON, CSV or Parquet, and messages to stderr."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from embstore.errors import EmbstoreError
from embstore_cli.context import Format
from embstore_cli.terminal import discard, escaped, make_console
from embstore_cli.values import csv_text, plain

if TYPE_CHECKING:
    import pyarrow as pa

    from embstore.tabular import Tabular

MOST_ROWS = 10_000  # of a table; more of them are data
ROWS_AT_A_TIME = 10_000  # converted to Python values at once
ALL_OF_IT = "--format csv, json or parquet"


def emit_table(
    answer: Tabular | pa.Table, form: Format, *, title: str = "", people: Sequence[str] = (), faint: str = ""
) -> None:
    """Write an answer of the library to stdout: as CSV, JSON or Parquet with all rows and columns, else as a table.

    At a terminal, the table has the columns `people` (default: all), in that order, as far as they fit; in a pipe it
    has all columns at their full width. `faint` names a boolean column whose true rows are dimmed.
    """
    import pyarrow as pa

    table = answer if isinstance(answer, pa.Table) else answer.to_arrow()
    if form is Format.json:
        _write_json(table)
    elif form is Format.csv:
        _write_csv(table)
    elif form is Format.parquet:
        _write_parquet(table)
    else:
        _write_table(table, title, people, faint)


def say(text: str) -> None:
    """Write one line for people to stderr; if stderr was closed, the command continues."""
    try:
        make_console(stderr=True).print(escaped(text), markup=False, soft_wrap=True)
    except BrokenPipeError:
        discard(sys.stderr)


def print_line(text: str = "", *, style: str = "") -> None:
    """Write one line for people to stdout."""
    make_console().print(escaped(text), markup=False, soft_wrap=True, style=style or None)


def _write_table(table: pa.Table, title: str, people: Sequence[str], faint: str) -> None:
    from embstore_cli.tables import print_table

    shown = table.slice(0, MOST_ROWS)
    names = [name for name in people if name in table.column_names] if make_console().is_terminal else []
    values = {name: _pylist(shown[name]) for name in names or table.column_names}
    n_columns = print_table(values, title=title, dimmed=_pylist(shown[faint]) if faint else ())
    if table.num_rows > MOST_ROWS:
        say(f"{MOST_ROWS} of {table.num_rows} rows are shown; all of them: {ALL_OF_IT}")
    if n_columns < table.num_columns:
        say(f"{n_columns} of {table.num_columns} columns are shown; all of them: {ALL_OF_IT}")


def _write_json(table: pa.Table) -> None:
    escape = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    sys.stdout.write("[")
    before = "\n "
    for row in _rows(table):
        text = json.dumps({name: plain(value) for name, value in row.items()}, indent=1, ensure_ascii=escape)
        sys.stdout.write(before + text.replace("\n", "\n "))
        before = ",\n "
    sys.stdout.write("\n]\n" if table.num_rows else "]\n")


def _write_csv(table: pa.Table) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # it is a file's text: a replaced letter would be another name
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([csv_text(plain(value)) for value in row.values()] for row in _rows(table))


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=ROWS_AT_A_TIME):
        for values in zip(*(_pylist(column) for column in batch.columns), strict=True):
            yield dict(zip(table.column_names, values, strict=True))


def _pylist(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError):  # a date before the year 1 or after 9999, which Python does not support
        values = column.cast(pa.string()).to_pylist()
    return values


def _write_parquet(table: pa.Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise EmbstoreError("Parquet is not text, and stdout is a terminal; write it to a file: ... > rows.parquet")
    for at, field in enumerate(table.schema):
        if not _storable(field):
            texts = [None if value is None else csv_text(plain(value)) for value in _pylist(table.column(at))]
            table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    pq.write_table(table, sys.stdout.buffer)


def _storable(field: pa.Field) -> bool:
    """True if Parquet has this type; it has no intervals, unions or records without fields."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
    except pa.ArrowNotImplementedError:
        return False
    return True
