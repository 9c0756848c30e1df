"""`embstore ingest` and `embstore embed`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError
from embstore_cli.context import Backbones, Dataset, Format, Labels, Output, open_store, store_to_write
from embstore_cli.render import emit, progress_bars, say

if TYPE_CHECKING:
    from embstore.ingest import Report
    from embstore.sources.record import Fault
    from embstore.sources.vectors import Columns

DropFlagged = Annotated[
    bool, typer.Option("--drop-flagged", help="No vector for cells with a quality flag; they stay rows of cells.")
]
Intensity = Annotated[
    str | None,
    typer.Option("--intensity", metavar="NAME", help="percentile (default), minmax, minmax-joint or zscore."),
]
SHOWN_FAULTS = 10
SHOWN_NOTES = 5


def ingest(
    source: Annotated[Path, typer.Argument(help="A folder of images, one image, or a file of vectors.")],
    backbone: Backbones,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", help="opencell, hpa, manifest, fields, crops, ome, vectors; default: what names prove."
        ),
    ] = None,
    labels: Labels = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Its name; default: the layout's.")] = None,
    channels: Annotated[
        str | None,
        typer.Option("--channels", help="What planes or names show: nucleus,protein or gfp=protein,rfp=cytosol."),
    ] = None,
    source_root: Annotated[
        Path | None, typer.Option("--source-root", help="Where a table's files lie; default: beside it.")
    ] = None,
    vectors: Annotated[
        str | None, typer.Option("--vectors", help="Key of an array, or column patterns: 'FS*,FP*'; default: all else.")
    ] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", help="Protein ids (Ensembl, UniProt).")] = None,
    gene_column: Annotated[str | None, typer.Option("--gene-column", help="Gene symbols.")] = None,
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="Locations, ';'-joined or multi-hot.")
    ] = None,
    unlabelled: Annotated[str | None, typer.Option("--unlabelled", help="The value that means no label.")] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="The CSV has no header line: its columns are called 1, 2, 3, ...")
    ] = False,
    table: Annotated[
        Path | None, typer.Option("--table", help="What names the rows of a .npy; default: the CSV of its name.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="Label images of nuclei, cells or both, named like the images.")
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", metavar="UM", help="µm a pixel, whatever files and layout say.")
    ] = None,
    drop_flagged: DropFlagged = False,
    intensity: Intensity = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when anything failed.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try unchanged failed files again.")] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Compare contents (sha256) even where size and time are the same.")
    ] = False,
    form: Output = Format.table,
) -> None:
    """Bring images (or vectors) into the store; run it again to continue.

    Example: `embstore ingest images/ --layout opencell --labels labels.csv --backbone pixel-stats`

    Vectors: `embstore ingest v.npz --layout vectors --dataset mine --backbone theirs --vectors X --id-column ensg_id`
    """
    of_vectors = {
        "--vectors": vectors,
        "--id-column": id_column,
        "--gene-column": gene_column,
        "--label-column": label_column,
        "--unlabelled": unlabelled,
        "--no-header": no_header,
        "--table": table,
    }
    layout = layout or _detected(source)
    of_images = {
        "--labels": labels,
        "--channels": channels,
        "--source-root": source_root,
        "--masks": masks,
        "--pixel-size": pixel_size,
        "--drop-flagged": drop_flagged,
        "--intensity": intensity,
        "--limit": limit,
        "--retry-failed": retry_failed,
        "--rehash": rehash,
    }
    _refuse(of_images if layout == "vectors" else of_vectors, layout)
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
                intensity=intensity or "percentile",
                limit=limit,
                retry_failed=retry_failed,
                rehash=rehash,
                dry_run=dry_run,
                progress=progress,
            )
    _finish(report, form=form, strict=strict, dry_run=dry_run)


def embed(
    backbone: Backbones,
    dataset: Dataset = None,
    source_root: Annotated[Path | None, typer.Option("--source-root", help="Where the images are now.")] = None,
    drop_flagged: DropFlagged = False,
    intensity: Intensity = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when anything failed.")] = False,
    form: Output = Format.table,
) -> None:
    """Give cells that are in the store vectors from another backbone.

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
            intensity=intensity or "percentile",
            progress=progress,
        )
    _finish(report, form=form, strict=strict, dry_run=False)


def _detected(source: Path) -> str:
    from embstore.sources.detect import detect

    layout, why = detect(source)
    say(f"layout: {layout} ({why}); --layout names another")
    return layout


def _refuse(options: Mapping[str, object], layout: str) -> None:
    """An option that would be passed over in silence is a mistake (a dry run that writes is the worst of them)."""
    given = [name for name, value in options.items() if value]
    if given:
        raise EmbstoreError(f"{', '.join(given)} does not go with --layout {layout}; leave it out")


def _bring(source: Path, dataset: str | None, backbone: list[str], columns: Columns, *, dry_run: bool) -> Report:
    from embstore.bring import bring_vectors

    if dataset is None or len(backbone) != 1:
        raise EmbstoreError("vectors need --dataset NAME and one --backbone NAME that says what made them")
    with progress_bars() as progress:
        return bring_vectors(
            store_to_write(),
            source,
            columns,
            dataset=dataset,
            backbone=backbone[0],
            dry_run=dry_run,
            progress=progress,
        )


def _finish(report: Report, *, form: Format, strict: bool, dry_run: bool) -> None:
    from dataclasses import asdict

    if form is Format.table:
        for line in summary(report, dry_run=dry_run):
            typer.echo(line)
    else:
        record = asdict(report)
        emit([record], list(record), form)
    shown = len(report.failures) if dry_run else SHOWN_FAULTS
    for fault in report.failures[:shown]:
        say(_fault(fault))
    if len(report.failures) > shown:
        say(f"... and {len(report.failures) - SHOWN_FAULTS} more: embstore sql 'SELECT * FROM failures'")
    failed = report.failures or report.known_failures
    nothing = not (report.images_in or report.done_before or report.vectors_in)
    if failed and (strict or nothing):
        raise typer.Exit(1)


def summary(report: Report, *, dry_run: bool = False) -> list[str]:
    """Return what an ingest did, line by line."""
    if dry_run:
        todo = f"{report.images_in} of {report.images} {_unit(report)} would go in, {report.done_before} are done"
        faults = [f"{len(report.failures)} faults"] if report.failures else []
        return [f"{report.dataset}: {todo}", *report.notes, *faults]
    lines = [f"{report.dataset}: {_done(report)}"]
    lines += [f"  {space}: {n} vectors" for space, n in report.vectors_in.items()]
    if report.flags:
        lines.append("  flags: " + ", ".join(f"{n} {flag}" for flag, n in sorted(report.flags.items())))
    if report.dropped:
        lines.append(f"  {report.dropped} cells with a flag are rows without a vector (embstore embed gives them one)")
    if report.estimated_um:
        low, mid, high = min(report.estimated_um), median(report.estimated_um), max(report.estimated_um)
        lines.append(
            f"  pixel size not in the files: estimated from the median nucleus (12 µm) in each of "
            f"{len(report.estimated_um)} images, {low:.3f} to {high:.3f} µm (median {mid:.3f})"
        )
    if report.crops_assumed:
        lines.append(f"  {report.crops_assumed} crops of unknown pixel size: each taken to be 25 µm across")
    if report.images_recut:
        lines.append(
            f"  {report.images_recut} images that were in have new cells (other masks or pixel size); "
            "embstore embed brings their vectors in further spaces"
        )
    if report.renewed:
        lines.append(
            f"  {report.renewed} images that were in: what is known of them (protein, place, file) was renewed"
        )
    lines += [f"  {note}" for note in report.notes]
    lines += [f"  {image}: {note}" for image, note in list(report.mask_notes.items())[:SHOWN_NOTES]]
    if len(report.mask_notes) > SHOWN_NOTES:
        lines.append(f"  ... and {len(report.mask_notes) - SHOWN_NOTES} more: embstore sql 'SELECT note FROM images'")
    lines += [f"  no cell in {image}: {why}" for image, why in report.empty.items()]
    if report.without_protein:
        nameless = f"{report.without_protein} {_unit(report)} name no protein"
        lines.append(f"  {nameless}: in the store, left out of protein tasks and search")
    if report.known_failures:
        lines.append(
            f"  {len(report.known_failures)} files failed before and have not changed (--retry-failed tries again)"
        )
    if report.failures:
        lines.append(f"  {len(report.failures)} failures, recorded in the table `failures`")
    return lines


def _unit(report: Report) -> str:
    return "rows" if report.unit == "profile" else "images"


def _done(report: Report) -> str:
    if not report.images_in and not report.vectors_in and report.done_before:
        return f"nothing to do, {report.done_before} of {report.images} were done before"
    before = f", {report.done_before} were done before" if report.done_before else ""
    if report.unit == "profile":
        return f"{sum(report.vectors_in.values())} of {report.images} vectors went in{before}"
    changed = f", {report.images_changed} of them changed since" if report.images_changed else ""
    return f"{report.images_in} of {report.images} images went in{changed}, {report.cells_in} new cells{before}"


def _fault(fault: Fault) -> str:
    return f"failed: {fault.source}: {fault.error}; {fault.todo}"
