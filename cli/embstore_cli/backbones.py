"""`embstore backbones`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from embstore_cli.context import Format, Output
from embstore_cli.render import emit

app = typer.Typer(no_args_is_help=True, help="The networks and measurements that make vectors.")


@app.command("list")
def list_backbones(form: Output = Format.table) -> None:
    """Every backbone, whether it can be used here, and what it is.

    Example: `embstore backbones list`
    """
    from embstore.backbones.registry import availability, records

    rows = []
    for backbone in records().values():
        ready, missing = availability(backbone)
        what = {"name": backbone.name, "ready": "yes" if ready else "no", "slots": ",".join(backbone.slots)}
        rows.append(what | {"dim": backbone.dim, "licence": backbone.licence, "note": missing or backbone.note})
    emit(rows, ("name", "ready", "slots", "dim", "licence", "note"), form)


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME")], form: Output = Format.table) -> None:
    """One backbone's whole record.

    Example: `embstore backbones show hpa`
    """
    from embstore.backbones.registry import availability, parse

    backbone, _ = parse(name)
    ready, missing = availability(backbone)
    record = asdict(backbone) | {"ready": ready, "missing": missing}
    if form is Format.table:
        emit([{"field": k, "value": str(v)} for k, v in record.items()], ("field", "value"), form)
    else:
        emit([record], list(record), form)
