"""Parquet files of embeddings, whose columns are read in blocks of rows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embstore.arrays import Float32s
from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder

ROW_GROUP_BYTES = 64 << 20  # a larger row group of many columns is read by way of a temporary file
COLUMNS_AT_ONCE = 32
READ_BYTES = 1 << 16  # of a column at a time


def side_by_side(batch: pa.RecordBatch) -> Float32s:
    """Return the columns side by side, float32 (rows, columns); missing numbers are NaN, which the caller refuses."""
    block = np.empty((batch.num_rows, batch.num_columns), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for position, column in enumerate(batch.columns):
            block[:, position] = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return block


def column_names(path: Path, schema: pa.Schema) -> list[str]:
    """Return the names of a table's columns; EmbstoreError if one is not UTF-8."""
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
    notes: tuple[str, ...] = ()

    def texts(self, names: Sequence[str]) -> pa.Table:
        """Return some whole columns, with their types."""
        with self._open() as file:
            table = self.decode(file.read, columns=list(names))
        self.decode(table.validate, full=True)  # text may not be UTF-8
        return table.select(list(names))

    def first(self, name: str) -> pa.Array:
        """Return a column's values in the first rows; empty if there is no row."""
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
        """Yield a large row group, of which every column would be in memory at once if it were read by rows."""
        groups = [list(names[i : i + COLUMNS_AT_ONCE]) for i in range(0, len(names), COLUMNS_AT_ONCE)]
        with tempfile.TemporaryFile() as unpacked:
            n = 0
            for group in groups:
                table = self.decode(file.read_row_group, number, columns=group).select(group)
                n = table.num_rows
                unpacked.write(side_by_side(table.combine_chunks().to_batches()[0]).tobytes())
            unpacked.flush()
            for start in range(0, n, rows):
                count = min(rows, n - start)
                columns: list[pa.Array] = []
                for at, group in enumerate(groups):
                    unpacked.seek(4 * (at * COLUMNS_AT_ONCE * n + start * len(group)))
                    block = np.frombuffer(unpacked.read(4 * count * len(group)), np.float32).reshape(count, len(group))
                    columns += [pa.array(block[:, i]) for i in range(len(group))]
                yield pa.RecordBatch.from_arrays(columns, list(names))


def open_parquet(path: Path) -> ParquetTable:
    """Return a Parquet file; EmbstoreError if its footer cannot be read."""
    decode = Decoder(path, "a Parquet", "save it again")
    with decode(pq.ParquetFile, path) as file:
        schema = decode(getattr, file, "schema_arrow")
    column_names(path, schema)
    return ParquetTable(path, schema, decode, _pandas_index(schema))


def _pandas_index(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas wrote for the index of a table."""
    with suppress(ValueError, KeyError):
        indices = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return [name for name in indices if isinstance(name, str)]
    return []
