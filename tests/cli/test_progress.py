"""How far a long job is: bars, lines, JSON lines; all of it on stderr."""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import redirect_stderr
from datetime import datetime
from pathlib import Path

import pytest

from embstore.phantom import write_phantom
from embstore.progress import tell, tracked
from embstore_cli.progress import ProgressForm, duration, show_progress
from tests.cli.conftest import Run

KEYS = {"time", "stage", "item", "done", "total", "rate", "failures", "eta_s"}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six simulated images, of which one is damaged."""
    folder = tmp_path_factory.mktemp("atlas") / "atlas"
    images = write_phantom(folder, layout="opencell", proteins=6, fields=1, field_px=200).images_folder
    next(Path(images).rglob("*.tif")).write_bytes(b"no image")
    return folder


def shown(form: ProgressForm, every_s: float = 30.0, seconds: float = 0.0) -> list[str]:
    """Return the lines that a job of two stages shows, whose second one takes so many seconds."""
    stderr = io.StringIO()
    with redirect_stderr(stderr), show_progress(form, lines_every_s=every_s, json_every_s=every_s) as progress:
        for _ in tracked(["a", "b"], "files", progress):
            pass
        tell(progress, "images", 1, 4, failures=1, item="first")
        time.sleep(seconds)
        tell(progress, "images", 3, 4, failures=1, item="second")
        time.sleep(seconds)
        tell(progress, "images", 4, 4, failures=2)
    return stderr.getvalue().splitlines()


def test_a_short_job_off_a_terminal_is_silent() -> None:
    assert shown(ProgressForm.auto) == []


def test_a_long_job_off_a_terminal_writes_a_line_at_an_interval_and_at_its_end() -> None:
    """Also while one item takes longer; with stage, done, total, rate, failures and the time left."""
    lines = shown(ProgressForm.auto, every_s=0.2, seconds=0.5)
    assert "images (first): 1 of 4, 1 failure" in lines
    assert any(re.fullmatch(r"images \(second\): 3 of 4, [\d.]+ per s, 1 failure, \d+ s left", line) for line in lines)
    assert re.fullmatch(r"images: all 4 done, [\d.]+ per s, 2 failures", lines[-1])


def test_a_job_that_has_not_come_to_a_stage_says_that_it_runs() -> None:
    stderr = io.StringIO()
    with redirect_stderr(stderr), show_progress(ProgressForm.lines, lines_every_s=0.05):
        time.sleep(0.3)
    assert stderr.getvalue().startswith("starting ...\n")


def test_json_lines_tell_the_beginning_and_the_end_of_each_stage() -> None:
    records = [json.loads(line) for line in shown(ProgressForm.json)]
    assert all(record.keys() == KEYS for record in records)
    steps = [(r["stage"], r["item"], r["done"], r["total"], r["failures"]) for r in records]
    assert steps == [
        ("files", None, 1, 2, 0),
        ("files", None, 2, 2, 0),
        ("images", "first", 1, 4, 1),
        ("images", None, 4, 4, 2),
    ]
    assert all(datetime.fromisoformat(record["time"]).tzinfo for record in records)
    assert (records[0]["rate"], records[0]["eta_s"]) == (None, None)
    assert records[-1]["rate"] > 0
    assert records[-1]["eta_s"] == 0


def test_json_lines_tell_at_an_interval_how_long_it_will_take() -> None:
    records = [json.loads(line) for line in shown(ProgressForm.json, every_s=0.1, seconds=0.4)]
    between = [r for r in records if r["done"] == 3]
    assert between
    assert all(r["eta_s"] == pytest.approx(1 / r["rate"], rel=0.01, abs=0.06) for r in between)


def test_a_bar_shows_rate_and_failures() -> None:
    lines = " ".join(shown(ProgressForm.bar, seconds=0.2))
    assert re.search(r"4/4 [\d.]+ per s, 2 failures", re.sub(r"\x1b\[[\d;?]*\w", "", lines))


def test_none_shows_nothing() -> None:
    assert shown(ProgressForm.none, every_s=0.05, seconds=0.2) == []


def test_a_plain_function_is_still_a_progress() -> None:
    """Library users pass a function of stage, done and total."""
    steps: list[tuple[str, int, int]] = []
    tell(lambda *step: steps.append(step), "images", 1, 2, failures=1, item="a")
    assert steps == [("images", 1, 2)]


def test_progress_of_an_ingest_is_json_on_stderr_alone(run: Run, atlas: Path, tmp_path: Path) -> None:
    """Each line of stderr that begins with a brace is a record; stdout is data; the damaged file is counted."""
    done = run(
        *("--store", tmp_path / "store", "ingest", atlas / "images", "--layout", "opencell"),
        *("--backbone", "pixel-stats", "--progress", "json", "--format", "json"),
    )
    assert done.returncode == 0
    records = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    last = {record["stage"]: record for record in records if record["stage"] != "starting"}
    assert {stage: (r["done"], r["total"], r["failures"]) for stage, r in last.items()} == {
        "files": (6, 6, 0),
        "images": (6, 6, 1),
    }
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        (("maintain",), "tables"),
        (("verify",), "tables"),
        (("phantom", "write", "{tmp}/atlas", "--layout", "opencell", "--proteins", "2", "--field-px", "128"), "simul"),
    ],
)
def test_every_long_job_takes_progress(
    run: Run, phantom_store: Path, tmp_path: Path, command: tuple[str, ...], stage: str
) -> None:
    """Progress of verify and maintain counts tables, that of phantom fields."""
    words = [word.format(tmp=tmp_path) for word in command]
    done = run("--store", phantom_store, *words, "--progress", "json")
    records = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert records[-1]["stage"].startswith(stage)
    assert records[-1]["done"] == records[-1]["total"] > 0


def test_the_environment_chooses_the_progress(run: Run, phantom_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBSTORE_PROGRESS", "json")
    assert '"stage": "tables"' in run("--store", phantom_store, "verify").stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (11100, "3 h 05 min")]
)
def test_a_duration_is_written_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
