"""`embstore proteins`: what is known about proteins besides their images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.context import Format, Output, open_store
from embstore_cli.render import emit_table, say

app = typer.Typer(no_args_is_help=True, help="What is known about proteins besides their images.")


@app.command("seen")
def seen(
    table: Annotated[
        Path,
        typer.Argument(help="CSV, TSV, Parquet or xlsx with a row for each protein that the backbone was trained on."),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "-b",
            metavar="NAME",
            autocompletion=completion.backbone_names,
            help="The backbone that was trained on them.",
        ),
    ],
    id_column: Annotated[
        str | None, typer.Option("--id-column", help="Column of protein ids (Ensembl, UniProt).")
    ] = None,
    gene_column: Annotated[str | None, typer.Option("--gene-column", help="Column of gene symbols.")] = None,
    form: Output = Format.table,
) -> None:
    """Record which proteins a backbone was trained on; run it again after adding proteins.

    Example: `embstore proteins seen subcellular_location.tsv --backbone hpa`
    """
    from embstore.ingest import set_seen

    report = set_seen(open_store(write=True), table, backbone=backbone, id_column=id_column, gene_column=gene_column)
    emit_table(report.to_arrow().drop_columns("version"), form)
    for note in report.notes:
        say(note)
    say(f"to leave them out: SELECT * FROM proteins WHERE NOT list_contains(seen_in_pretraining, '{backbone}')")
