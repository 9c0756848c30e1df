"""The stages of ingest as functions from one image to the next thing: read, find cells, cut, encode."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from embstore.backbones.crops import Crops
from embstore.errors import ImageError
from embstore.ids import segmentation_id
from embstore.ingest.cells import cell_rows
from embstore.ingest.work import NO_NUCLEUS, Work, described
from embstore.pixels.intensity import INTENSITY_SPEC, scale
from embstore.pixels.masks import from_masks, read_mask
from embstore.pixels.segment import Segmentation, no_cells, segment
from embstore.pixels.whole import whole_image
from embstore.sources.layouts import read_channels
from embstore.sources.record import Failure
from embstore.store import Store, now

PREFETCH = 3  # images read and segmented ahead of the encoder: enough to keep it busy, and memory bounded
CELL_COLUMNS = ("cell_id", "image_id", "segmentation", "label", "box", "centroid", "mask", "nucleus_mask", "flags")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Prepared:
    """One image ready for the encoders: `scaled` is float32 (c, y, x) in [0, 1], `cells` are rows of `cells`."""

    work: Work
    scaled: npt.NDArray[np.float32]
    roles: tuple[str, ...]
    cells: list[dict[str, Any]]
    segmentation: str
    pixel_size_um: float | None
    image_row: dict[str, Any]
    new: bool  # the image and its cells are not in the store yet
    size_ignored: str = ""  # what the file says of its pixel size that does not count, where no other size is known
    crops: Mapping[str, Crops] = field(default_factory=dict)  # by space: what was cut ahead

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Return the cells that get a vector: all, or those without a quality flag."""
        return [cell for cell in self.cells if not (self.work.drop_flagged and cell["flags"])]

    def ids(self, unit: str) -> list[str]:
        """Return what the vectors of this image are of, in order: the cells that get one, or the image itself."""
        return [self.work.image_id] if unit == "image" else [cell["cell_id"] for cell in self.shown]


def prepare(work: Work, stored_cells: list[dict[str, Any]], intensity: str = INTENSITY_SPEC) -> Prepared | Failure:
    """Read one image and find its cells, or take those that the store has; a file that cannot be used is a Failure.

    `intensity` is the spec that the encoders' images are scaled by; pictures of cells always look alike.
    """
    try:
        planes, roles = read_channels(work.root, work.image)
        pixels = planes.pixels
        scaled = scale(pixels, intensity)
        if work.segmentation is not None:
            return Prepared(work, scaled, roles, stored_cells, work.segmentation, work.pixel_size_um, {}, new=False)
        known_um, how = _pixel_size(work, planes.pixel_size_um)
        found = _segmented(work, pixels, roles, known_um)
        segmentation = segmentation_id(work.segmenter, work.sha256, known_um)
        cells = cell_rows(
            found,
            pixels=pixels,
            scaled=scaled if intensity == INTENSITY_SPEC else scale(pixels),
            roles=roles,
            image=work.image_id,
            segmentation=segmentation,
            known_um=known_um,
        )
        if work.image.one_cell:  # its border is where it was cut out, not where the image cuts it off
            cells = [cell | {"flags": [flag for flag in cell["flags"] if flag != "touches_edge"]} for cell in cells]
    except ImageError as error:
        return image_failure(work, error.found, error.todo)
    except OSError as error:
        return unread_failure(work, error)
    ignored = planes.size.ignored if known_um is None else ""
    notes = [found.note or _note(planes.depth, one_cell=work.image.one_cell), ignored and said_of_size(ignored)]
    row = (
        described(work.image)
        | _recorded(work)
        | {
            "roles": list(roles),
            "shape": list(pixels.shape),
            "pixel_size_um": found.pixel_size_um,
            "pixel_size_source": _source_of(found.pixel_size_um, known_um, how, one_cell=work.image.one_cell),
            "segmentation": segmentation,
            "note": "; ".join(note for note in notes if note),
        }
    )
    return Prepared(work, scaled, roles, cells, segmentation, found.pixel_size_um, row, new=True, size_ignored=ignored)


def _segmented(work: Work, pixels: npt.NDArray[np.generic], roles: tuple[str, ...], um: float | None) -> Segmentation:
    nucleus = pixels[roles.index("nucleus")] if "nucleus" in roles else None
    if work.image.masks is not None:
        nuclei, cells = (
            None if path is None else read_mask(path, pixels.shape[1:])
            for path in (work.image.masks.nuclei, work.image.masks.cells)
        )
        return from_masks(nuclei, cells, nucleus, um)
    if work.image.one_cell:
        return whole_image(pixels, nucleus, um)
    check_nucleus(work, roles)
    if nucleus is None:
        return no_cells(pixels.shape[1:], um, f"{NO_NUCLEUS}, by which cells are found")
    return segment(nucleus, um)


def check_nucleus(work: Work, roles: Sequence[str]) -> None:
    """Raise ImageError where an image's cells are wanted and nothing shows where they are."""
    shown = "nucleus" in roles or work.image.masks is not None or work.image.one_cell
    if not shown and work.unit != "image":
        todo = "add the nucleus channel, give masks with --masks, or take whole images with --unit image"
        raise ImageError(f"{NO_NUCLEUS} among {', '.join(roles)}: cells are found by it", todo=todo)


def image_failure(work: Work, error: str, todo: str) -> Failure:
    """Return what is wrong with an image or its masks, under the name of its first file."""
    masks = work.image.masks.files if work.image.masks else ()
    files = tuple(map(str, [*(work.root / file for file in work.image.files), *masks]))
    return Failure(files[0], "read", error, todo, files)


def unread_failure(work: Work, error: OSError) -> Failure:
    """Return what the file system says of an image's file."""
    return image_failure(work, f"cannot be read: {error.strerror or error}", "check the file, then run it again")


def with_cells(store: Store, work: Sequence[Work]) -> Iterator[tuple[Work, list[dict[str, Any]]]]:
    """Yield each piece of work with the cells that the store has of it, read for many images at once."""
    for start in range(0, len(work), 64):
        some = work[start : start + 64]
        wanted = [w.image_id for w in some if w.segmentation is not None]
        stored: dict[tuple[str, str], list[dict[str, Any]]] = {}
        if wanted:
            cells = store.read("cells", CELL_COLUMNS, pc.field("image_id").isin(wanted))
            for cell in cells.to_pylist():
                stored.setdefault((cell["image_id"], cell["segmentation"]), []).append(cell)
        for w in some:
            yield w, sorted(stored.get((w.image_id, w.segmentation or ""), []), key=lambda cell: cell["label"])


def ahead(function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """Yield `function(item)` in order, working up to PREFETCH items (a worker more, one more) ahead in threads."""
    with ThreadPoolExecutor(workers, thread_name_prefix="embstore-read") as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= PREFETCH + workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _pixel_size(work: Work, file_um: float | None) -> tuple[float | None, str]:
    """Return the pixel size and who says so: the user before the file, the file before the layout."""
    if work.option_um is not None:
        return work.option_um, "option"
    if file_um is not None:
        return file_um, "metadata"
    return work.image.pixel_size_um, work.image.pixel_size_source


def said_of_size(ignored: str) -> str:
    """Return the note on a pixel size in a file that does not count."""
    return f"pixel size in the file ignored: {ignored}"


def _source_of(pixel_size_um: float | None, known_um: float | None, how: str, *, one_cell: bool) -> str | None:
    if known_um:
        return how
    if pixel_size_um is None:
        return None
    return "crop" if one_cell else "estimated"


def _note(depth: int, *, one_cell: bool) -> str:
    notes = [f"maximum projection of {depth} planes"] if depth > 1 else []
    notes += ["one cell, whose mask is the whole image"] if one_cell else []
    return "; ".join(notes)


def _recorded(work: Work) -> dict[str, Any]:
    return {
        "image_id": work.image_id,
        "revision": work.revision,
        "dataset": work.image_id.split("/", 1)[0],
        "source_root": str(work.root),
        "files": list(work.files),
        "sha256": work.sha256,
        "ingested": now(),
    }
