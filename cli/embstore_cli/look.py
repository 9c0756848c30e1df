"""`embstore sql` and `embstore status`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from embstore_cli.context import Format, Output, open_store
from embstore_cli.render import emit, say


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


def status(form: Output = Format.table) -> None:
    """What the store holds: one row a table; disk_bytes counts old versions too (`embstore maintain` removes them).

    Example: `embstore --store demo/store status`
    """
    from embstore.store import embeddings_name, list_spaces, told_apart

    store = open_store()
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
