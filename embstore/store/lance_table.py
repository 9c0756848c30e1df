"""A Lance table as DuckDB scans it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads


class LanceTable(pads.Dataset):  # type: ignore[misc]  # pyarrow ships no types
    """The rows of a table at one version, read lazily, with half-precision vectors cast when they are read.

    DuckDB cannot read float16 columns, and a query about ids must not read vectors.
    """

    def __init__(self, dataset: Any) -> None:
        self.failure: Exception | None = None  # why its files could not be read
        self.dataset = dataset
        self._schema = pa.schema([_readable(field) for field in dataset.schema])

    @property
    def schema(self) -> pa.Schema:
        """The columns as SQL sees them: vectors as lists of float32."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any) -> pads.Scanner:
        """Return a lazy scan of the columns and rows that DuckDB asks for."""
        names = self._schema.names if columns is None else list(columns)
        wanted = pa.schema([self._schema.field(name) for name in names])
        scan = self.dataset.scanner(columns=names, filter=filter, batch_size=8192)
        return pads.Scanner.from_batches(self._cast(scan.to_batches(), wanted), schema=wanted)

    def _cast(self, batches: Iterator[pa.RecordBatch], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                columns = [batch.column(field.name).cast(field.type) for field in wanted]
                yield pa.RecordBatch.from_arrays(columns, schema=wanted)
        except (OSError, RuntimeError, ValueError) as error:  # DuckDB would wrap it in a traceback
            self.failure = error
            raise


def _readable(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float16():
        return pa.field(field.name, pa.list_(pa.float32(), kind.list_size))
    return pa.field(field.name, kind)
