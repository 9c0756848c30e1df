"""`embstore phantom`: simulated datasets with known truth."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embstore_cli import completion
from embstore_cli.context import Format, Output, open_store
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.render import emit_table, say

if TYPE_CHECKING:
    from embstore.phantom.write import Layout

app = typer.Typer(no_args_is_help=True, help="Simulated datasets whose truth is known.")


@app.command("write")
def write(
    out: Annotated[Path, typer.Argument(help="A new folder, or one from the same command, interrupted.")],
    layout: Annotated[str, typer.Option("--layout", help="Names and formats of opencell or hpa.")],
    proteins: Annotated[int, typer.Option("--proteins", help="Number of proteins; 200 cover every location.")] = 60,
    fields: Annotated[int, typer.Option("--fields", help="Number of fields per protein.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated proteins.")] = 0,
    version: Annotated[str, typer.Option("--version", help="Simulator version; a released one never changes.")] = "v1",
    field_px: Annotated[
        int | None, typer.Option("--field-px", help="Side of a field [default: 600 for opencell, 1536 for hpa].")
    ] = None,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Write simulated fields, labels like published ones and the truth; the same command writes the same bytes.

    Example: `embstore phantom write atlas --layout opencell --proteins 200 --fields 4 --seed 0`
    """
    from embstore.phantom.write import write_phantom

    layout_: Layout = layout  # type: ignore[assignment]  # the library refuses others, and lists them
    with show_progress(progress_form) as progress:
        report = write_phantom(
            out,
            layout=layout_,
            proteins=proteins,
            fields=fields,
            seed=seed,
            version=version,
            field_px=field_px,
            progress=progress,
        )
    emit_table(report, form)
    images, labels, atlas = (shlex.quote(str(path)) for path in (report.images_folder, report.labels, out))
    say(f"next: embstore ingest {images} --layout {layout} --labels {labels} --backbone pixel-stats")
    say(f"then: embstore phantom truth {atlas}")


@app.command("truth")
def truth(
    atlas: Annotated[Path, typer.Argument(help="The folder that `embstore phantom write` made.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", autocompletion=completion.datasets, help="Dataset name [default: the layout's]."),
    ] = None,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Label the store's cells with their true locations (`<dataset>/truth`) and score the segmentation.

    Example: `embstore phantom truth atlas`
    """
    from embstore.phantom.truth import add_truth

    with show_progress(progress_form) as progress:
        report = add_truth(open_store(write=True), atlas, dataset=dataset, progress=progress)
    emit_table(report, form)
    say(
        f"{report.labelled} cells are labelled with their true locations: "
        f"embstore sql \"SELECT location, grade, count(*) AS cells FROM labels WHERE label_set = '{report.label_set}' "
        'GROUP BY ALL ORDER BY ALL"'
    )


@app.command("versions")
def versions(form: Output = Format.table) -> None:
    """List the simulator versions, with the digest of each one's parameters and code.

    Example: `embstore phantom versions --format json`
    """
    import pyarrow as pa

    from embstore.phantom.v1.law import LOCATIONS
    from embstore.phantom.versions import VERSIONS, atlas_digest

    columns = {"version": list(VERSIONS), "digest": [atlas_digest(version) for version in VERSIONS]}
    emit_table(pa.table(columns | {"locations": [len(LOCATIONS)] * len(VERSIONS)}), form)
