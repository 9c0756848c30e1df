"""The committer: it writes whole images, completion records last, so that a kill only causes work to be repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.ingest.finished import Finished
from embstore.store import ImageRow, Store, put_vectors, take_back

_log = logging.getLogger(__name__)

COMMIT_ROWS = 10_000  # small commits fragment tables: 300 of them made 904 files
COMMIT_BYTES = 16 << 20  # of cells with their pictures, of which a merge keeps three copies: some 3,500 cells
COMMIT_S = 60.0  # a kill should lose no more than this


class Committer:
    """Collects finished images and writes them together: cells, images, vectors, and last the completion records.

    Create it before the plan is made: it notices what another process removes from then on, and removes it again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = store.dataset("images").version
        self._alone = True  # no other process has written to `images` since
        self.taken_back: list[str] = []  # images that were removed while they were written
        self._images: list[Finished] = []
        self._rows = self._bytes = 0
        self._last = time.monotonic()

    def describe(self, rows: Sequence[ImageRow]) -> None:
        """Replace rows of `images` whose content is the same (writes); rows that were removed stay removed."""
        self._saw(self._store.upsert("images", rows, insert=False), written=len(rows) > 0)

    def add(self, image: Finished) -> None:
        """Add one image with its vectors; writes when enough images have been collected."""
        self._images.append(image)
        self._rows += max([image.cells.num_rows, *(len(embedded.ids) for embedded in image.vectors.values())])
        self._bytes += image.cells.nbytes
        long = time.monotonic() - self._last >= COMMIT_S
        if self._rows >= COMMIT_ROWS or self._bytes >= COMMIT_BYTES or long:
            self.flush()

    def flush(self) -> None:
        """Write what was collected; if this is interrupted, images without a completion record are done again.

        They then get the same ids.
        """
        if not self._images:
            return
        started = time.monotonic()
        self._store.upsert("cells", pa.concat_tables(image.cells for image in self._images))
        new_rows = [image.image_row for image in self._images if image.image_row]
        self._saw(self._store.upsert("images", new_rows), written=len(new_rows) > 0)
        for space in dict.fromkeys(space for image in self._images for space in image.vectors):
            parts = [image.vectors[space] for image in self._images if space in image.vectors]
            if ids := [name for embedded in parts for name in embedded.ids]:
                put_vectors(self._store, space, ids, np.concatenate([embedded.vectors for embedded in parts]))
        self._store.upsert("ingested", [row for image in self._images for row in image.completion_records])
        self._take_back()
        n_cells, elapsed_s = sum(image.cells.num_rows for image in self._images), time.monotonic() - started
        _log.info("committed %d images with %d new cells in %.1f s", len(self._images), n_cells, elapsed_s)
        self._images.clear()
        self._rows = self._bytes = 0
        self._last = time.monotonic()

    def _saw(self, version: int, *, written: bool = False) -> None:
        self._alone &= version <= self._seen + written  # one of our writes adds one version
        self._seen = version

    def _take_back(self) -> None:
        """Remove again what a removal met half written: it deletes images first, so these, or their cells, are
        missing.
        """
        self._saw(self._store.dataset("images").version)
        if self._alone:
            return
        picked = pc.field("image_id").isin([image.image_id for image in self._images])
        present = set(self._store.read("images", ["image_id"], picked)["image_id"].to_pylist())
        present -= self._without_cells()
        if gone := [image for image in self._images if image.image_id not in present]:
            images = [image.image_id for image in gone]
            vectors = [name for image in gone for embedded in image.vectors.values() for name in embedded.ids]
            take_back(self._store, images, vectors + [c for image in gone for c in image.cells["cell_id"].to_pylist()])
            self.taken_back += images
            n_images = len(images)
            _log.warning("%d images were removed by another process during the ingest, and stay removed", n_images)

    def _without_cells(self) -> set[str]:
        new_images = [image for image in self._images if image.image_row]
        picked = pc.field("image_id").isin(pa.array([image.image_id for image in new_images], pa.string()))
        stored = set(self._store.read("cells", ["cell_id"], picked)["cell_id"].to_pylist())
        return {i.image_id for i in new_images if not stored.issuperset(i.cells["cell_id"].to_pylist())}
