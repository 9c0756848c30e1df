"""Tables of embeddings: CSV, TSV and Parquet, whose numbers are read in blocks of rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder
from embstore.sources.delimited import decimal_mark, delimiter, lines, open_packed, text_records
from embstore.sources.features import COUNTER, FeatureChoice, choose_features, counts_rows
from embstore.sources.matrix import MAX_DIM, EmbeddingMatrix, Numbers, rows_per_block
from embstore.sources.numerals import is_marked_number
from embstore.sources.parquet_vectors import column_names, open_parquet, side_by_side
from embstore.sources.tables import is_parquet
from embstore.sources.values import is_missing
from embstore.sources.workbook_vectors import open_workbook
from embstore.sources.workbooks import is_workbook

CSV_BLOCK_BYTES = 8 << 20
_SHOWN, _SHOWN_TEXT = 12, 40


class VectorTable(Protocol):
    """A table of embeddings: its columns by name and type, as text and as numbers."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""

    @property
    def notes(self) -> tuple[str, ...]:
        """How it was read, if that may be unexpected."""

    @property
    def indices(self) -> Collection[str]:
        """The columns that the file itself declares as row numbers."""

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some whole columns; those of a text file as text."""

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; empty if there is no row."""

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns, at most so many rows at a time."""

    def lines(self, rows: int) -> Sequence[int]:
        """Return where each row begins: lines of text, or numbers from 1 in Parquet."""


def table_matrix(
    table: VectorTable, *, patterns: str | None, named: Sequence[str]
) -> tuple[FeatureChoice, list[Any], EmbeddingMatrix]:
    """Return the columns of the vector, their names for the digest of a space, and the vectors; may raise
    EmbstoreError.
    """
    names = table.schema.names
    choice = choose_features(names, patterns=patterns, named=named, indices=table.indices)
    choice = choice if patterns else _without_counter(table, choice)
    if not choice.columns:
        left_out = "".join(f"; {note}" for note in _left_out(choice))
        listed = f"{first_names(names)}{left_out}"
        raise EmbstoreError(f"{table.path}: no column matches {patterns or '*'!r}; it has {listed}")
    if len(choice.columns) == 1 and _is_list(table.schema.field(choice.columns[0]).type):
        matrix = _lists(table, choice.columns[0])
        return choice, [choice.columns[0], matrix.shape[1]], matrix
    _refuse_text(table, choice.columns, patterns)
    shape = (count_rows(table, choice.columns[0]), len(choice.columns))

    def read(rows: int) -> Iterator[Numbers]:
        for batch in table.batches(choice.columns, rows):
            yield side_by_side(batch)

    return choice, list(choice.columns), EmbeddingMatrix(table.path, "the table", shape, read)


def count_rows(table: VectorTable, name: str) -> int:
    """Return the number of rows of a column."""
    return sum(batch.num_rows for batch in table.batches([name], rows_per_block(1)))


def _left_out(choice: FeatureChoice) -> Sequence[str]:
    return replace(choice, columns=("",)).notes[1:]


def _without_counter(table: VectorTable, choice: FeatureChoice) -> FeatureChoice:
    """Leave out a first column that counts the rows, unless it is the only one."""
    if len(choice.columns) < 2 or not pa.types.is_integer(table.schema.field(choice.columns[0]).type):
        return choice
    column = table.first(choice.columns[0])
    if column.null_count or not counts_rows(column.to_numpy(zero_copy_only=False)):
        return choice
    return FeatureChoice(choice.columns[1:], {choice.columns[0]: COUNTER, **choice.left_out})


def _refuse_text(table: VectorTable, names: Sequence[str], patterns: str | None) -> None:
    bad = next((name for name in names if not _numeric(table.schema.field(name).type)), None)
    if bad is None:
        return
    kind = table.schema.field(bad).type
    what = f"text{_example(table, bad)}" if _is_text(kind) else str(kind)
    wanted = repr(patterns) if patterns else "every column without another meaning (--embeddings names them)"
    raise EmbstoreError(f"{table.path}: column {bad!r} contains {what}; wanted numbers in {wanted}")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _example(table: VectorTable, name: str) -> str:
    """Return the first text of a column that is not a number, and what is wrong with its marks, if anything."""
    texts = (text for text in table.first(name).to_pylist() if isinstance(text, str) and not is_missing(text))
    text = next((text for text in texts if not _is_number(text)), None)
    if text is None:
        return ""
    marks = ", with a mark between thousands or another decimal mark" if is_marked_number(text) else ""
    return f" such as {text[:_SHOWN_TEXT]!r}{marks}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lists(table: VectorTable, name: str) -> EmbeddingMatrix:
    """Return a column of lists as rows; a missing list is a row of NaN, which the caller refuses."""
    lengths: set[int] = set()
    n = 0
    for batch in table.batches([name], rows_per_block(MAX_DIM >> 8)):
        lengths.update(pc.unique(pc.list_value_length(batch.column(0))).drop_null().to_pylist())
        n += batch.num_rows
    if len(lengths) != 1 or not lengths.isdisjoint({0}):
        n_numbers = sorted(lengths)[:4]
        raise EmbstoreError(f"{table.path}: {name} contains lists of {n_numbers} numbers; wanted one length for all")
    (dim,) = lengths

    def read(rows: int) -> Iterator[Numbers]:
        for batch in table.batches([name], rows):
            column = batch.column(0)
            block = np.full((len(column), dim), np.nan, np.float32)
            flat = pc.cast(pc.list_flatten(column), pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            with np.errstate(over="ignore", invalid="ignore"):
                block[pc.is_valid(column).to_numpy(zero_copy_only=False)] = flat.reshape(-1, dim)
            yield block

    return EmbeddingMatrix(table.path, name, (n, dim), read)


def _is_list(kind: pa.DataType) -> bool:
    of_lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    return bool(of_lists and _numeric(kind.value_type))


def _numeric(kind: pa.DataType) -> bool:
    # a column without any value has the type null
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def first_names(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def open_table(path: Path, *, named: Sequence[str], header: bool) -> VectorTable:
    """Return a table of embeddings; EmbstoreError if it has no rows, or two columns of one name."""
    table = _opened(path, named, header=header)
    names = table.schema.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names or not len(table.first(names[0])):
        problem = f"the column {twice!r} more than once" if twice is not None else "no row below its header"
        raise EmbstoreError(f"{path} has {problem}; wanted one row for each protein and each column once")
    for name in named:
        if name not in names:
            raise EmbstoreError(f"{path} has no column {name!r}; it has {first_names(names)}")
    return table


def _opened(path: Path, named: Sequence[str], *, header: bool) -> VectorTable:
    if is_parquet(path):
        return open_parquet(path)
    return open_workbook(path, named, header=header) if is_workbook(path) else _csv(path, named, header=header)


@dataclass(frozen=True)
class CsvTable:
    """A CSV or TSV; its types are those of its first rows, and of the whole file when numbers are read."""

    path: Path
    schema: pa.Schema
    header: bool
    decode: Decoder
    marks: tuple[str, str]  # between fields, and before decimals
    indices: Collection[str] = ()
    notes: tuple[str, ...] = ()

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some whole columns as text: an id 007 is not a number, a gene is not a date."""
        batches = list(self._read(dict.fromkeys(names, pa.string())))
        return pa.Table.from_batches(batches).rename_columns(list(names))

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; empty if there is no row."""
        with _streamed(self, None) as reader:
            batch = next(self.decode.each(reader), None)
        return pa.array([]) if batch is None else batch.column(self.schema.names.index(name))

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns as float64, at most so many rows at a time."""
        for batch in self._read(dict.fromkeys(names, pa.float64())):
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def lines(self, rows: int) -> Sequence[int]:
        """Return the line on which each row begins."""
        first_lines = lines(self.path)[int(self.header) :]
        # a field may contain a line's end; searching for these takes longer than reading
        if len(first_lines) == rows:
            return first_lines
        return [line for line, _ in text_records(self.path)][int(self.header) :]

    def _read(self, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        typed = types if self.header else {f"f{int(name) - 1}": kind for name, kind in types.items()}
        with _streamed(self, typed) as reader:
            yield from self.decode.each(reader)


@contextmanager
def _streamed(table: CsvTable, types: dict[str, pa.DataType] | None) -> Iterator[Any]:
    """Yield a reader of a CSV's blocks: of the columns of `types`, else of all, typed by their first rows."""
    delimited, decimal = table.marks
    with open_packed(table.path) as file:
        yield table.decode(
            pacsv.open_csv,
            file,
            read_options=pacsv.ReadOptions(autogenerate_column_names=not table.header, block_size=CSV_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(delimiter=delimited, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=types, include_columns=list(types or ()), decimal_point=decimal
            ),
        )


def _csv(path: Path, named: Sequence[str], *, header: bool) -> CsvTable:
    decode = Decoder(path, "a CSV", "save it as UTF-8 text with as many fields in each line as in the first")
    table = CsvTable(path, pa.schema([]), header, decode, (decode(delimiter, path), decode(decimal_mark, path)))
    with _streamed(table, None) as reader:
        schema = reader.schema
    names = column_names(path, schema) if header else [str(i + 1) for i in range(len(schema))]
    kinds = [pa.string() if name in named else field.type for name, field in zip(names, schema, strict=True)]
    return replace(table, schema=pa.schema(list(zip(names, kinds, strict=True))))
