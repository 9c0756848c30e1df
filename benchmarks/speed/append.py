"""Does appending to a store of a million vectors cost more than to an empty one? Commits of 10,000 cells, in turn.

A commit is what an ingest writes, with the same committer: rows of `images`, `cells` (with a picture of some hundred
bytes), the vectors of one space (384 × float16), and the completion records. Each store is opened again, as an ingest
does; the first commit to it reads the existing keys, once, and is listed next to the median of the others.

`clock` and `cpu` measure all that the committer does, `writes` only its flush, without rounding vectors and making rows
of images and completion records, which does not depend on the store. Limit: 1.2 times an empty store.
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

from embstore.ingest import Prepared, Work
from embstore.ingest.commit import Committer
from embstore.ingest.finished import Embedded, finished
from embstore.sources.record import SourceImage
from embstore.store import Store, add_space

# a field below the 10,000 rows at which the committer writes
ROWS, COMMIT, DIM, ROUNDS = 1_000_000, 9_980, 384, 7
CELLS_A_FIELD = 20
DIGEST = "5" * 64
SEGMENTATION = "5" * 8
PICTURE = bytes(600)
ROLES = ("nucleus", "protein")
HOW = ("clock", "cpu", "writes")


@dataclass(frozen=True)
class Seconds:
    """What one commit took: seconds, CPU seconds, and seconds while it was written."""

    clock: float
    cpu: float
    writes: float


def main(rows: int = ROWS, commit: int = COMMIT, rounds: int = ROUNDS) -> None:
    vectors = np.random.default_rng(0).standard_normal((commit, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        filling = Committer(_store(path / "large"))
        rows = -(-rows // commit) * commit  # whole commits, so that what follows is new
        for start in range(0, rows, commit):
            append(filling, _images(start, vectors))
        committers = {"large": Committer(Store.open(path / "large")), "empty": Committer(_store(path / "empty"))}
        taken: dict[str, list[Seconds]] = {name: [] for name in committers}
        for turn in range(rounds + 1):
            for name, committer in committers.items():
                taken[name].append(append(committer, _images(rows + turn * commit, vectors)))
    print(json.dumps(_record(rows, taken)))


def append(committer: Committer, images: list[tuple[Prepared, dict[str, Embedded]]]) -> Seconds:
    """Write images with their vectors as one commit."""
    started, busy = time.perf_counter(), time.process_time()
    for image, vectors in images:
        committer.add(finished(image, vectors))
    before_flush = time.perf_counter()
    committer.flush()
    ended = time.perf_counter()
    return Seconds(ended - started, time.process_time() - busy, ended - before_flush)


def _store(path: Path) -> Store:
    store = Store.open(path, create=True)
    add_space(store, {"digest": DIGEST, "backbone": "speed", "roles": []}, DIM, half=True)
    return store


def _images(start: int, vectors: np.ndarray) -> list[tuple[Prepared, dict[str, Embedded]]]:
    fields = range(start // CELLS_A_FIELD, (start + len(vectors)) // CELLS_A_FIELD)
    return [_image(field, part) for field, part in zip(fields, np.split(vectors, len(fields)), strict=True)]


def _image(number: int, vectors: np.ndarray) -> tuple[Prepared, dict[str, Embedded]]:
    key = f"OC-FOV_GENE_ENSG{number:011d}_CID000001_FID{number:08d}_proj"
    name, files = f"opencell/{key}", ({"path": f"{key}.tif", "size": 1, "mtime_ns": 1, "sha256": "0" * 64},)
    work = Work(SourceImage(key, (f"{key}.tif",), ROLES), Path("images"), name, 1, files, "0" * 64, (DIGEST,))
    cells = [_cell(name, label) for label in range(1, len(vectors) + 1)]
    row = {"image_id": name, "revision": 1, "dataset": "opencell", "files": list(files), "segmentation": SEGMENTATION}
    image = Prepared(work, np.empty((2, 0, 0), np.float32), ROLES, cells, SEGMENTATION, 0.2, row)
    return image, {DIGEST: Embedded([cell["cell_id"] for cell in cells], vectors)}


def _cell(image: str, label: int) -> dict[str, object]:
    return {
        "cell_id": f"{image}:{SEGMENTATION}:{label}",
        "image_id": image,
        "segmentation": SEGMENTATION,
        "label": label,
        "box": [0, 0, 60, 60],
        "roles_present": list(ROLES),
        "thumbnail": PICTURE,
    }


def _record(rows: int, taken: dict[str, list[Seconds]]) -> dict[str, object]:
    """Return the ratios of later commits, and what a first one takes."""
    later = {
        name: {how: round(statistics.median(getattr(s, how) for s in turns[1:]), 4) for how in HOW}
        for name, turns in taken.items()
    }
    ratios = {how: round(later["large"][how] / later["empty"][how], 2) for how in HOW}
    first_s = {name: round(turns[0].clock, 3) for name, turns in taken.items()}
    return {
        "title": "appending to a large store",
        "rows": rows,
        "ratios": ratios,
        "median_s": later,
        "first_s": first_s,
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
