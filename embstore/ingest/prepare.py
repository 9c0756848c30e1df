"""One image and its cells, ready to be cut and encoded: read, scaled, and segmented or with its stored cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embstore.arrays import Float32s
from embstore.errors import ImageError
from embstore.ids import segmentation_id
from embstore.ingest.cells import cell_rows
from embstore.ingest.failures import image_failure, unread_failure
from embstore.ingest.segmenters import segmented_by
from embstore.ingest.work import NO_NUCLEUS, Work, image_description
from embstore.pixels.intensity import INTENSITY_SPEC, scale
from embstore.pixels.masks import from_masks, read_label_image
from embstore.pixels.planes import Planes
from embstore.pixels.segment import segment
from embstore.pixels.segmentation import Segmentation, no_cells
from embstore.pixels.whole import assumed_pixel_size_um, whole_image
from embstore.sources.layouts import read_channels
from embstore.sources.record import Failure
from embstore.store import CellRow, ImageRow, now


@dataclass(frozen=True)
class Prepared:
    """One image ready for the encoders: `scaled` is float32 (c, y, x) in [0, 1], `cells` are rows of `cells`."""

    work: Work
    scaled: Float32s
    roles: tuple[str, ...]
    cells: list[CellRow]
    segmentation: str
    pixel_size_um: float | None
    image_row: ImageRow | None  # None if the image and its cells are in the store already
    size_ignored: str = ""  # the pixel size in the file that is ignored, if no other size is known
    absent_chunks: str = ""  # how many chunks of a Zarr are not stored
    assignment: str = ""  # which planes became which roles, and why
    cells_note: str = ""  # on what made the new cells

    @property
    def shown(self) -> list[CellRow]:
        """Return the cells that get a vector: all, or those without a quality flag."""
        return [cell for cell in self.cells if not (self.work.drop_flagged and cell["flags"])]

    def ids(self, unit: str) -> list[str]:
        """Return the ids of this image's vectors, in order: the cells that get one, or the image itself."""
        return [self.work.image_id] if unit == "image" else [cell["cell_id"] for cell in self.shown]


def prepare(work: Work, stored_cells: list[CellRow], intensity: str = INTENSITY_SPEC) -> Prepared | Failure:
    """Return one image with its new cells or `stored_cells`, read from its files, or why it cannot be used.

    `intensity` is the spec by which the encoders' images are scaled; thumbnails do not depend on it.
    """
    try:
        planes, roles = read_channels(work.root, work.image)
        scaled = scale(planes.pixels, intensity)
        if work.segmentation is not None:
            stored = (stored_cells, work.segmentation, work.pixel_size_um)
            return Prepared(work, scaled, roles, *stored, image_row=None, assignment=planes.assignment)
        pictured = scaled if intensity == INTENSITY_SPEC else scale(planes.pixels)
        return _with_new_cells(work, planes, roles, scaled, pictured)
    except ImageError as error:
        return image_failure(work, error.found, error.todo)
    except OSError as error:
        return unread_failure(work, error)


def _with_new_cells(
    work: Work, planes: Planes, roles: tuple[str, ...], scaled: Float32s, pictured: Float32s
) -> Prepared:
    known_um, size_source = _pixel_size(work, planes.pixel_size_um)
    segmented = _segmented(work, planes.pixels, roles, known_um)
    segmentation = segmentation_id(work.segmenter, work.sha256, known_um)
    cells = cell_rows(
        segmented,
        pixels=planes.pixels,
        scaled=pictured,
        roles=roles,
        image=work.image_id,
        segmentation=segmentation,
        known_um=known_um,
    )
    if work.image.one_cell:  # its border is where it was cut out, not where the image ends
        for cell in cells:
            cell["flags"] = [flag for flag in cell["flags"] if flag != "touches_edge"]
    ignored = planes.size.ignored if known_um is None else ""
    notes = [
        segmented.note,
        _note(planes, one_cell=work.image.one_cell and work.image.masks is None),
        ignored and ignored_size_note(ignored),
        absent_chunks_note(planes.absent),
    ]
    row: ImageRow = {
        **image_description(work.image),
        "image_id": work.image_id,
        "revision": work.revision,
        "dataset": work.image_id.split("/", 1)[0],
        "source_root": str(work.root),
        "files": list(work.files),
        "sha256": work.sha256,
        "roles": list(roles),
        "shape": list(planes.pixels.shape),
        "pixel_size_um": segmented.pixel_size_um,
        "pixel_size_source": _size_source(segmented.pixel_size_um, known_um, size_source, one_cell=work.image.one_cell),
        "segmentation": segmentation,
        "note": "; ".join(note for note in notes if note),
        "ingested": now(),
    }
    made = (cells, segmentation, segmented.pixel_size_um, row)
    return Prepared(
        work,
        scaled,
        roles,
        *made,
        size_ignored=ignored,
        absent_chunks=absent_chunks_note(planes.absent),
        assignment=planes.assignment,
        cells_note=segmented.note,
    )


def _segmented(work: Work, pixels: npt.NDArray[np.generic], roles: tuple[str, ...], um: float | None) -> Segmentation:
    nucleus = pixels[roles.index("nucleus")] if "nucleus" in roles else None
    if work.image.masks is not None:
        nuclei, cells = (
            None if path is None else read_label_image(path, pixels.shape[1:])
            for path in (work.image.masks.nuclei, work.image.masks.cells)
        )
        assumed_um = assumed_pixel_size_um(pixels.shape[1:]) if work.image.one_cell else None
        return from_masks(nuclei, cells, nucleus, um, assumed_um)
    if work.image.one_cell:
        return whole_image(pixels, nucleus, um)
    if "registered" in work.segmenter:
        return segmented_by(work.segmenter, pixels, roles, um)
    check_nucleus(work, roles)
    if nucleus is None:
        return no_cells(pixels.shape[1:], um, f"{NO_NUCLEUS}, which is needed to find cells")
    return segment(nucleus, um)


def check_nucleus(work: Work, roles: Sequence[str]) -> None:
    """Raise ImageError if an image's cells are wanted and nothing shows where they are."""
    shown = "nucleus" in roles or work.image.masks is not None or work.image.one_cell
    shown |= "registered" in work.segmenter  # and it decides for itself which roles it needs
    if not shown and work.unit != "image":
        todo = "add the nucleus channel, give masks with --masks, or take whole images with --backbone NAME:unit=image"
        raise ImageError(f"{NO_NUCLEUS} among {', '.join(roles)}: it is needed to find cells", todo=todo)


def _pixel_size(work: Work, file_um: float | None) -> tuple[float | None, str]:
    """Return the pixel size and its source: the user takes precedence over the file, the file over the layout."""
    if work.option_um is not None:
        return work.option_um, "option"
    if file_um is not None:
        return file_um, "metadata"
    return work.image.pixel_size_um, work.image.pixel_size_source


def ignored_size_note(ignored: str) -> str:
    """Return the note on a pixel size in a file that is ignored."""
    return f"pixel size in the file ignored: {ignored}"


def absent_chunks_note(absent: tuple[int, int]) -> str:
    """Return the note on chunks of a Zarr that are not stored, out of how many; "" if all are."""
    missing, n = absent
    return f"{missing} of {n} chunks are absent and were read as the fill value" if missing else ""


def _size_source(pixel_size_um: float | None, known_um: float | None, source: str, *, one_cell: bool) -> str | None:
    if known_um:
        return source
    if pixel_size_um is None:
        return None
    return "crop" if one_cell else "estimated"


def _note(planes: Planes, *, one_cell: bool) -> str:
    notes = [f"maximum projection of {planes.depth} planes"] if planes.depth > 1 else []
    notes += ["planes along z taken as channels"] if planes.axis == "Z" else []
    notes += ["one cell, whose mask is the whole image"] if one_cell else []
    return "; ".join(notes)
