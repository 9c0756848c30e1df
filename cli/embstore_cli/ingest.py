"""`embstore ingest` and `embstore embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.choices import (
    SOURCE_PANEL,
    SPEC_REMOVED,
    BackboneSpecs,
    DeviceOption,
    Force,
    LocationNames,
    cell_option,
    columns_option,
    names_of_columns,
    run_option,
    source_option,
)
from embstore_cli.context import Dataset, Format, Output, open_store, store_to_write
from embstore_cli.imports import OF_INGEST
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.removed import removed_error, without_options
from embstore_cli.render import say
from embstore_cli.summary import finish

DropFlagged = Annotated[bool, cell_option("--drop-flagged", help="Make no vectors of cells with a quality flag.")]
Strict = Annotated[bool, run_option("--strict", help="Exit 1 if anything failed.")]


@without_options(*OF_INGEST, *SPEC_REMOVED)
def ingest(
    source: Annotated[Path, typer.Argument(help="A folder of images, or one image.")],
    backbone: BackboneSpecs,
    layout: Annotated[
        str | None,
        source_option(
            "--layout",
            autocompletion=completion.layouts,
            help="opencell, hpa, manifest, fields, crops or ome [default: detected from the file names].",
        ),
    ] = None,
    labels: Annotated[Path | None, source_option("--labels", help="Table of labels.")] = None,
    location_map: LocationNames = None,
    dataset: Annotated[
        str | None,
        source_option("--dataset", autocompletion=completion.datasets, help="Dataset name [default: the layout's]."),
    ] = None,
    channels: Annotated[
        str | None,
        source_option("--channels", help="Roles of planes, or of names: nucleus,protein or gfp=protein,rfp=er."),
    ] = None,
    source_root: Annotated[
        Path | None,
        source_option("--source-root", help="Folder of the files that a table lists [default: the table's]."),
    ] = None,
    columns: Annotated[list[str] | None, columns_option(rich_help_panel=SOURCE_PANEL)] = None,
    limit: Annotated[
        int | None, source_option("--limit", min=1, help="Ingest at most N images; run it again for the next N.")
    ] = None,
    masks: Annotated[
        Path | None, cell_option("--masks", help="Folder of label images of nuclei or cells, named like the images.")
    ] = None,
    segmenter: Annotated[
        str | None,
        cell_option("--segmenter", metavar="NAME", help="builtin, or one that a package registers [default: builtin]."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        cell_option("--pixel-size", metavar="UM", help="µm per pixel; takes precedence over files and layout."),
    ] = None,
    drop_flagged: DropFlagged = False,
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool,
        run_option("--dry-run", help="Report what would be ingested, and every problem; write nothing."),
    ] = False,
    strict: Strict = False,
    retry_failed: Annotated[
        bool, run_option("--retry-failed", help="Retry files that failed and have not changed.")
    ] = False,
    rehash: Annotated[
        bool, run_option("--rehash", help="Compare contents (sha256) of files whose size and time are unchanged.")
    ] = False,
    force: Force = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Ingest images into the store; run it again to continue.

    Example: `embstore ingest images/ --layout opencell --labels labels.csv --backbone pixel-stats`
    """
    if layout == "vectors":
        raise removed_error("--layout vectors", f"write embstore import {source} --dataset NAME --backbone NAME")
    layout = layout or _detected(source)
    from embstore.ingest import ingest as run

    with show_progress(progress_form) as progress:
        report = run(
            store_to_write(),
            source,
            layout=layout,
            backbones=backbone,
            labels=labels,
            location_map=location_map,
            channels=channels or "",
            source_root=source_root,
            dataset=dataset,
            masks=masks,
            columns=names_of_columns(columns),
            segmenter=segmenter,
            pixel_size_um=pixel_size,
            drop_flagged=drop_flagged,
            device=device,
            limit=limit,
            retry_failed=retry_failed,
            rehash=rehash,
            dry_run=dry_run,
            force=force,
            progress=progress,
        )
    finish(report, form=form, strict=strict, dry_run=dry_run)


@without_options(*SPEC_REMOVED)
def embed(
    backbone: BackboneSpecs,
    dataset: Dataset = None,
    source_root: Annotated[
        Path | None, source_option("--source-root", help="Folder in which the images are now.")
    ] = None,
    drop_flagged: DropFlagged = False,
    device: DeviceOption = "auto",
    strict: Strict = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Compute vectors of the store's cells (with unit=image: images) with another backbone.

    Example: `embstore embed --backbone vit-random:replication --dataset opencell`
    """
    from embstore.ingest import embed as run

    store = open_store(write=True)
    with show_progress(progress_form) as progress:
        report = run(
            store,
            backbones=backbone,
            dataset=dataset,
            source_root=source_root,
            drop_flagged=drop_flagged,
            device=device,
            progress=progress,
        )
    finish(report, form=form, strict=strict, dry_run=False)


def _detected(source: Path) -> str:
    from embstore.sources.detect import detect

    layout, why = detect(source)
    say(f"layout: {layout} ({why}); choose another with --layout")
    return layout
