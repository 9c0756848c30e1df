"""What one ingest or embed did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

import pyarrow as pa

from embstore.ingest.finished import Finished
from embstore.ingest.label_report import LocationCount
from embstore.ingest.plan import Plan
from embstore.pixels.masks import PLAIN
from embstore.pixels.segment import CLUMPS
from embstore.sources.record import Failure
from embstore.store import ImageRow
from embstore.tabular import Tabular

SCALE_OUTLIER = 1.5  # times the median of the estimated pixel sizes


@dataclass(repr=False)
class Report(Tabular):
    """What one ingest or embed did, counted while it runs; its rows are the spaces that got vectors."""

    dataset: str
    images: int = 0  # in the source; for an import, rows
    unit: str = "cell"  # what the vectors describe: cell, image or profile
    done_before: int = 0
    images_in: int = 0  # ingested, or planned in a dry run
    images_changed: int = 0  # of those, stored before with other content: now a new revision
    images_resegmented: int = 0  # of those, stored before with the same content and other cells
    images_gone: int = 0  # in the store, but no longer in the source
    images_removed: int = 0  # by another process while they were being ingested; they stay removed
    sizes_kept: int = 0  # stored before; their cells are not built-in and stay although another pixel size is given now
    renewed: int = 0  # stored before, whose proteins, label columns or paths changed
    labels_changed: int = 0  # subjects, counted in each label set
    cells_in: int = 0
    flags: dict[str, int] = field(default_factory=dict)  # of the new cells: flag -> cells
    dropped: int = 0  # cells that have a flag and therefore no vector
    vectors_in: dict[str, int] = field(default_factory=dict)  # space -> vectors
    vectors_replaced: int = 0  # of those, external embeddings that replaced others
    vectors_deleted: int = 0  # external embeddings of rows that are missing from the file or refused now
    empty: dict[str, str] = field(default_factory=dict)  # image -> why it has no cell
    mask_notes: dict[str, str] = field(default_factory=dict)  # image -> what its masks left open, and its answer
    without_protein: int = 0  # of the images that are new in the store, or would be
    crops_assumed: int = 0  # of unknown pixel size, assumed to be as wide as embstore's own
    estimated_um: dict[str, float] = field(default_factory=dict)  # image -> size estimated from the median nucleus
    clumps: dict[str, str] = field(default_factory=dict)  # image -> the note that its nuclei may be clumps
    sizes_ignored: dict[str, int] = field(default_factory=dict)  # ignored pixel sizes of files -> files
    absent_chunks: dict[str, str] = field(default_factory=dict)  # image -> how many chunks of its Zarr are not stored
    assignments: dict[str, int] = field(default_factory=dict)  # which planes became which roles, and why -> images
    failures: list[Failure] = field(default_factory=list)
    known_failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on how the source was read
    locations: list[LocationCount] = field(default_factory=list)  # of the labels in the source, or that would be set

    def to_arrow(self) -> pa.Table:
        """Return how many vectors each space got: columns `space` and `vectors`."""
        counts = list(self.vectors_in.values())
        return pa.table({"space": pa.array(self.vectors_in, pa.string()), "vectors": pa.array(counts, pa.int64())})

    @property
    def scale_outliers(self) -> dict[str, float]:
        """Return the images whose estimated pixel size differs from the median of all by more than a factor of 1.5."""
        middle = median(self.estimated_um.values()) if self.estimated_um else 1.0
        return {image: um for image, um in self.estimated_um.items() if max(um / middle, middle / um) > SCALE_OUTLIER}

    @property
    def headline(self) -> str:
        """Return how many images (or rows of external embeddings) were ingested, were done before and failed."""
        profiles = self.unit == "profile"
        n_in = sum(self.vectors_in.values()) if profiles and self.vectors_in else self.images_in
        what = "rows" if profiles else "images"
        return (
            f"{self.dataset}: {n_in} of {self.images} {what} in, {self.done_before} done before, "
            f"{len(self.failures)} failures"
        )


def compared(report: Report, plan: Plan) -> None:
    """Report the result of comparing the source with the store."""
    report.done_before, report.images_gone, report.sizes_kept = plan.done, plan.gone, plan.sizes_kept
    report.known_failures = list(plan.known_failures)
    if n := plan.cells_replaced:
        report.notes.append(
            f"{n} images changed and get built-in cells instead of those from masks or a segmenter; to make them as "
            "before, give --masks or --segmenter too"
        )


def count(report: Report, image: Finished, labels: Mapping[str, str]) -> None:
    """Count one finished image in the report; `labels` are those of the spaces, by digest."""
    report.images_in += 1
    report.images_resegmented += image.resegmented
    report.dropped += image.flagged_out if report.unit == "cell" else 0
    for space, embedded in image.vectors.items():
        report.vectors_in[labels[space]] = report.vectors_in.get(labels[space], 0) + len(embedded.ids)
    count_assignment(report, image.assignment)
    if image.size_ignored:
        report.sizes_ignored[image.size_ignored] = report.sizes_ignored.get(image.size_ignored, 0) + 1
    if image.absent_chunks:
        report.absent_chunks[image.image_id] = image.absent_chunks
    if image.image_row is not None:
        _count_new(report, image, image.image_row)


def count_assignment(report: Report, assignment: str) -> None:
    """Count an image by which of its planes became which roles, and why; nothing if no layout states why."""
    if assignment:
        report.assignments[assignment] = report.assignments.get(assignment, 0) + 1


def _count_new(report: Report, image: Finished, row: ImageRow) -> None:
    report.images_changed += row["revision"] > 1 and not image.resegmented
    report.without_protein += not row["protein_ids"]
    report.cells_in += image.cells.num_rows
    for flag in (flag for flags in image.cells["flags"].to_pylist() for flag in flags):
        report.flags[flag] = report.flags.get(flag, 0) + 1
    if not image.cells.num_rows:
        report.empty[image.image_id] = row["note"] or ""
    if image.mask_note not in ("", PLAIN):
        report.mask_notes[image.image_id] = image.mask_note
    if (row["note"] or "").startswith(CLUMPS):
        report.clumps[image.image_id] = row["note"] or ""
    report.crops_assumed += row["pixel_size_source"] == "crop"
    if row["pixel_size_source"] == "estimated" and row["pixel_size_um"] is not None:
        report.estimated_um[image.image_id] = row["pixel_size_um"]
