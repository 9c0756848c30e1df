"""`embstore segmenters`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embstore_cli.context import Format, Output
from embstore_cli.render import emit_table, print_line

app = typer.Typer(no_args_is_help=True, help="What finds the cells of an image, and its weights.")


@dataclass(frozen=True)
class SegmenterLine:
    """One row of `segmenters list`; `get` is the command that gets what is missing, `error` why it cannot be used."""

    name: str
    ready: str  # yes or no
    version: str
    package: str
    get: str
    error: str


@app.command("list")
def list_all(form: Output = Format.table) -> None:
    """List the segmenters that `ingest --segmenter` accepts: the built-in one and those of installed packages.

    Example: `embstore segmenters list`
    """
    from embstore.ingest.segmenters import list_segmenters
    from embstore.tabular import Listing

    rows = [
        SegmenterLine(
            name=segmenter.name,
            ready="yes" if segmenter.ready else "no",
            version=segmenter.version,
            package=segmenter.package,
            get="" if segmenter.ready or segmenter.error else f"embstore segmenters fetch {segmenter.name}",
            error=segmenter.error,
        )
        for segmenter in list_segmenters()
    ]
    emit_table(Listing(rows, SegmenterLine, "segmenter"), form)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The file of the weights [default: what the segmenter downloads]."),
    ] = None,
) -> None:
    """Get the weights of a segmenter and keep them.

    Example: `embstore segmenters fetch cellpose --from cpsam`
    """
    from embstore.ingest.segmenters import fetch_segmenter

    print_line(f"{name} is ready: {fetch_segmenter(name, source).folder}")
