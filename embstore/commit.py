"""The one committer: whole images go into the store, markers last, so that a kill can only repeat work."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.pipeline import Prepared
from embstore.plan import file_state
from embstore.sources.record import Fault
from embstore.store import Store, now

COMMIT_ROWS = 10_000  # small commits fragment tables: 300 of them made 904 files
COMMIT_S = 60.0  # and a kill should lose no more than this

Vectors = Mapping[str, npt.NDArray[np.float32]]


class Committer:
    """Holds finished images and writes them together: images, cells, vectors, and last the `ingested` markers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._images: list[tuple[Prepared, Vectors]] = []
        self._last = time.monotonic()

    def add(self, image: Prepared, vectors: Vectors) -> None:
        """Take one image with its vectors by space digest; writes when enough has come together."""
        self._images.append((image, vectors))
        rows = sum(len(held.cells) for held, _ in self._images)
        if rows >= COMMIT_ROWS or time.monotonic() - self._last >= COMMIT_S:
            self.flush()

    def flush(self) -> None:
        """Write what is held; after a kill in between, images without a marker are done again under the same ids."""
        fresh = [image for image, _ in self._images if image.new]
        self._store.upsert("cells", [cell for image in fresh for cell in image.cells])
        self._store.upsert("images", [image.image_row for image in fresh])
        for space in dict.fromkeys(space for _, vectors in self._images for space in vectors):
            held = [(image, vectors[space]) for image, vectors in self._images if space in vectors]
            ids = [cell["cell_id"] for image, _ in held for cell in image.cells]
            if ids:
                self._store.put_vectors(space, ids, np.concatenate([v for _, v in held]))
        self._store.upsert("ingested", [row for image, vectors in self._images for row in _markers(image, vectors)])
        self._images.clear()
        self._last = time.monotonic()


def record_failures(store: Store, faults: Sequence[Fault], *, mended: Sequence[str]) -> None:
    """Write the rows of `failures`, and take out those of files that went in now.

    A recorded file is tried again once its size or time changes.
    """
    failed = {fault.source for fault in faults}
    known = set(store.read("failures", ["source"])["source"].to_pylist())
    if gone := sorted(known.intersection(mended) - failed):
        listed = ", ".join("'" + source.replace("'", "''") + "'" for source in gone)
        store.delete("failures", f"source IN ({listed})")
    rows = []
    for fault in faults:
        size, mtime_ns = file_state(Path(fault.source))
        row = {"source": fault.source, "stage": fault.stage, "error": fault.error, "todo": fault.todo}
        rows.append(row | {"size": size, "mtime_ns": mtime_ns, "failed_at": now()})
    store.upsert("failures", rows)


def _markers(image: Prepared, vectors: Vectors) -> list[dict[str, Any]]:
    common = {
        "image_id": image.work.image_id,
        "revision": image.work.revision,
        "segmentation": image.segmentation,
        "n_cells": len(image.cells),
    }
    return [common | {"space": space} for space in vectors]
