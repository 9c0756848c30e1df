"""SQL over every table, read-only and locked; the only module that imports DuckDB."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from embstore.errors import QueryError
from embstore.store.schema import EMBEDDINGS_PREFIX, LATER_TABLES, TABLES
from embstore.store.store import Store
from embstore.store.tables import unreadable
from embstore.tabular import Tabular

MEMORY_LIMIT = "4GB"
QUERY_TIMEOUT_S = 300.0

# the views that SQL offers beside the stored tables, and what each reads; a view comes after those that it reads
SQL_VIEWS: dict[str, set[str]] = {
    "image_current": {"images"},
    "cells": {"cells", "image_current", "proteins"},
    "units": {"cells", "image_current", "ingested", "profiles", "proteins", "spaces"},
}
INCLUDE = re.compile(r"\{([a-z]\w*)\}")  # but not the `{8}` of a regular expression

SETTINGS = (
    "SET enable_progress_bar = false",  # on a terminal it would be drawn on stdout, among the data
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    f"SET memory_limit = '{MEMORY_LIMIT}'",
    "SET lock_configuration = true",
)


class LanceTable(pads.Dataset):  # type: ignore[misc]  # pyarrow ships no types
    """A Lance table as DuckDB scans it: lazily, at one version, with half-precision vectors cast when they are read.

    DuckDB cannot read float16 columns, and a query about ids must not read vectors.
    """

    def __init__(self, dataset: Any) -> None:
        self.failure: Exception | None = None  # why its files could not be read
        self._dataset = dataset
        self._schema = pa.schema([_readable(field) for field in dataset.schema])

    @property
    def schema(self) -> pa.Schema:
        """The columns as SQL sees them: vectors as lists of float32."""
        return self._schema

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any) -> pads.Scanner:
        """Return a lazy scan of the columns and rows that DuckDB asks for."""
        names = self._schema.names if columns is None else list(columns)
        wanted = pa.schema([self._schema.field(name) for name in names])
        scan = self._dataset.scanner(columns=names, filter=filter, batch_size=8192)
        return pads.Scanner.from_batches(self._cast(scan.to_batches(), wanted), schema=wanted)

    def _cast(self, batches: Iterator[pa.RecordBatch], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                columns = [batch.column(field.name).cast(field.type) for field in wanted]
                yield pa.RecordBatch.from_arrays(columns, schema=wanted)
        except (OSError, RuntimeError, ValueError) as error:  # DuckDB would wrap it in a traceback
            self.failure = error
            raise


def select(
    store: Store,
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    timeout_s: float = QUERY_TIMEOUT_S,
    tables: Sequence[str] | None = None,
) -> pa.Table:
    """Return the result of one SELECT over the store's tables; it cannot write, read other files or install extensions.

    Every table is available by its name, except that `cells` is a view that joins images and proteins; the stored table
    is `cells_raw`. Further views are `image_current` (the newest revision of each image) and `units` (whatever a vector
    can describe). If `tables` is given, only these are opened, so that others may be damaged. Raises QueryError if the
    statement is not a SELECT, fails, or runs longer than `timeout_s` seconds.
    """
    import duckdb

    with duckdb.connect() as connection:
        registered = register(connection, store, tables)
        _check(connection, sql)
        timer = threading.Timer(timeout_s, connection.interrupt)
        timer.start()
        try:
            answer = connection.sql(sql, params=parameters).to_arrow_table()
        except duckdb.InterruptException as error:
            raise QueryError(f"the query ran longer than {timeout_s:g} s and was stopped; narrow it") from error
        except duckdb.Error as error:
            failures = [unreadable(name, table.failure) for name, table in registered.items() if table.failure]
            failures += [store._tables.no_table(name) for name in _lost(_one_line(error), registered)]
            raise QueryError(failures[0] if failures else _one_line(error)) from error
        finally:
            timer.cancel()
    twice = {name for name in answer.column_names if answer.column_names.count(name) > 1}
    if twice:  # rows as dictionaries would lose one of them without warning
        raise QueryError(f"two columns are named {', '.join(sorted(twice))}; rename one of them with AS")
    return answer


@dataclass(frozen=True, repr=False)
class Answer(Tabular):
    """The rows that a SQL query returned: `len`, `to_pylist`, `to_arrow`, `to_pandas` (if pandas is installed)."""

    table: pa.Table

    def to_arrow(self) -> pa.Table:
        """Return the rows as a `pyarrow.Table`."""
        return self.table

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries, in order."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

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
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    timeout_s: float = QUERY_TIMEOUT_S,
) -> Answer:
    """Return the answer to one SELECT over the store's tables; see `select` for what is refused. Never writes.

    >>> query(store, "SELECT gene, count(*) AS cells FROM cells GROUP BY gene")   # doctest: +SKIP
    """
    return Answer(select(store, sql, parameters, timeout_s=timeout_s))


def rows(store: Store, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the rows of one of embstore's own SELECTs as dictionaries, for small answers; see `select_columns`."""
    answer: list[dict[str, Any]] = select_columns(store, sql, parameters).to_pylist()
    return answer


def select_columns(store: Store, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pa.Table:
    """Return the answer to one of embstore's own SELECTs as Arrow columns; opens only the tables that it names.

    (Not for SQL that asks the catalogue which tables exist.)
    """
    words = {word.removesuffix("_raw") for word in re.findall(r"\w+", sql)}
    wanted = words.union(*map(tables_of_view, words.intersection(SQL_VIEWS)))
    tables = [name for name in store.table_names() if name in wanted]
    return select(store, sql, parameters, tables=tables)


def tables_of_view(view: str) -> set[str]:
    """Return the stored tables that a view reads, directly or through other views."""
    parts = SQL_VIEWS[view]
    below = (tables_of_view(part) for part in parts if part in SQL_VIEWS and part != view)
    return {part for part in parts if part == view or part not in SQL_VIEWS}.union(*below)


def sql_text(package: str, name: str, **texts: str) -> str:
    """Return the text of `sql/<name>.sql` of a package.

    `{other}` in it is replaced by the text given under that name, else by the text of another file of the package.
    """
    text = files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return INCLUDE.sub(lambda m: texts[m[1]] if m[1] in texts else sql_text(package, m[1], **texts), text)


def register(connection: Any, store: Store, names: Sequence[str] | None = None) -> dict[str, LanceTable]:
    """Register tables and views with a DuckDB connection, and lock it; return the tables by name."""
    tables = {name: LanceTable(store.dataset(name)) for name in (store.table_names() if names is None else names)}
    for name, table in tables.items():
        connection.register(f"{name}_raw" if name in SQL_VIEWS else name, table)
    for name in LATER_TABLES if names is None else ():
        if name not in tables:
            connection.register(name, TABLES[name].schema.empty_table())
    for view in (view for view in SQL_VIEWS if tables_of_view(view).issubset(tables)):
        connection.execute(f'CREATE VIEW "{view}" AS {sql_text("embstore.store", view)}').fetchall()
    for setting in SETTINGS:
        connection.execute(setting).fetchall()
    return tables


def _lost(error: str, registered: Mapping[str, LanceTable]) -> list[str]:
    """Return the tables that a statement needs (directly or through a view) and that the store is missing."""
    named = re.match(r"Catalog Error: Table with name (\w+?)(_raw)? does not exist", error)
    if named is None:
        return []
    wanted = {named[1], *(tables_of_view(named[1]) if named[1] in SQL_VIEWS else ())}
    return sorted(t for t in wanted.difference(registered) if t in TABLES or t.startswith(EMBEDDINGS_PREFIX))


def _check(connection: Any, sql: str) -> None:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_one_line(error)) from error
    if len(statements) != 1:
        raise QueryError(f"found {len(statements)} statements, wanted exactly one SELECT")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        raise QueryError(f"found {kind}, wanted a SELECT: the store is read-only in SQL")


def _readable(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float16():
        return pa.field(field.name, pa.list_(pa.float32(), kind.list_size))
    return pa.field(field.name, kind)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines if set(line) != {"^"})[:400]
