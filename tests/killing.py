"""An ingest in a process of its own, to be killed: shared by the tests of `make test` and of `make test-faults`."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from drawn_fields import start

from embstore.store import Store, rows

RUN = """
from pathlib import Path
from embstore.ingest import commit
from embstore.ingest import ingest
from embstore.store import Store
commit.COMMIT_S = 0.0  # every image is a commit of its own: more moments to be killed at
source = Path(sys.argv[2])
go()
ingest(Store.open(sys.argv[1], create=True), source, layout="opencell", backbones=["pixel-stats"],
       labels=source / "labels.csv", progress=lambda stage, *at: stage == "images" and print(at, flush=True))
"""


def kill_after(lines: int, delay_s: float, store: Path, source: Path, code: str = RUN) -> bool:
    """Start an ingest (or what `code` does) and kill -9 it a moment after it has reported so many steps.

    Returns False where it had done all of its work before.
    """
    process = start(code, store, source)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(delay_s)
    process.kill()
    _, stderr = process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}, stderr
    return process.returncode != 0


def everything(store: Store) -> dict[tuple[str, str], list[float]]:
    """Return (backbone, cell) -> vector for everything in a store; a repeated cell is an error."""
    result: dict[tuple[str, str], list[float]] = {}
    for space in rows(store, "SELECT digest, backbone FROM spaces"):
        ids, vectors = store.vectors(space["digest"])
        assert len(set(ids)) == len(ids), "a cell has two vectors"
        result |= {(space["backbone"], i): v.tolist() for i, v in zip(ids, vectors, strict=True)}
    return result
