"""Rows to stdout as a table, JSON, CSV or Parquet; words for people to stderr."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore_cli.context import Format

if TYPE_CHECKING:
    from embstore.tabular import Tabular

PrintedRow = Mapping[str, Any]  # typed by its columns: what is printed is named where it is printed
WIDE = 200  # columns of a table that is piped: nothing should be cut off


def emit(rows: Sequence[PrintedRow], columns: Sequence[str], form: Format, *, title: str = "", faint: str = "") -> None:
    """Write rows to stdout; `faint` names a boolean column whose true rows are dimmed in a table."""
    if form is Format.json:
        shown = [{c: _plain(row.get(c)) for c in columns} for row in rows]
        sys.stdout.write(json.dumps(shown, indent=1, ensure_ascii=False) + "\n")
    elif form is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(_plain(row.get(c))) for c in columns] for row in rows)
    elif form is Format.parquet:
        _parquet(rows, columns)
    else:
        _table(rows, columns, title, faint)


def emit_table(answer: Tabular, form: Format, *, title: str = "") -> None:
    """Write an answer of the library to stdout, with all its columns."""
    table = answer.to_arrow()
    emit(table.to_pylist(), table.column_names, form, title=title)


def say(text: str) -> None:
    """Write one line for people to stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def _parquet(rows: Sequence[PrintedRow], columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{c: row.get(c) for c in columns} for row in rows])
    pq.write_table(table.select([c for c in columns if c in table.column_names]), sys.stdout.buffer)


def _table(rows: Sequence[PrintedRow], columns: Sequence[str], title: str, faint: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        numeric = any(isinstance(row.get(column), (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        style = "dim" if faint and row.get(faint) else ""
        table.add_row(*(Text(_shown(row.get(column))) for column in columns), style=style)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, list) and len(value) > 8:
        return f"[{', '.join(_shown(v) for v in value[:3])}, ... {len(value)} in all]"
    return "" if value is None else _cell(_plain(value))


def _cell(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, (list, dict))
        else ""
        if value is None
        else str(value)
    )


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value)
