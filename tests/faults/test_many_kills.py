"""What a bad night does to an ingest: twenty kills, a disk that fills up. Minutes, so `make test-faults` runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import write_labels, write_opencell
from killing import everything, kill_after

from embstore.ingest import ingest
from embstore.store import Store, rows

pytestmark = pytest.mark.faults

FIELDS, KILLS = 40, 20
KEYS = {
    "cells_raw": "cell_id",
    "images": "image_id, revision",
    "ingested": "image_id, space",
    "labels": "label_set, level, subject_id, location",
    "proteins": "protein_id",
    "spaces": "digest",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_opencell(folder, range(FIELDS))
    write_labels(folder / "labels.csv", {n: {"er": 3} for n in range(FIELDS)})
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[float]]:
    store = Store.open(tmp_path_factory.mktemp("undisturbed") / "store", create=True)
    finish(store, source)
    return everything(store)


def finish(store: Store, source: Path) -> None:
    report = ingest(store, source, layout="opencell", backbones=["pixel-stats"], labels=source / "labels.csv")
    assert report.images_in + report.done_before == FIELDS


def check(store: Store, undisturbed: dict[tuple[str, str], list[float]]) -> None:
    """Every cell once, in every space, with the vectors of an undisturbed run; no key twice in any table."""
    assert everything(store) == undisturbed
    for table, key in KEYS.items():
        assert rows(store, f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1") == [], table
    assert rows(store, "SELECT count(*) AS n FROM cells_raw") == [{"n": len(undisturbed)}]


def test_twenty_kills_lose_and_double_nothing(
    tmp_path: Path, source: Path, undisturbed: dict[tuple[str, str], list[float]]
) -> None:
    """kill -9 at twenty random moments of an ingest, then a rerun: the store of an undisturbed run.

    One that comes to its end before is checked, and the kills go on with the next.
    """
    seed = int(os.environ.get("EMBSTORE_FAULT_SEED", np.random.default_rng().integers(1 << 32)))
    print(f"EMBSTORE_FAULT_SEED={seed}")  # shown when it fails
    rng = np.random.default_rng(seed)
    kills = stores = 0
    while kills < KILLS:
        folder = tmp_path / f"store{stores}"
        if kill_after(int(rng.integers(3)), float(rng.uniform(0, 0.4)), folder, source):
            kills += 1
        else:
            check(Store.open(folder), undisturbed)
            stores += 1
        assert stores < KILLS
    store = Store.open(tmp_path / f"store{stores}", create=True)
    finish(store, source)
    check(store, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here ({made.stderr.strip()}); run as root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_is_one_line_and_the_rerun_completes(
    small_disk: Path, source: Path, undisturbed: dict[tuple[str, str], list[float]], tmp_path: Path
) -> None:
    """The command ends with one line and exit 1, the store opens, and with room again the same command completes."""
    finish(Store.open(tmp_path / "whole", create=True), source)
    needed = sum(file.stat().st_size for file in (tmp_path / "whole").rglob("*"))
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - needed // 2))
    words = ["--store", str(small_disk / "store"), "ingest", str(source), "--layout", "opencell"]
    words += ["--labels", str(source / "labels.csv"), "--backbone", "pixel-stats"]
    program = [sys.executable, "-c", "from embstore_cli.main import main; main()", *words]
    full = subprocess.run(program, capture_output=True, text=True, check=False)
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    assert full.stderr.startswith("error: ")
    assert full.stderr.count("\n") == 1
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    store = Store.open(small_disk / "store", create=True)
    finish(store, source)
    check(store, undisturbed)
