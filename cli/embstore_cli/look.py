"""`embstore sql` and `embstore status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from embstore_cli.context import Format, Output, open_store
from embstore_cli.render import emit, emit_table, say

if TYPE_CHECKING:
    from embstore.store import Store


def sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT; '-' reads it from stdin.")],
    form: Output = Format.table,
) -> None:
    """Ask SQL over every table, read-only.

    Example: `embstore sql "SELECT dataset, count(*) AS cells FROM cells GROUP BY ALL ORDER BY ALL"`
    """
    from embstore.store import select

    answer = select(open_store(), sys.stdin.read() if statement == "-" else statement)
    if form is Format.parquet:
        import pyarrow.parquet as pq

        pq.write_table(answer, sys.stdout.buffer)
        return
    emit(answer.to_pylist(), answer.column_names, form)


RUN_COLUMNS = ("started", "kind", "dataset", "status", "planned", "done", "unchanged", "failed", "cells", "vectors")
Runs = Annotated[bool, typer.Option("--runs", help="Show the runs of ingest, embed and import, newest first.")]


def status(
    runs: Annotated[
        bool, typer.Option("--runs", help="One row a run of ingest, embed or import, newest first.")
    ] = False,
    form: Output = Format.table,
) -> None:
    """What the store holds: one row a table; disk_bytes counts old versions too (`embstore maintain` removes them).

    Example: `embstore --store demo/store status`
    """
    from embstore.store import embeddings_name, list_spaces, told_apart

    store = open_store()
    if runs:
        _runs(store, form)
        return
    spaces = list_spaces(store)
    each = {"cell": "a cell", "image": "an image", "protein": "a protein"}
    held = {
        embeddings_name(space["digest"]): f"{name}, {space['dim']} numbers {each[space['unit']]}"
        for name, space in zip(told_apart(spaces), spaces, strict=True)
    }
    tables = store.status()
    records = [{**table, "holds": held.get(table["name"], "")} for table in tables]
    emit(records, ("name", "rows", "version", "bytes", "fragments", "versions", "disk_bytes", "holds"), form)
    failures = sum(table["rows"] for table in tables if table["name"] == "failures")
    if failures:
        say(f"{failures} failed files: embstore sql 'SELECT source, error, todo FROM failures ORDER BY source'")


def _runs(store: Store, form: Format) -> None:
    from embstore.store import list_ingests

    records = list_ingests(store)
    if form is Format.table:
        shown = [{**record, "started": f"{record['started']:%Y-%m-%d %H:%M:%S}"} for record in records]
        emit(shown, RUN_COLUMNS, form)
        say("times are UTC; all columns: --format csv, json or parquet" if shown else "no run is recorded yet")
    else:
        emit_table(records, form)
