"""Does appending to a store of a million vectors cost more than to an empty one? Commits of 10,000 cells, in turn.

A commit is what an ingest writes: `cells` (here without their pictures), the vectors of one space (384 × float16), and
the `ingested` markers. The merge that keeps rows from being doubled reads every key of the table, so the ratio grows
with the rows; the seconds stand beside it, to be held against those that making 10,000 vectors takes.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from embstore.schema import TABLES
from embstore.store import Store

ROWS, COMMIT, DIM, ROUNDS = 1_000_000, 10_000, 384, 7
CELLS_A_FIELD = 20
DIGEST = "5" * 64
SEGMENTATION = "5" * 8


@dataclass(frozen=True)
class Commit:
    """What one commit writes, made before the clock starts."""

    cells: pa.Table
    ids: list[str]
    vectors: np.ndarray  # float16 (n, DIM)
    markers: pa.Table


def main(rows: int = ROWS, commit: int = COMMIT, rounds: int = ROUNDS) -> None:
    vectors = np.random.default_rng(0).standard_normal((commit, DIM), dtype=np.float32).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        large = _store(Path(folder) / "large")
        for start in range(0, rows, commit):
            append(large, _commit(start, vectors))
        seconds: dict[str, list[dict[str, float]]] = {"large": [], "empty": []}
        for turn in range(rounds):
            more = _commit(rows + turn * commit, vectors)
            seconds["large"].append(append(large, more))
            seconds["empty"].append(append(_store(Path(folder) / f"empty{turn}"), more))  # it is empty only once
    print(json.dumps(_record(rows, seconds)))


def append(store: Store, commit: Commit) -> dict[str, float]:
    """Write one commit; return the seconds by what was written, of all, and of all on the processors."""
    started, busy = time.perf_counter(), time.process_time()
    store.upsert("cells", commit.cells)
    cells = time.perf_counter()
    store.put_vectors(DIGEST, commit.ids, commit.vectors)
    vectors = time.perf_counter()
    store.upsert("ingested", commit.markers)
    ended = time.perf_counter()
    parts = {"cells": cells - started, "vectors": vectors - cells, "ingested": ended - vectors}
    return parts | {"all": ended - started, "cpu": time.process_time() - busy}


def _store(path: Path) -> Store:
    store = Store.open(path, create=True)
    store.add_space({"digest": DIGEST, "backbone": "speed", "roles": []}, DIM, half=True)
    return store


def _commit(start: int, vectors: np.ndarray) -> Commit:
    numbers = range(start, start + len(vectors))
    images = [f"opencell/OC-FOV_GENE_ENSG{n // CELLS_A_FIELD:011d}_CID000001_FID00000001_proj" for n in numbers]
    ids = [f"{image}:{SEGMENTATION}:{n % CELLS_A_FIELD + 1}" for image, n in zip(images, numbers, strict=True)]
    cells = [
        {"cell_id": cell, "image_id": image, "segmentation": SEGMENTATION, "label": 1, "box": [0, 0, 60, 60]}
        for cell, image in zip(ids, images, strict=True)
    ]
    markers = [
        {"image_id": image, "space": DIGEST, "revision": 1, "segmentation": SEGMENTATION, "n_cells": CELLS_A_FIELD}
        for image in dict.fromkeys(images)
    ]
    tables = (pa.Table.from_pylist(r, schema=TABLES[t].schema) for t, r in (("cells", cells), ("ingested", markers)))
    return Commit(next(tables), ids, vectors, next(tables))


def _record(rows: int, seconds: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    median_s = {
        name: {part: round(statistics.median(turn[part] for turn in turns), 4) for part in turns[0]}
        for name, turns in seconds.items()
    }
    ratios = {part: round(median_s["large"][part] / median_s["empty"][part], 2) for part in median_s["empty"]}
    return {"title": "appending to a large store", "rows": rows, "ratios": ratios, "median_s": median_s}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
