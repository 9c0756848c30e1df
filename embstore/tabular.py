"""The base of what public functions return: it prints in a few lines, is a table in a notebook, converts to Arrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
    overload,
)

if TYPE_CHECKING:
    import pyarrow as pa

PRINTED_ROWS, HTML_ROWS = 5, 20
PRINTED_WIDTH, HEADLINE_WIDTH = 100, 120  # characters of a line
PRINTED_VALUE, HTML_VALUE = 24, 80  # characters of a value; longer ones are truncated with an ellipsis


Row = TypeVar("Row")


class Tabular(ABC):
    """An answer with rows. Subclasses provide the rows as an Arrow table, and one line that describes them."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """Return the rows as a `pyarrow.Table`."""

    @property
    @abstractmethod
    def headline(self) -> str:
        """Return one line that describes the rows."""

    def __repr__(self) -> str:
        table = self.to_arrow()
        lines = [_text(self.headline, HEADLINE_WIDTH)]
        if table.num_rows:
            lines += _aligned(_cells(table, PRINTED_ROWS, PRINTED_VALUE))
        if table.num_rows > PRINTED_ROWS:
            lines.append(f"... {table.num_rows - PRINTED_ROWS} more rows")
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        table = self.to_arrow()
        names, *rows = _cells(table, HTML_ROWS, HTML_VALUE)
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        more = f"<p>... {table.num_rows - HTML_ROWS} more rows</p>" if table.num_rows > HTML_ROWS else ""
        table_html = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if names else ""
        return f"<p>{escape(self.headline)}</p>{table_html}{more}"


@dataclass(frozen=True, repr=False)
class Listing(Tabular, Sequence[Row], Generic[Row]):
    """A sequence of rows that prints as a table; `kind` is their dataclass or TypedDict, `noun` names a row."""

    rows: Sequence[Row]
    kind: type[Row]
    noun: str

    @property
    def headline(self) -> str:
        """Return how many rows there are."""
        return f"{len(self.rows)} {self.noun}{'' if len(self.rows) == 1 else 's'}"

    def to_arrow(self) -> pa.Table:
        """Return the rows as a `pyarrow.Table`, with the columns of their kind."""
        return arrow_table(self.rows, self.kind)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def arrow_table(rows: Sequence[Any], kind: type) -> pa.Table:
    """Return rows of a frozen dataclass or TypedDict as a `pyarrow.Table`, with types even if there are no rows.

    Lists stay lists, mappings become Arrow maps and records structs; if `kind` has `Any`, the values determine the
    type.
    """
    import pyarrow as pa

    types = arrow_types(kind)
    columns = {name: [_value(row, name) for row in rows] for name in types}
    return pa.table({name: pa.array(columns[name], type=types[name]) for name in types})


def arrow_types(kind: type) -> dict[str, Any]:
    """Return column -> Arrow type of a dataclass or TypedDict; None if it depends on the values."""
    return {name: _arrow_type(hint) for name, hint in get_type_hints(kind).items()}


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    parts = [part for part in get_args(hint) if part not in (NoneType, Ellipsis)]
    if get_origin(hint) is Literal:
        return _arrow_type(type(parts[0]))
    if is_dataclass(hint) or is_typeddict(hint):
        fields = arrow_types(hint)
        return None if None in fields.values() else pa.struct(list(fields.items()))
    if parts:
        return _arrow_type_of(get_origin(hint), [_arrow_type(part) for part in parts])
    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary()}
    return (plain | {Path: pa.string(), datetime: pa.timestamp("us", tz="UTC")}).get(hint)


def _arrow_type_of(origin: Any, parts: Sequence[Any]) -> Any:
    """Return the Arrow type of a mapping, a sequence or `X | None` with these type arguments."""
    import pyarrow as pa

    if None in parts:
        return None
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return pa.map_(*parts)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return pa.list_(parts[0])
    return parts[0] if len(parts) == 1 else None


def _value(row: Any, name: str) -> Any:
    return _as_arrow(row.get(name) if isinstance(row, Mapping) else getattr(row, name))


def _as_arrow(value: Any) -> Any:
    """Return a value that pyarrow accepts: records as dictionaries, paths as text, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_as_arrow(part) for part in value]
    return value


def pylist(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as Python's; maps are dictionaries, dates that Python does not have are texts.

    Python has the years 1 to 9999; DuckDB has more, and infinity.
    """
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (OverflowError, ValueError):
        return [_python_value(scalar) for scalar in column]
    return values


def _python_value(scalar: Any) -> Any:
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.MapScalar):
        return {_python_value(pair["key"]): _python_value(pair["value"]) for pair in scalar.values}
    if isinstance(scalar, pa.StructScalar):
        return {name: _python_value(part) for name, part in scalar.items()}
    if isinstance(scalar, (pa.ListScalar, pa.FixedSizeListScalar)):
        return [_python_value(part) for part in scalar.values]
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return _date_text(scalar)


def _date_text(scalar: Any) -> str:
    """Return a date or time (in UTC) that Python does not have: `12000-01-01`, `0044-03-15 (BC)`, `infinity`."""
    import numpy as np
    import pyarrow as pa

    bits = scalar.type.bit_width
    number = scalar.cast(pa.int32() if bits == 32 else pa.int64()).as_py()
    if abs(number) == 2 ** (bits - 1) - 1:
        return "infinity" if number > 0 else "-infinity"
    date = np.datetime64(number, getattr(scalar.type, "unit", "D"))
    year = int(date.astype("datetime64[Y]").astype(int)) + 1970
    text = str(date).replace("T", " ")
    return text if year > 0 else f"{1 - year:04d}{text[text.index('-', 1) :]} (BC)"


def _cells(table: pa.Table, n_rows: int, width: int) -> list[list[str]]:
    """Return the column names and the first rows as text, each value truncated to `width` characters."""
    columns = [[_text(value, width) for value in pylist(column.slice(0, n_rows))] for column in table.columns]
    names = [_text(name, width) for name in table.column_names]
    return [names, *map(list, zip(*columns, strict=True))]


def _text(value: Any, width: int) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    listed = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    text = " ".join(listed.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of aligned columns; columns that do not fit are left out, with an ellipsis."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = next((n for n in range(len(widths), 0, -1) if sum(widths[:n]) + 2 * n <= PRINTED_WIDTH), 1)
    more = "  …" if shown < len(widths) else ""
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row[:shown], widths[:shown], strict=True)) + more
        for row in cells
    ]
