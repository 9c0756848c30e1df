"""Read and prepare images in threads, ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar, cast

import pyarrow.compute as pc

from embstore.ingest.prepare import Prepared, prepare
from embstore.ingest.work import Work
from embstore.pixels.intensity import INTENSITY_SPEC
from embstore.sources.record import Failure
from embstore.store import CellRow, Store

PREFETCH = 3  # images read and segmented ahead of the encoder: enough to keep it busy, with bounded memory
IMAGES_A_READ = 64  # how many images' stored cells are read at once
STORED_COLUMNS = ("cell_id", "image_id", "segmentation", "label", "box", "centroid", "mask", "nucleus_mask", "flags")

StoredCells = Callable[[Sequence[Work]], Mapping[str, list[CellRow]]]  # works -> image id -> cells, by label

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepared_images(
    works: Sequence[Work], cells: StoredCells, intensity: str = INTENSITY_SPEC
) -> Iterator[Prepared | Failure]:
    """Yield each image with its cells, in order, or why it cannot be used; a few images are read ahead in a thread.

    `cells` returns the stored cells of some works (see `stored_cells`); `intensity` is the spec by which pixels are
    scaled. Reads files, and writes nothing.
    """
    return read_ahead(partial(_prepared, intensity), with_cells(works, cells))


def _prepared(intensity: str, item: tuple[Work, list[CellRow]]) -> Prepared | Failure:
    return prepare(*item, intensity)


def stored_cells(store: Store, works: Sequence[Work]) -> dict[str, list[CellRow]]:
    """Return the stored cells of the segmentation of each work, by image id and in order of label."""
    segmentations = {work.image_id: work.segmentation for work in works if work.segmentation is not None}
    if not segmentations:
        return {}
    table = store.read("cells", STORED_COLUMNS, pc.field("image_id").isin(list(segmentations)))
    cells: dict[str, list[CellRow]] = {}
    for cell in cast("list[CellRow]", table.to_pylist()):
        if cell["segmentation"] == segmentations[cell["image_id"]]:
            cells.setdefault(cell["image_id"], []).append(cell)
    return {image: sorted(of_image, key=lambda cell: cell["label"]) for image, of_image in cells.items()}


def with_cells(works: Sequence[Work], cells: StoredCells) -> Iterator[tuple[Work, list[CellRow]]]:
    """Yield each work with its stored cells, which are read for many images at once."""
    for start in range(0, len(works), IMAGES_A_READ):
        part = works[start : start + IMAGES_A_READ]
        of_image = cells(part)
        for work in part:
            yield work, of_image.get(work.image_id, [])


def read_ahead(function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int = 1) -> Iterator[_Result]:
    """Yield `function(item)` for each item, in order; threads work up to PREFETCH + `threads` items ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="embstore-read") as pool:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= PREFETCH + threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
