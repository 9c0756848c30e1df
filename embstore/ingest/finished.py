"""One image with its vectors, ready to be written, and what a report counts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from embstore.arrays import Float32s
from embstore.ingest.prepare import Prepared
from embstore.store import TABLES, ImageRow, IngestedRow


@dataclass(frozen=True)
class Embedded:
    """Vectors float32 (n, dim) and their ids, in order."""

    ids: list[str]
    vectors: Float32s


@dataclass(frozen=True)
class Finished:
    """One image with its vectors: new rows of the tables, as Arrow columns if there are many.

    As Python's rows, what waits a minute for its commit would take gigabytes.
    """

    image_id: str
    image_row: ImageRow | None  # None, and no cells, if they are in the store already
    cells: pa.Table  # new rows of `cells`
    vectors: Mapping[str, Embedded]  # by space digest
    completion_records: list[IngestedRow]
    resegmented: bool = False  # new cells of an unchanged image
    flagged_out: int = 0  # cells that have a quality flag and therefore no vector
    mask_note: str = ""  # on its cells, if they are from another tool's masks
    absent_chunks: str = ""  # how many chunks of a Zarr are not stored
    size_ignored: str = ""  # the pixel size in the file that is ignored, and why
    assignment: str = ""  # which planes became which roles, and why


def finished(image: Prepared, vectors: Mapping[str, Embedded]) -> Finished:
    """Return an image with its vectors by space digest, without its pixels."""
    row = image.image_row
    return Finished(
        image_id=image.work.image_id,
        image_row=row,
        cells=pa.Table.from_pylist([] if row is None else image.cells, schema=TABLES["cells"].schema),
        vectors=vectors,
        completion_records=[_completion_record(image, space, len(vectors[space].ids)) for space in vectors],
        resegmented=image.work.resegmented,
        flagged_out=len(image.cells) - len(image.shown),
        mask_note=image.cells_note if image.work.image.masks is not None else "",
        size_ignored=image.size_ignored,
        absent_chunks=image.absent_chunks,
        assignment=image.assignment,
    )


def _completion_record(image: Prepared, space: str, n_cells: int) -> IngestedRow:
    return {
        "image_id": image.work.image_id,
        "space": space,
        "revision": image.work.revision,
        "segmentation": image.segmentation,
        "n_cells": n_cells,
    }
