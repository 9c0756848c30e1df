"""`embstore ingest` and `embstore embed`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError
from embstore_cli.choices import (
    SPEC_REMOVED,
    BackboneSpecs,
    DeviceOption,
    cell_option,
    run_option,
    source_option,
    vector_option,
)
from embstore_cli.context import Dataset, Format, Output, open_store, store_to_write
from embstore_cli.removed import without_options
from embstore_cli.render import progress_bars, say
from embstore_cli.summary import finish

if TYPE_CHECKING:
    from embstore.ingest import Report
    from embstore.sources.vectors import Columns

DropFlagged = Annotated[
    bool, cell_option("--drop-flagged", help="No vector for cells with a quality flag; they stay rows of cells.")
]
Strict = Annotated[bool, run_option("--strict", help="Exit 1 when anything failed.")]


@without_options(*SPEC_REMOVED)
def ingest(
    source: Annotated[Path, typer.Argument(help="A folder of images, one image, or a file of vectors.")],
    backbone: BackboneSpecs,
    layout: Annotated[
        str | None,
        source_option(
            "--layout", help="opencell, hpa, manifest, fields, crops, ome, vectors; default: what names prove."
        ),
    ] = None,
    labels: Annotated[Path | None, source_option("--labels", help="CSV of the layout's labels.")] = None,
    dataset: Annotated[str | None, source_option("--dataset", help="Its name; default: the layout's.")] = None,
    channels: Annotated[
        str | None,
        source_option("--channels", help="What planes or names show: nucleus,protein or gfp=protein,rfp=cytosol."),
    ] = None,
    source_root: Annotated[
        Path | None, source_option("--source-root", help="Where a table's files lie; default: beside it.")
    ] = None,
    limit: Annotated[int | None, source_option("--limit", min=1, help="Only the first N images.")] = None,
    vectors: Annotated[
        str | None,
        vector_option("--vectors", help="Key of an array, or column patterns: 'FS*,FP*'; default: all else."),
    ] = None,
    id_column: Annotated[str | None, vector_option("--id-column", help="Protein ids (Ensembl, UniProt).")] = None,
    gene_column: Annotated[str | None, vector_option("--gene-column", help="Gene symbols.")] = None,
    label_column: Annotated[
        str | None, vector_option("--label-column", help="Locations, ';'-joined or multi-hot.")
    ] = None,
    unlabelled: Annotated[str | None, vector_option("--unlabelled", help="The value that means no label.")] = None,
    no_header: Annotated[
        bool, vector_option("--no-header", help="The CSV has no header line: its columns are called 1, 2, 3, ...")
    ] = False,
    table: Annotated[
        Path | None, vector_option("--table", help="What names the rows of a .npy; default: the CSV of its name.")
    ] = None,
    masks: Annotated[
        Path | None, cell_option("--masks", help="Label images of nuclei, cells or both, named like the images.")
    ] = None,
    pixel_size: Annotated[
        float | None, cell_option("--pixel-size", metavar="UM", help="µm a pixel, whatever files and layout say.")
    ] = None,
    drop_flagged: DropFlagged = False,
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool,
        run_option(
            "--dry-run", help="Say what would go in and every fault that names, tables and headers show; write nothing."
        ),
    ] = False,
    strict: Strict = False,
    retry_failed: Annotated[bool, run_option("--retry-failed", help="Try unchanged failed files again.")] = False,
    rehash: Annotated[
        bool, run_option("--rehash", help="Compare contents (sha256) even where size and time are the same.")
    ] = False,
    form: Output = Format.table,
) -> None:
    """Bring images (or vectors) into the store; run it again to continue.

    Example: `embstore ingest images/ --layout opencell --labels labels.csv --backbone pixel-stats`

    Vectors: `embstore ingest v.npz --layout vectors --dataset mine --backbone theirs --vectors X --id-column ensg_id`
    """
    vector_options = {
        "--vectors": vectors,
        "--id-column": id_column,
        "--gene-column": gene_column,
        "--label-column": label_column,
        "--unlabelled": unlabelled,
        "--no-header": no_header,
        "--table": table,
    }
    layout = layout or _detected(source)
    image_options = {
        "--labels": labels,
        "--channels": channels,
        "--source-root": source_root,
        "--masks": masks,
        "--pixel-size": pixel_size,
        "--drop-flagged": drop_flagged,
        "--limit": limit,
        "--retry-failed": retry_failed,
        "--rehash": rehash,
    }
    _refuse(image_options if layout == "vectors" else vector_options, layout)
    if layout == "vectors":
        from embstore.sources.vectors import Columns

        columns = Columns(vectors, id_column, gene_column, label_column, unlabelled, not no_header, table)
        report = _bring(source, dataset, backbone, columns, dry_run=dry_run)
    else:
        from embstore.ingest import ingest as run

        with progress_bars() as progress:
            report = run(
                store_to_write(),
                source,
                layout=layout,
                backbones=backbone,
                labels=labels,
                channels=channels or "",
                source_root=source_root,
                dataset=dataset,
                masks=masks,
                pixel_size_um=pixel_size,
                drop_flagged=drop_flagged,
                device=device,
                limit=limit,
                retry_failed=retry_failed,
                rehash=rehash,
                dry_run=dry_run,
                progress=progress,
            )
    finish(report, form=form, strict=strict, dry_run=dry_run)


@without_options(*SPEC_REMOVED)
def embed(
    backbone: BackboneSpecs,
    dataset: Dataset = None,
    source_root: Annotated[Path | None, source_option("--source-root", help="Where the images are now.")] = None,
    drop_flagged: DropFlagged = False,
    device: DeviceOption = "auto",
    strict: Strict = False,
    form: Output = Format.table,
) -> None:
    """Give cells (or, with unit=image, whole images) that are in the store vectors from another backbone.

    Example: `embstore embed --backbone vit-random:replication --dataset opencell`
    """
    from embstore.ingest import embed as run

    store = open_store(write=True)
    with progress_bars() as progress:
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
    say(f"layout: {layout} ({why}); --layout names another")
    return layout


def _refuse(options: Mapping[str, object], layout: str) -> None:
    """An option that would be passed over in silence is a mistake (a dry run that writes is the worst of them)."""
    given = [name for name, value in options.items() if value not in (None, "") and value is not False]
    if given:
        raise EmbstoreError(f"{', '.join(given)} does not go with --layout {layout}; leave it out")


def _bring(source: Path, dataset: str | None, backbone: list[str], columns: Columns, *, dry_run: bool) -> Report:
    from embstore.ingest import import_embeddings

    if dataset is None or len(backbone) != 1:
        raise EmbstoreError("vectors need --dataset NAME and one --backbone NAME that says what made them")
    with progress_bars() as progress:
        return import_embeddings(
            store_to_write(),
            source,
            columns,
            dataset=dataset,
            backbone=backbone[0],
            dry_run=dry_run,
            progress=progress,
        )
