"""What one ingest or embed found and did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from embstore.ingest.plan import Plan
from embstore.ingest.prepare import Prepared
from embstore.pixels.masks import PLAIN
from embstore.sources.record import Failure


@dataclass
class Report:
    """What one ingest or embed found and did."""

    dataset: str
    images: int = 0  # in the source; rows, where vectors were brought
    unit: str = "cell"  # what the vectors are of: cell, image or profile
    done_before: int = 0
    images_in: int = 0  # or planned, in a dry run
    images_changed: int = 0  # of those, in the store before with other content: now a new revision
    images_recut: int = 0  # of those, in the store before with the same content and other cells
    renewed: int = 0  # in the store before, whose proteins, labels' columns or place are now others
    cells_in: int = 0
    flags: dict[str, int] = field(default_factory=dict)  # of the new cells: flag -> cells
    dropped: int = 0  # cells that have a flag and therefore no vector
    vectors_in: dict[str, int] = field(default_factory=dict)  # space -> vectors
    empty: dict[str, str] = field(default_factory=dict)  # image -> why it has no cell
    mask_notes: dict[str, str] = field(default_factory=dict)  # image -> what its masks left open, and how it was filled
    without_protein: int = 0  # of those that are new in the store, or would be
    crops_assumed: int = 0  # of unknown pixel size, taken to be as wide as embstore's own
    estimated_um: list[float] = field(default_factory=list)  # pixel sizes taken from the median nucleus
    sizes_ignored: dict[str, int] = field(default_factory=dict)  # what files say of theirs that does not count -> files
    failures: list[Failure] = field(default_factory=list)
    known_failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compared(report: Report, plan: Plan) -> None:
    """Report what comparing the source with the store has found."""
    report.done_before, report.known_failures = plan.done, list(plan.known_failures)
    if plan.gone:
        report.notes.append(
            f"{plan.gone} images that were in are gone from the source; they stay (`embstore remove` takes them out)"
        )


def count(report: Report, image: Prepared, vectors: Mapping[str, int]) -> None:
    """Count one finished image, with how many vectors it has in each space, in the report."""
    report.images_in += 1
    report.images_changed += image.new and image.work.revision > 1 and not image.work.recut
    report.images_recut += image.work.recut
    report.without_protein += image.new and not image.work.image.protein_ids
    report.cells_in += len(image.cells) if image.new else 0
    report.dropped += len(image.cells) - len(image.shown) if report.unit == "cell" else 0
    for flag in (flag for cell in image.cells for flag in cell["flags"] if image.new):
        report.flags[flag] = report.flags.get(flag, 0) + 1
    for space, n in vectors.items():
        report.vectors_in[space] = report.vectors_in.get(space, 0) + n
    if image.new and not image.cells:
        report.empty[image.work.image_id] = image.image_row["note"]
    if image.new and image.image_row["pixel_size_source"] == "crop":
        report.crops_assumed += 1
    if image.size_ignored:
        report.sizes_ignored[image.size_ignored] = report.sizes_ignored.get(image.size_ignored, 0) + 1
    if image.new and image.work.image.masks and image.image_row["note"] != PLAIN:
        report.mask_notes[image.work.image_id] = image.image_row["note"]
    if image.new and image.image_row["pixel_size_source"] == "estimated":
        report.estimated_um.append(image.image_row["pixel_size_um"])
