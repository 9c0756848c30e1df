"""The log: under the name `embstore`, silent until somebody asks; `--log FILE` and `-v` ask."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import embstore as es
from embstore.phantom import write_phantom
from embstore_bench import bench
from tests.cli.conftest import Run

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (INFO|WARNING|ERROR) embstore[.\w]*: .+")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated images, of which one is damaged and has a line break in its name."""
    atlas = write_phantom(
        tmp_path_factory.mktemp("atlas") / "atlas", layout="opencell", proteins=4, fields=1, field_px=200
    )
    file = sorted(Path(atlas.images_folder).rglob("*.tif"))[0]
    file.unlink()
    file.with_name("bad\nname.tif").write_bytes(b"no image")
    return Path(atlas.images_folder)


def logged_ingest(run: Run, images: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        *("--store", folder / "store", *options, "ingest", images, "--layout", "opencell"),
        *("--backbone", "pixel-stats", "--progress", "none"),
    )


def test_a_log_file_has_a_line_for_each_step_and_failure(run: Run, images: Path, tmp_path: Path) -> None:
    """The command, begin and end, commits, the space, and the damaged file as one warning; stderr stays as it is."""
    log = tmp_path / "run.log"
    quiet = logged_ingest(run, images, tmp_path / "quiet")
    done = logged_ingest(run, images, tmp_path, "--log", str(log))
    assert done.returncode == 0
    assert done.stderr == quiet.stderr
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert f"command: embstore --store {tmp_path / 'store'}" in lines[0]
    text = "\n".join(lines)
    for step in (
        "ingest of opencell into pixel-stats:mapping begins: 3 to do, 0 done before",
        "space pixel-stats:mapping",
        "committed 3 images with ",
        "ingest of opencell: 3 of 4 images in, 0 done before, 1 failures",
    ):
        assert step in text
    (warning,) = [line for line in lines if " WARNING " in line]
    assert r"bad\nname.tif" in warning


def test_a_log_file_is_appended_to_and_has_the_error(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    for _ in range(2):
        assert run("--store", tmp_path / "none", "--log", log, "status").returncode == 1
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert f"ERROR embstore: there is no store at {tmp_path / 'none'}" in lines[-1]


def test_verbose_writes_the_log_to_stderr(run: Run, images: Path, tmp_path: Path) -> None:
    done = logged_ingest(run, images, tmp_path, "-v")
    assert " INFO embstore.ingest.history: ingest of opencell into" in done.stderr
    assert "INFO" not in done.stdout
    again = logged_ingest(run, images, tmp_path)
    assert "INFO" not in again.stderr


def test_a_log_that_cannot_be_written_is_an_error_of_one_line(run: Run, tmp_path: Path) -> None:
    done = run("--log", tmp_path / "no" / "run.log", "status")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot write the log {tmp_path / 'no' / 'run.log'}: No such file or directory; "
        "name another file with --log\n"
    )


def test_the_library_is_silent_until_a_program_asks() -> None:
    """A warning of the library reaches no stream of a program that configured no logging."""
    code = "import embstore, logging; logging.getLogger('embstore.ingest').warning('odd')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_care_and_scores_are_logged(phantom_store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each fit of bench, what a repair took out, and what a removal and a cleaning did."""
    store = es.open(shutil.copytree(phantom_store, tmp_path / "store"))
    with caplog.at_level(logging.INFO, logger="embstore"):
        bench(store, backbones=["pixel-stats"], heads=["knn"], folds=3, seeds=1)
        shutil.rmtree(tmp_path / "store" / "splits.lance")
        es.repair(store)
        es.remove(store, "gene = 'PHN001'")
        es.maintain(store)
    text = caplog.text
    assert "bench of opencell/grade3: 5 entries to fit, 0 exist" in text
    assert "fitted pixel-stats:mapping, knn on opencell/grade3/protein-k3-s0 in " in text
    assert re.search(r"WARNING +embstore.care.repair:.*repaired splits: made again, empty", text)
    assert "removed what matches \"gene = 'PHN001'\"" in text
    assert "maintained " in text
