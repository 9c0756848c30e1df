"""The one committer: whole images go into the store, markers last, so that a kill can only repeat work."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embstore.encode import Embedded
from embstore.pipeline import Prepared
from embstore.plan import files_state
from embstore.sources.record import Fault
from embstore.store import Store, now, quoted

COMMIT_ROWS = 10_000  # small commits fragment tables: 300 of them made 904 files
COMMIT_S = 60.0  # and a kill should lose no more than this

Vectors = Mapping[str, Embedded]


class Committer:
    """Holds finished images and writes them together: images, cells, vectors, and last the `ingested` markers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._images: list[tuple[Prepared, Vectors]] = []
        self._last = time.monotonic()

    def add(self, image: Prepared, vectors: Vectors) -> None:
        """Take one image with its vectors by space digest; writes when enough has come together."""
        # without its pixels: a minute's images would take gigabytes
        self._images.append((replace(image, scaled=np.empty((0, 0, 0), np.float32), crops={}), vectors))
        rows = sum(len(held.cells) for held, _ in self._images)
        if rows >= COMMIT_ROWS or time.monotonic() - self._last >= COMMIT_S:
            self.flush()

    def flush(self) -> None:
        """Write what is held; after a kill in between, images without a marker are done again under the same ids."""
        fresh = [image for image, _ in self._images if image.new]
        self._store.upsert("cells", [cell for image in fresh for cell in image.cells])
        self._store.upsert("images", [image.image_row for image in fresh])
        for space in dict.fromkeys(space for _, vectors in self._images for space in vectors):
            held = [vectors[space] for _, vectors in self._images if space in vectors]
            if ids := [name for embedded in held for name in embedded.ids]:
                self._store.put_vectors(space, ids, np.concatenate([embedded.vectors for embedded in held]))
        self._store.upsert("ingested", [row for image, vectors in self._images for row in _markers(image, vectors)])
        self._images.clear()
        self._last = time.monotonic()


def record_failures(store: Store, faults: Sequence[Fault], *, mended: Sequence[str]) -> None:
    """Write the rows of `failures` that are new or changed, and take out those of files that are `mended`.

    A file that failed now keeps only what it failed at now. A mended table stands for all of its rows, `<table>:<row>`.
    """
    stored = {(row["source"], row["stage"]): row for row in store.read("failures").to_pylist()}
    rows = {(fault.source, fault.stage): _failure(fault) for fault in faults}
    seen = {source for source, _ in rows}.union(mended)
    gone = [key for key in stored if key not in rows and not seen.isdisjoint((key[0], key[0].rpartition(":")[0]))]
    for stage in dict.fromkeys(stage for _, stage in gone):
        listed = ", ".join(quoted(source) for source, s in gone if s == stage)
        store.delete("failures", f"stage = {quoted(stage)} AND source IN ({listed})")
    changed = [row for key, row in rows.items() if row != {c: stored.get(key, {}).get(c) for c in row}]
    store.upsert("failures", [row | {"failed_at": now()} for row in changed])


def _failure(fault: Fault) -> dict[str, Any]:
    size, mtime_ns = files_state([Path(file) for file in fault.files or (fault.source,)])
    row = {"source": fault.source, "stage": fault.stage, "error": fault.error, "todo": fault.todo}
    return row | {"size": size, "mtime_ns": mtime_ns}


def _markers(image: Prepared, vectors: Vectors) -> list[dict[str, Any]]:
    common = {
        "image_id": image.work.image_id,
        "revision": image.work.revision,
        "segmentation": image.segmentation,
    }
    return [common | {"space": space, "n_cells": len(embedded.ids)} for space, embedded in vectors.items()]
