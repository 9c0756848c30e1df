"""The one committer: whole images go into the store, markers last, so that a kill can only repeat work."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.files import files_state
from embstore.ingest.encode import Embedded
from embstore.ingest.prepare import Prepared
from embstore.sources.record import Fault
from embstore.store import TABLES, Store, now, put_vectors, quoted, take_back

COMMIT_ROWS = 10_000  # small commits fragment tables: 300 of them made 904 files
COMMIT_BYTES = 16 << 20  # of cells with their pictures, which a merge holds three times over: some 3,500 cells
COMMIT_S = 60.0  # and a kill should lose no more than this

Vectors = Mapping[str, Embedded]


@dataclass(frozen=True)
class Finished:
    """What one image brings into the store, in Arrow's columns: as Python's rows a minute of it would be gigabytes."""

    image_id: str
    image_row: dict[str, Any] | None  # None, and no cells: they are in the store already
    cells: pa.Table
    vectors: Vectors
    markers: list[dict[str, Any]]


class Committer:
    """Holds finished images and writes them together: images, cells, vectors, and last the `ingested` markers.

    Make it before the plan is made: what another process removes from then on is seen, and taken out again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = store.dataset("images").version
        self._alone = True  # nobody else has written to `images` since
        self.taken_back: list[str] = []  # images that a removal met while they were written
        self._images: list[Finished] = []
        self._rows = self._bytes = 0
        self._last = time.monotonic()

    def describe(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace rows of `images` whose content is the same; those that a removal took out stay out."""
        self._saw(self._store.upsert("images", rows, insert=False), written=len(rows) > 0)

    def add(self, image: Prepared, vectors: Vectors) -> None:
        """Take one image with its vectors by space digest; writes when enough has come together."""
        held = _finished(image, vectors)
        self._images.append(held)
        self._rows += len(image.cells)
        self._bytes += held.cells.nbytes
        long = time.monotonic() - self._last >= COMMIT_S
        if self._rows >= COMMIT_ROWS or self._bytes >= COMMIT_BYTES or long:
            self.flush()

    def flush(self) -> None:
        """Write what is held; after a kill in between, images without a marker are done again under the same ids."""
        if not self._images:
            return
        self._store.upsert("cells", pa.concat_tables(held.cells for held in self._images))
        fresh = [held.image_row for held in self._images if held.image_row]
        self._saw(self._store.upsert("images", fresh), written=len(fresh) > 0)
        for space in dict.fromkeys(space for held in self._images for space in held.vectors):
            some = [held.vectors[space] for held in self._images if space in held.vectors]
            if ids := [name for embedded in some for name in embedded.ids]:
                put_vectors(self._store, space, ids, np.concatenate([embedded.vectors for embedded in some]))
        self._store.upsert("ingested", [row for held in self._images for row in held.markers])
        self._take_back()
        self._images.clear()
        self._rows = self._bytes = 0
        self._last = time.monotonic()

    def _saw(self, version: int, *, written: bool = False) -> None:
        self._alone &= version <= self._seen + written  # a write of ours is one version
        self._seen = version

    def _take_back(self) -> None:
        """Take out again what a removal met half written: it takes images first, so they, or their cells, are gone."""
        self._saw(self._store.dataset("images").version)
        if self._alone:
            return
        ids = [held.image_id for held in self._images]
        there = set(self._store.read("images", ["image_id"], pc.field("image_id").isin(ids))["image_id"].to_pylist())
        there -= self._without_cells()
        if gone := [held for held in self._images if held.image_id not in there]:
            images = [held.image_id for held in gone]
            vectors = [name for held in gone for embedded in held.vectors.values() for name in embedded.ids]
            take_back(self._store, images, vectors + [c for held in gone for c in held.cells["cell_id"].to_pylist()])
            self.taken_back += images

    def _without_cells(self) -> set[str]:
        fresh = [held for held in self._images if held.image_row]
        picked = pc.field("image_id").isin(pa.array([held.image_id for held in fresh], pa.string()))
        stored = set(self._store.read("cells", ["cell_id"], picked)["cell_id"].to_pylist())
        return {held.image_id for held in fresh if not stored.issuperset(held.cells["cell_id"].to_pylist())}


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


def _finished(image: Prepared, vectors: Vectors) -> Finished:
    cells = pa.Table.from_pylist(image.cells if image.new else [], schema=TABLES["cells"].schema)
    row = image.image_row if image.new else None
    return Finished(image.work.image_id, row, cells, vectors, _markers(image, vectors))


def _markers(image: Prepared, vectors: Vectors) -> list[dict[str, Any]]:
    common = {
        "image_id": image.work.image_id,
        "revision": image.work.revision,
        "segmentation": image.segmentation,
    }
    return [common | {"space": space, "n_cells": len(embedded.ids)} for space, embedded in vectors.items()]
