"""The only module that imports DuckDB: connections that can read the store's tables and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from threading import Timer
from typing import Any

import pyarrow as pa

from embstore.errors import QueryError, QueryLimitError
from embstore.store.lance_table import LanceTable
from embstore.store.schema import EMBEDDINGS_PREFIX, LATER_TABLES, TABLES
from embstore.store.store import Store
from embstore.store.tables import unreadable

MEMORY_LIMIT = "4GB"
QUERY_TIMEOUT_S = 300.0
GRACE_S = 2.0  # DuckDB stops between two steps, and one step may be a function that fills gigabytes
ROWS_PER_BATCH = 10_000

SqlParameters = Sequence[Any] | Mapping[str, Any] | None

# the views that SQL offers beside the stored tables, and what each reads; a view comes after those that it reads
SQL_VIEWS: dict[str, set[str]] = {
    "image_current": {"images"},
    "cells": {"cells", "image_current", "proteins"},
    "units": {"cells", "image_current", "ingested", "profiles", "proteins", "spaces"},
}
INCLUDE = re.compile(r"\{([a-z]\w*)\}")  # but not the `{8}` of a regular expression

SETTINGS = (
    "SET enable_progress_bar = false",  # on a terminal it would be drawn on stdout, among the data
    f"SET memory_limit = '{MEMORY_LIMIT}'",
    # if there is a folder for temporary files, DuckDB lets every query read the files in it
    "SET temp_directory = ''",
    "SET max_temp_directory_size = '0 bytes'",
    "SET enable_external_access = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET lock_configuration = true",
)


def select(
    store: Store,
    sql: str,
    parameters: SqlParameters = None,
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
    with _asked(store, sql, parameters, timeout_s, tables=tables) as (relation, limited), limited():
        answer = relation.to_arrow_table()
    _refuse_equal_names(answer.column_names)
    return answer


@contextmanager
def stream(
    store: Store,
    sql: str,
    parameters: SqlParameters = None,
    *,
    timeout_s: float = QUERY_TIMEOUT_S,
    tables: Sequence[str] | None = None,
    overdue: Callable[[str], None],
) -> Iterator[pa.RecordBatchReader]:
    """Yield the answer to one SELECT (see `select`) as a reader of record batches, which computes them as it is read.

    The time that the reader waits for its consumer does not count. A single call of a SQL function cannot be
    interrupted: if one runs GRACE_S seconds beyond the limit, `overdue` is called in another thread, with the error
    message, and has to end the process.
    """
    with _asked(store, sql, parameters, timeout_s, tables=tables, overdue=overdue) as (relation, limited):
        with limited():
            batches = relation.to_arrow_reader(ROWS_PER_BATCH)
        _refuse_equal_names(batches.schema.names)

        def taken() -> Iterator[pa.RecordBatch]:
            while True:
                with limited():
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

        yield pa.RecordBatchReader.from_batches(batches.schema, taken())


Limited = Callable[[], AbstractContextManager[None]]


@contextmanager
def _asked(
    store: Store,
    sql: str,
    parameters: SqlParameters,
    timeout_s: float,
    *,
    tables: Sequence[str] | None = None,
    overdue: Callable[[str], None] | None = None,
) -> Iterator[tuple[Any, Limited]]:
    """Yield DuckDB's relation of one SELECT, and the context within which it must be evaluated."""
    import duckdb

    with duckdb.connect() as connection:
        registered = register(connection, store, tables)
        _refuse_other_statements(connection, sql)
        limit = _TimeLimit(connection.interrupt, timeout_s, overdue)

        @contextmanager
        def limited() -> Iterator[None]:
            with _one_line_errors(store, registered, timeout_s), limit.counting():
                yield

        with limited():
            relation = connection.sql(sql, params=parameters)
        yield relation, limited


class _TimeLimit:
    """Interrupts a query after so many seconds of work; calls `overdue` if it does not stop."""

    def __init__(self, interrupt: Callable[[], None], timeout_s: float, overdue: Callable[[str], None] | None) -> None:
        self._interrupt, self._overdue = interrupt, overdue
        self._line = too_long(timeout_s)
        self._left_s = timeout_s

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time that is spent in this block."""
        timers = [Timer(max(0, self._left_s), self._interrupt)]
        if self._overdue is not None:
            timers.append(Timer(max(0, self._left_s) + GRACE_S, self._overdue, [self._line]))
        began = time.monotonic()
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            self._left_s -= time.monotonic() - began


def too_long(timeout_s: float) -> str:
    """Return the error message for a query that ran longer than its limit."""
    return f"the query ran longer than {timeout_s:g} s and was stopped; narrow it"


@contextmanager
def _one_line_errors(store: Store, registered: Mapping[str, LanceTable], timeout_s: float) -> Iterator[None]:
    """Turn DuckDB's errors into QueryErrors."""
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:  # Arrow turns DuckDB's errors between two batches into OSError
        raise _as_query_error(error, store, registered, timeout_s) from error


def _as_query_error(
    error: Exception, store: Store, registered: Mapping[str, LanceTable], timeout_s: float
) -> QueryError:
    line = _one_line(error)
    if line.startswith("INTERRUPT Error"):
        return QueryLimitError(too_long(timeout_s))
    if line.startswith("Out of Memory Error"):
        todo = "narrow it, or ask in parts"
        return QueryLimitError(f"the query needs more than {MEMORY_LIMIT} of memory and was stopped; {todo}")
    failures = [unreadable(name, table.failure, table.dataset) for name, table in registered.items() if table.failure]
    failures += [store._tables.no_table(name) for name in _lost(line, registered)]
    return QueryError(failures[0] if failures else line)


def _refuse_equal_names(names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:  # rows as dictionaries would lose one of them without warning
        raise QueryError(f"two columns are named {', '.join(sorted(twice))}; rename one of them with AS")


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


# -- which statements are allowed --------------------------------------------------------------------------------------


def refuse_no_condition(text: str) -> None:
    """Raise QueryError unless a text is one SQL condition by itself, so that it cannot close brackets around it.

    DuckDB parses it twice, after WHERE and in brackets after WHERE: `true) OR (true` fails the first, `true LIMIT 1`
    the second.
    """
    import duckdb

    with duckdb.connect() as connection:
        for statement in (f"SELECT 1 WHERE {text}\n", f"SELECT 1 WHERE (\n{text}\n)"):
            try:
                _refuse_other_statements(connection, statement)
            except QueryError as error:
                todo = "write one, such as gene = 'ACTB'"
                raise QueryError(f"{text[:100]!r} is not a SQL condition by itself ({error}); {todo}") from error


def _refuse_other_statements(connection: Any, sql: str) -> None:
    """Raise QueryError unless the text is exactly one SELECT."""
    statements = _parsed(connection, sql)
    if len(statements) != 1:
        raise QueryError(f"found {len(statements)} statements, wanted exactly one SELECT")
    kind = _kind(statements[0])
    if kind == "MULTI":  # PIVOT first looks up its columns; only a query can be in brackets
        bracketed = f"FROM (\n{statements[0].query.strip().rstrip(';')}\n)"
        try:
            kind = "SELECT" if len(_parsed(connection, bracketed)) == 1 else kind
        except QueryError:
            kind = "PIVOT inside another statement"
    if kind != "SELECT":
        raise QueryError(f"found {kind}, wanted a SELECT: the store is read-only in SQL")


def _parsed(connection: Any, sql: str) -> list[Any]:
    import duckdb

    try:
        statements: list[Any] = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_one_line(error)) from error
    return statements


def _kind(statement: Any) -> str:
    try:
        return str(statement.type.name)
    except ValueError:  # DuckDB's Python has no name for some, such as UPDATE EXTENSIONS
        return "another kind of statement"


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines if set(line) != {"^"})[:400]
