"""What an ingest or embed did, as lines for people or as one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import typer

from embstore_cli.context import Format
from embstore_cli.render import emit_table, print_line, say

if TYPE_CHECKING:
    import pyarrow as pa

    from embstore.ingest import Report
    from embstore.ingest.label_report import LocationCount
    from embstore.sources.record import Failure

SHOWN_FAILURES = 10
SHOWN_NOTES = 5
NOTES_SQL = "SELECT image_id, note FROM images WHERE note IS NOT NULL ORDER BY image_id"
SIZES_SQL = "SELECT image_id, pixel_size_um FROM images WHERE pixel_size_source = 'estimated' ORDER BY image_id"
SHOWN_ASSIGNMENTS = 10
SHOWN_SOURCES = 3
COUNTED_IN_NOTES = (
    "images_gone",
    "images_removed",
    "sizes_kept",
    "labels_changed",
    "vectors_replaced",
    "vectors_deleted",
)


def finish(report: Report, *, form: Format, strict: bool, dry_run: bool) -> None:
    """Print what an ingest or embed did; exit 1 if nothing was ingested, or with `strict` if anything failed."""
    if form is Format.table:
        for line in summary(report, dry_run=dry_run):
            print_line(line)
    else:
        emit_table(_record(report), form)
    if dry_run:
        _print_failures("failed before", report.known_failures)
    _print_failures("failed", report.failures, None if dry_run else SHOWN_FAILURES)
    failed = report.failures or report.known_failures
    nothing = not (report.images_in or report.done_before or report.vectors_in)
    if failed and (strict or nothing):
        raise typer.Exit(1)


def _record(report: Report) -> pa.Table:
    """Return the report as one row, under the names that scripts rely on; rare counts are among its notes."""
    from embstore.tabular import arrow_table

    record = arrow_table([replace(report, notes=_notes(report))], type(report)).drop_columns([*COUNTED_IN_NOTES])
    names = {"images_resegmented": "images_recut"}
    return record.rename_columns([names.get(name, name) for name in record.column_names])


def _notes(report: Report) -> list[str]:
    """Return the notes on the source, and a line for each rare event."""
    counts = (
        (
            report.images_gone,
            "{} images of the store are missing from the source; they are kept (`embstore remove` removes them)",
        ),
        (
            report.sizes_kept,
            "{} images of the store keep their cells from masks or a segmenter, at the pixel size with which these "
            "were made; to make new cells at this one, give --masks or --segmenter too",
        ),
        (report.labels_changed, "labels: {} subjects are new or changed"),
        (report.vectors_replaced, "{} of these replaced other vectors of the same rows"),
        (report.vectors_deleted, "{} rows are missing from this file or refused now: their vectors were deleted"),
        (report.images_removed, "{} images were removed while they were being ingested, and stay removed"),
    )
    return [*report.notes, *(line.format(n) for n, line in counts if n)]


def _print_failures(how: str, failures: Sequence[Failure], most: int | None = None) -> None:
    shown = list(_mistakes(failures).items())[:most]
    for (error, todo), sources in shown:
        say(f"{how}: {_listed(sources)}: {error}; {todo}")
    if more := len(failures) - sum(len(sources) for _, sources in shown):
        say(f"... and {more} more: embstore sql 'SELECT * FROM failures'")


def summary(report: Report, *, dry_run: bool = False) -> list[str]:
    """Return what an ingest did, line by line."""
    if dry_run:
        return _planned(report)
    lines = [f"{report.dataset}: {_done(report)}"]
    lines += [f"  {space}: {n} vectors" for space, n in report.vectors_in.items()]
    if report.flags:
        lines.append("  flags: " + ", ".join(f"{n} {flag}" for flag, n in sorted(report.flags.items())))
    if report.dropped:
        lines.append(f"  {report.dropped} cells with a flag have no vector (embstore embed computes it)")
    ignored = list(report.sizes_ignored.items())[:SHOWN_NOTES]
    lines += [f"  pixel size ignored in {n} images: {why}" for why, n in ignored]
    if report.estimated_um:
        sizes = list(report.estimated_um.values())
        low, mid, high = min(sizes), median(sizes), max(sizes)
        where = "known from" if ignored else "in"
        lines.append(
            f"  pixel size not {where} the files: estimated from the median nucleus (12 µm) "
            f"in each of {len(report.estimated_um)} images, {low:.3f} to {high:.3f} µm (median {mid:.3f})"
        )
    outliers = {
        image: f"its estimated pixel size, {um:.3f} µm, is far from the others'; give it with --pixel-size"
        for image, um in report.scale_outliers.items()
    }
    lines += [*_abridged(outliers, SIZES_SQL), *_abridged(report.clumps)]
    if report.crops_assumed:
        lines.append(f"  {report.crops_assumed} crops of unknown pixel size: each assumed to be 25 µm wide")
    if report.images_resegmented:
        lines.append(
            f"  {report.images_resegmented} images of the store were re-segmented (other masks, segmenter or pixel "
            "size); embstore embed computes their vectors in further spaces"
        )
    if report.renewed:
        lines.append(f"  {report.renewed} images of the store: their metadata (protein, plate, file) were updated")
    lines += [f"  {line}" for line in [*_assignments(report), *_notes(report)]]
    lines += _abridged(report.mask_notes)
    lines += _abridged(report.absent_chunks)
    lines += [f"  no cell in {image}: {why}" for image, why in report.empty.items()]
    if report.without_protein:
        nameless = f"{report.without_protein} {_unit(report)} name no protein"
        lines.append(f"  {nameless}: ingested, but left out of protein tasks and search")
    if report.known_failures:
        lines.append(f"  {_known(report)}")
    if report.failures:
        lines.append(f"  {len(report.failures)} failures, recorded in the table `failures`")
    return lines


def _abridged(notes: Mapping[str, str], sql: str = NOTES_SQL) -> list[str]:
    """Return the first notes on images, and how many more there are; `sql` lists them, if anything does."""
    lines = [f"  {image}: {note}" for image, note in list(notes.items())[:SHOWN_NOTES]]
    if len(notes) > SHOWN_NOTES:
        advice = f': embstore sql "{sql}"' if sql else ""
        lines.append(f"  ... and {len(notes) - SHOWN_NOTES} more{advice}")
    return lines


def _planned(report: Report) -> list[str]:
    todo = f"{report.images_in} of {report.images} {_unit(report)} would be ingested, {report.done_before} are done"
    lines = [f"{report.dataset}: {todo}", *_assignments(report), *located(report.locations), *_notes(report)]
    lines += _abridged(report.mask_notes, "")
    if report.without_protein:
        lines.append(f"{report.without_protein} of them name no protein")
    if report.known_failures:
        lines.append(_known(report))
    return [*lines, f"{len(report.failures)} faults"] if report.failures else lines


def located(counts: Sequence[LocationCount]) -> list[str]:
    """Return a line for each label set, with the number of subjects of each of its locations."""
    by_set: dict[str, list[str]] = {}
    for each in counts:
        by_set.setdefault(each.label_set, []).append(f"{_whole(each.location)} {each.subjects}")
    return [f"locations of {label_set}: {', '.join(listed)}" for label_set, listed in by_set.items()]


def _whole(name: str) -> str:
    """Return a name in quotes where it contains a comma."""
    return f"'{name}'" if "," in name else name


def _assignments(report: Report) -> list[str]:
    """Return a line for each way in which planes became roles, with its number of images."""
    most = sorted(report.assignments.items(), key=lambda item: -item[1])
    lines = [f"{n} image{'s' if n > 1 else ''}: {assignment}" for assignment, n in most[:SHOWN_ASSIGNMENTS]]
    rest = most[SHOWN_ASSIGNMENTS:]
    more = f"{sum(n for _, n in rest)} images in {len(rest)} further ways: --format json lists them"
    return [*lines, more] if rest else lines


def _unit(report: Report) -> str:
    return "rows" if report.unit == "profile" else "images"


def _done(report: Report) -> str:
    if not report.images_in and not report.vectors_in and report.done_before:
        return f"nothing to do, {report.done_before} of {report.images} were done before"
    before = f", {report.done_before} were done before" if report.done_before else ""
    if report.unit == "profile":
        return f"{sum(report.vectors_in.values())} of {report.images} vectors imported{before}"
    changed = f", {report.images_changed} of them changed since" if report.images_changed else ""
    return f"{report.images_in} of {report.images} images ingested{changed}, {report.cells_in} new cells{before}"


def _known(report: Report) -> str:
    return f"{len(report.known_failures)} files failed before and have not changed (--retry-failed tries again)"


def _mistakes(failures: Sequence[Failure]) -> dict[tuple[str, str], list[str]]:
    """Return (error, advice) -> the files and rows: hundreds of them may share one error."""
    sources: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        sources.setdefault((failure.error, failure.todo), []).append(failure.source)
    return sources


def _listed(sources: Sequence[str]) -> str:
    more = f" and {len(sources) - SHOWN_SOURCES} more" if len(sources) > SHOWN_SOURCES else ""
    return ", ".join(sources[:SHOWN_SOURCES]) + more
