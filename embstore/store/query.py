"""SQL over every table, read-only and locked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embstore.store.connection import QUERY_TIMEOUT_S, SQL_VIEWS, SqlParameters, select, tables_of_view
from embstore.store.query_process import select_in_process
from embstore.store.store import Store
from embstore.tabular import Tabular, pylist


@dataclass(frozen=True, repr=False)
class Answer(Tabular):
    """The rows that a SQL query returned: `len`, `to_pylist`, `to_arrow`, `to_pandas` (if pandas is installed)."""

    table: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return the rows as a `pyarrow.Table`."""
        return self.table

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries, in order; dates that Python does not have are texts."""
        names, columns = self.table.column_names, map(pylist, self.table.columns)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def to_pandas(self) -> Any:
        """Return the rows as a `pandas.DataFrame`; raises ImportError if pandas is not installed."""
        return self.table.to_pandas()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def headline(self) -> str:
        """Return how many rows and columns the answer has."""
        return f"{self.table.num_rows} rows, {self.table.num_columns} columns"


def query(
    store: Store,
    sql: str,
    parameters: SqlParameters = None,
    *,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Answer:
    """Return the answer to one SELECT over the store's tables; see `select` for what is refused. Never writes.

    It is computed in a process of its own, so that a query that cannot be stopped at its limit ends with it; the first
    one takes about a second longer.

    >>> query(store, "SELECT gene, count(*) AS cells FROM cells GROUP BY gene")   # doctest: +SKIP
    """
    return Answer(select_in_process(store, sql, parameters, timeout_s=timeout_s))


def rows(store: Store, sql: str, parameters: SqlParameters = None) -> list[dict[str, Any]]:
    """Return the rows of one of embstore's own SELECTs as dictionaries, for small answers; see `select_columns`."""
    answer: list[dict[str, Any]] = select_columns(store, sql, parameters).to_pylist()
    return answer


def select_columns(store: Store, sql: str, parameters: SqlParameters = None) -> pa.Table:
    """Return the answer to one of embstore's own SELECTs as Arrow columns; opens only the tables that it names.

    (Not for SQL that asks the catalogue which tables exist.)
    """
    words = {word.removesuffix("_raw") for word in re.findall(r"\w+", sql)}
    wanted = words.union(*map(tables_of_view, words.intersection(SQL_VIEWS)))
    tables = [name for name in store.table_names() if name in wanted]
    return select(store, sql, parameters, tables=tables)
