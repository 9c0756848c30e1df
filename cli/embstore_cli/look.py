"""`embstore sql` and `embstore status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from embstore_cli.context import Format, Output, open_store
from embstore_cli.render import emit_table, end_process, say

if TYPE_CHECKING:
    from embstore.store import Store

STATUS_FOR_PEOPLE = ("name", "rows", "version", "disk_bytes", "holds")
RUN_FOR_PEOPLE = ("started", "kind", "dataset", "status", "planned", "done", "unchanged", "failed", "cells", "vectors")


def sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="A SELECT statement; '-' reads it from stdin.")],
    form: Output = Format.table,
) -> None:
    """Run a SELECT over the tables of the store; never writes.

    Example: `embstore sql "SELECT dataset, count(*) AS cells FROM cells GROUP BY ALL ORDER BY ALL"`
    """
    from embstore.store import stream

    text = sys.stdin.read() if statement == "-" else statement
    with stream(open_store(), text, overdue=end_process) as answer:
        emit_table(answer, form)


def status(
    runs: Annotated[
        bool, typer.Option("--runs", help="List the runs of ingest, embed and import, newest first.")
    ] = False,
    form: Output = Format.table,
) -> None:
    """List the tables of the store; disk_bytes includes old versions (`embstore maintain` removes them).

    Example: `embstore --store demo/store status`
    """
    import pyarrow as pa

    from embstore.store import distinguishing_specs, embeddings_name, list_spaces

    store = open_store()
    if runs:
        _runs(store, form)
        return
    spaces = list_spaces(store)
    each = {"cell": "per cell", "image": "per image", "protein": "per protein"}
    contents_of = {
        embeddings_name(space["digest"]): f"{name}, {space['dim']} numbers {each[space['unit']]}"
        for name, space in zip(distinguishing_specs(spaces), spaces, strict=True)
    }
    tables = store.status()
    contents = pa.array([contents_of.get(table["name"], "") for table in tables], pa.string())
    emit_table(tables.to_arrow().append_column("holds", contents), form, people=STATUS_FOR_PEOPLE)
    failures = sum(table["rows"] for table in tables if table["name"] == "failures")
    if failures:
        say(f"{failures} files failed: embstore sql 'SELECT source, error, todo FROM failures ORDER BY source'")


def _runs(store: Store, form: Format) -> None:
    from embstore.store import list_ingests

    records = list_ingests(store)
    emit_table(records, form, people=RUN_FOR_PEOPLE)
    if form is Format.table:
        say("times are UTC" if len(records) else "no run is recorded yet")
