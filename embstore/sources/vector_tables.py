"""Tables of embeddings: CSV, TSV and Parquet, whose numbers are read some rows at a time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from embstore.arrays import Float32s
from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder
from embstore.sources.delimited import decimal_mark, delimiter, lines, open_packed, text_records
from embstore.sources.features import COUNTER, FeatureChoice, choose_features, counts_rows
from embstore.sources.matrix import MAX_DIM, EmbeddingMatrix, Numbers, rows_per_block

CSV_BLOCK_BYTES = 8 << 20
ROW_GROUP_BYTES = 64 << 20  # a larger row group of many columns is read by way of a temporary file
COLUMNS_AT_ONCE = 32
READ_BYTES = 1 << 16  # of a column at a time
_SHOWN = 12


class VectorTable(Protocol):
    """A table of embeddings: its columns by name and type, as text and as numbers."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""

    @property
    def indices(self) -> Collection[str]:
        """The columns that the file itself says number its rows."""

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns whole; those of a text file as text."""

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; none where there is no row."""

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns, at most so many rows at a time."""

    def lines(self, rows: int) -> Sequence[int]:
        """Return where each row begins: lines of text, or numbers from 1 in Parquet."""


def table_matrix(
    table: VectorTable, *, patterns: str | None, named: Sequence[str]
) -> tuple[FeatureChoice, list[Any], EmbeddingMatrix]:
    """Return which columns are the vector, what the digest of a space is made of, and the vectors."""
    names = table.schema.names
    choice = choose_features(names, patterns=patterns, named=named, indices=table.indices)
    choice = choice if patterns else _without_counter(table, choice)
    if not choice.columns:
        left_out = "".join(f"; {note}" for note in _left_out(choice))
        raise EmbstoreError(f"{table.path}: no column matches {patterns or '*'!r}; it has {some(names)}{left_out}")
    if len(choice.columns) == 1 and _is_list(table.schema.field(choice.columns[0]).type):
        matrix = _lists(table, choice.columns[0])
        return choice, [choice.columns[0], matrix.shape[1]], matrix
    _refuse_text(table, choice.columns, patterns)
    shape = (count_rows(table, choice.columns[0]), len(choice.columns))

    def read(rows: int) -> Iterator[Numbers]:
        for batch in table.batches(choice.columns, rows):
            yield _columned(batch)

    return choice, list(choice.columns), EmbeddingMatrix(table.path, "the table", shape, read)


def count_rows(table: VectorTable, name: str) -> int:
    """Return how many rows there are, as a column has them."""
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
    what = "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)
    wanted = repr(patterns) if patterns else "every column without another meaning (--embeddings names them)"
    raise EmbstoreError(f"{table.path}: column {bad!r} holds {what}; wanted numbers in {wanted}")


def _columned(batch: pa.RecordBatch) -> Float32s:
    """Return the columns side by side; a missing number is NaN, which the caller refuses row by row."""
    block = np.empty((batch.num_rows, batch.num_columns), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for position, column in enumerate(batch.columns):
            block[:, position] = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return block


def _lists(table: VectorTable, name: str) -> EmbeddingMatrix:
    """Return a column of lists as rows; a missing list is a row of NaN, which the caller refuses."""
    lengths: set[int] = set()
    n = 0
    for batch in table.batches([name], rows_per_block(MAX_DIM >> 8)):
        lengths.update(pc.unique(pc.list_value_length(batch.column(0))).drop_null().to_pylist())
        n += batch.num_rows
    if len(lengths) != 1 or not lengths.isdisjoint({0}):
        found = sorted(lengths)[:4]
        raise EmbstoreError(f"{table.path}: {name} holds lists of {found} numbers; wanted one length for all")
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


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def open_table(path: Path, *, named: Sequence[str], header: bool) -> VectorTable:
    """Return a table of embeddings; EmbstoreError where it has no rows, or two columns of one name."""
    table = _parquet(path) if path.suffix == ".parquet" else _csv(path, named, header=header)
    names = table.schema.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names or not len(table.first(names[0])):
        found = f"the column {twice!r} more than once" if twice is not None else "no row below its header"
        raise EmbstoreError(f"{path} has {found}; wanted one row a protein and each column once")
    for name in named:
        if name not in names:
            raise EmbstoreError(f"{path} has no column {name!r}; it has {some(names)}")
    return table


@dataclass(frozen=True)
class CsvTable:
    """A CSV or TSV; types are those of its first rows, and of the whole file where numbers are read."""

    path: Path
    schema: pa.Schema
    header: bool
    decode: Decoder
    marks: tuple[str, str]  # between fields, and before decimals
    indices: Collection[str] = ()

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns whole, as text: an id 007 is no number, a gene is no date."""
        batches = list(self._read(dict.fromkeys(names, pa.string())))
        return pa.Table.from_batches(batches).rename_columns(list(names))

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; none where there is no row."""
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
        found = lines(self.path)[int(self.header) :]
        # a field may contain a line's end; to look for those costs more than reading
        return found if len(found) == rows else [line for line, _ in text_records(self.path)][int(self.header) :]

    def _read(self, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        typed = types if self.header else {f"f{int(name) - 1}": kind for name, kind in types.items()}
        with _streamed(self, typed) as reader:
            yield from self.decode.each(reader)


@contextmanager
def _streamed(table: CsvTable, types: dict[str, pa.DataType] | None) -> Iterator[Any]:
    """Give a reader of a CSV's blocks: of the columns of `types`, else of all, typed by their first rows."""
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
    names = _names(path, schema) if header else [str(i + 1) for i in range(len(schema))]
    kinds = [pa.string() if name in named else field.type for name, field in zip(names, schema, strict=True)]
    return replace(table, schema=pa.schema(list(zip(names, kinds, strict=True))))


def _names(path: Path, schema: pa.Schema) -> list[str]:
    try:
        return list(schema.names)
    except UnicodeDecodeError as error:
        raise EmbstoreError(f"{path} has a column whose name is not UTF-8 ({error}); save it as UTF-8") from error


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file."""

    path: Path
    schema: pa.Schema
    decode: Decoder
    indices: Collection[str] = ()

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some columns whole, as they are typed."""
        with self._open() as file:
            table = self.decode(file.read, columns=list(names))
        self.decode(table.validate, full=True)  # text may be no UTF-8
        return table.select(list(names))

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; none where there is no row."""
        with self._open() as file:
            batch = next(self.decode.each(self.decode(file.iter_batches, 1 << 10, columns=[name])), None)
        return pa.array([]) if batch is None else batch.column(0)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns, at most so many rows at a time."""
        with self._open() as file:
            for number in range(file.metadata.num_row_groups):
                large = file.metadata.row_group(number).total_byte_size > ROW_GROUP_BYTES
                if large and len(names) > COLUMNS_AT_ONCE:
                    yield from self._by_columns(file, number, names, rows)
                else:
                    read = self.decode(file.iter_batches, rows, row_groups=[number], columns=list(names))
                    yield from (batch.select(list(names)) for batch in self.decode.each(read))

    def lines(self, rows: int) -> Sequence[int]:
        """Return the numbers of the rows, from 1."""
        return range(1, rows + 1)

    def _open(self) -> pq.ParquetFile:
        return self.decode(pq.ParquetFile, self.path, pre_buffer=False, buffer_size=READ_BYTES)

    def _by_columns(
        self, file: pq.ParquetFile, number: int, names: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield a large row group, whose every column would be in memory at once if it were read by rows."""
        groups = [list(names[i : i + COLUMNS_AT_ONCE]) for i in range(0, len(names), COLUMNS_AT_ONCE)]
        with tempfile.TemporaryFile() as unpacked:
            n = 0
            for group in groups:
                table = self.decode(file.read_row_group, number, columns=group).select(group)
                n = table.num_rows
                unpacked.write(_columned(table.combine_chunks().to_batches()[0]).tobytes())
            unpacked.flush()
            for start in range(0, n, rows):
                count = min(rows, n - start)
                columns: list[pa.Array] = []
                for at, group in enumerate(groups):
                    unpacked.seek(4 * (at * COLUMNS_AT_ONCE * n + start * len(group)))
                    block = np.frombuffer(unpacked.read(4 * count * len(group)), np.float32).reshape(count, len(group))
                    columns += [pa.array(block[:, i]) for i in range(len(group))]
                yield pa.RecordBatch.from_arrays(columns, list(names))


def _parquet(path: Path) -> ParquetTable:
    decode = Decoder(path, "a Parquet", "save it again")
    with decode(pq.ParquetFile, path) as file:
        schema = decode(getattr, file, "schema_arrow")
    _names(path, schema)
    return ParquetTable(path, schema, decode, _pandas_index(schema))


def _pandas_index(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas wrote for the index of a table."""
    with suppress(ValueError, KeyError):
        indices = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return [name for name in indices if isinstance(name, str)]
    return []
