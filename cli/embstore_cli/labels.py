"""`embstore labels`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.choices import LocationNames, columns_option, names_of_columns
from embstore_cli.context import Format, Output, open_store
from embstore_cli.render import emit_table, print_line, say
from embstore_cli.summary import located

LABEL_SET_COLUMNS = ("label_set", "level", "locations", "subjects", "labels", "revision", "source")
app = typer.Typer(no_args_is_help=True, help="Published locations of proteins, which scores are computed against.")


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table of labels: OpenCell's, HPA's, Kaggle's or your own.")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", autocompletion=completion.datasets, help="The dataset that is labelled.")
    ],
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="Name of the label set, or which one of a published table.")
    ] = None,
    level: Annotated[str | None, typer.Option("--level", help="What is labelled: protein, image or cell.")] = None,
    columns: Annotated[list[str] | None, columns_option()] = None,
    location_map: LocationNames = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List locations with counts, and suspects; write nothing.")
    ] = False,
) -> None:
    """Add a new release of labels without a new ingest; subjects that it does not name keep theirs.

    Example: `embstore labels add subcellular_location.tsv --dataset hpa --scheme main`
    """
    from embstore.ingest import add_labels

    added = add_labels(
        open_store(write=not dry_run),
        file,
        dataset=dataset,
        scheme=scheme,
        level=level,
        location_map=location_map,
        dry_run=dry_run,
        columns=names_of_columns(columns),
    )
    met = ", ".join(f"{n} by {how}" for how, n in added.joined.items() if n)
    print_line(f"{', '.join(added.label_sets)}: {met}, of {added.subjects} {added.level}s in {file.name}")
    if dry_run:
        for line in located(added.locations):
            print_line(line)
    else:
        print_line(f"{added.changed} {added.level}s are new or changed, counted in each label set")
    for note in added.notes:
        say(note)
    for failure in added.failures:
        say(f"left out: {failure}")


@app.command("list")
def list_all(form: Output = Format.table) -> None:
    """List the label sets of the store.

    Example: `embstore labels list`
    """
    from embstore.ingest import list_labels

    emit_table(list_labels(open_store()).to_arrow().select(LABEL_SET_COLUMNS), form)
