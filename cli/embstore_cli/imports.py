"""`embstore import`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.choices import Force, LocationNames, columns_option, names_of_columns, run_option
from embstore_cli.context import Format, Output, store_to_write
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.removed import RemovedOption, without_options
from embstore_cli.summary import finish

column_option = partial(typer.Option, rich_help_panel="What the file contains")

# the options of the earlier `ingest --layout vectors`
OF_INGEST = (
    RemovedOption("--vectors", "write embstore import FILE --embeddings KEY"),
    RemovedOption("--id-column", "write embstore import FILE --id-column COLUMN"),
    RemovedOption("--gene-column", "write embstore import FILE --gene-column COLUMN"),
    RemovedOption("--label-column", "write embstore import FILE --label-column COLUMN"),
    RemovedOption("--unlabelled", "write embstore import FILE --unlabelled VALUE"),
    RemovedOption("--no-header", "write embstore import FILE --no-header", is_flag=True),
    RemovedOption("--table", "write embstore import FILE --table TABLE"),
)


@without_options(
    RemovedOption("--layout", "embstore import reads only embeddings; leave it out"),
    RemovedOption("--vectors", "write --embeddings KEY"),
)
def import_file(
    file: Annotated[
        Path, typer.Argument(help="An npz, npy, CSV, TSV, Parquet, xlsx or h5ad file, or a folder of .npy files.")
    ],
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            "-b",
            metavar="NAME",
            autocompletion=completion.stored_specs,
            help="Name of the backbone that made the embeddings.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            autocompletion=completion.datasets,
            help="The dataset that the rows belong to [default: that of the store's own cells or images].",
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        column_option(
            "--embeddings",
            metavar="KEY",
            help="Key of an array, or column patterns such as 'FS*,FP*' [default: the only array, or all columns "
            "without another meaning].",
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        column_option("--id-column", help="Protein ids (Ensembl, UniProt), or ids of the store's own cells or images."),
    ] = None,
    gene_column: Annotated[str | None, column_option("--gene-column", help="Gene symbols.")] = None,
    label_column: Annotated[
        str | None, column_option("--label-column", help="Locations, separated by ';', or multi-hot.")
    ] = None,
    unlabelled: Annotated[str | None, column_option("--unlabelled", help="The label that means no label.")] = None,
    location_map: LocationNames = None,
    no_header: Annotated[
        bool, column_option("--no-header", help="The CSV has no header line: its columns are called 1, 2, 3, ...")
    ] = False,
    table: Annotated[
        Path | None,
        column_option("--table", help="The table that names the rows of a .npy [default: the CSV of its name]."),
    ] = None,
    columns: Annotated[list[str] | None, columns_option(rich_help_panel="What the file contains")] = None,
    fill_nan: Annotated[
        str | None,
        column_option(
            "--fill-nan", metavar="mean|0", help="What missing numbers become [default: their rows are refused]."
        ),
    ] = None,
    replace: Annotated[
        bool, run_option("--replace", help="Replace rows of the dataset that came from another file.")
    ] = False,
    dry_run: Annotated[
        bool, run_option("--dry-run", help="Report what would be imported, and every problem; write nothing.")
    ] = False,
    strict: Annotated[bool, run_option("--strict", help="Exit 1 if any row failed.")] = False,
    force: Force = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Import embeddings that were computed elsewhere; run it again after the file changed.

    Example: `embstore import v.npz --dataset mine --backbone theirs --embeddings X --id-column ensg_id`
    """
    from embstore.ingest import import_embeddings

    with show_progress(progress_form) as progress:
        report = import_embeddings(
            store_to_write(),
            file,
            dataset=dataset,
            backbone=backbone,
            embeddings=embeddings,
            id_column=id_column,
            gene_column=gene_column,
            label_column=label_column,
            unlabelled=unlabelled,
            location_map=location_map,
            header=not no_header,
            table=table,
            columns=names_of_columns(columns),
            fill_nan=fill_nan,
            replace=replace,
            dry_run=dry_run,
            force=force,
            progress=progress,
        )
    finish(report, form=form, strict=strict, dry_run=dry_run)
