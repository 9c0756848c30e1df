"""Looking after a store by the command line: what is printed where, and how it ends."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def store(phantom_store: Path, tmp_path: Path) -> Path:
    """A copy of the phantom store, to be changed."""
    return shutil.copytree(phantom_store, tmp_path / "store")


def test_verify_is_one_line_or_rows_and_exit_1(run: Run, store: Path) -> None:
    """A sound store is one line and exit 0; a damaged one a row a finding and exit 1, in every format."""
    sound = run("--store", store, "verify")
    assert (sound.returncode, sound.stderr) == (0, "")
    assert sound.stdout.startswith("all is well: ")
    assert len(sound.stdout.splitlines()) == 1
    assert json.loads(run("--store", store, "verify", "--format", "json").stdout) == []
    next((store / "cells.lance" / "data").glob("*.lance")).unlink()
    broken = run("--store", store, "verify", "--format", "json")
    assert broken.returncode == 1
    (row,) = json.loads(broken.stdout)
    assert list(row) == ["check", "table", "found", "todo"]
    assert (row["check"], row["table"]) == ("files", "cells")
    table = run("--store", store, "verify")
    assert table.returncode == 1
    assert "check" in table.stdout.splitlines()[0]
    for command in (("sql", "SELECT count(thumbnail) FROM cells"), ("search", "protein", "PHN007"), ("status",)):
        done = run("--store", store, *command)
        assert "Traceback" not in done.stderr
        assert "`embstore verify` reports what is wrong" in done.stderr or done.returncode == 0


def test_verify_repairs_what_it_finds(run: Run, store: Path) -> None:
    """A line on stderr for each thing that is taken out, then the verdict; without --repair nothing is written."""
    shutil.rmtree(next(store.glob("emb_*.lance")))
    shutil.rmtree(store / "labels.lance")
    for command in (("search", "protein", "PHN007"), ("labels", "list"), ("sql", "SELECT * FROM labels")):
        done = run("--store", store, *command)
        assert done.returncode == 1
        assert "has no table" in done.stderr
        assert "`embstore verify` reports what to do" in done.stderr
    assert run("--store", store, "verify").returncode == 1
    assert not (store / "labels.lance").exists()
    repaired = run("--store", store, "verify", "--repair")
    assert (repaired.returncode, repaired.stdout.startswith("all is well")) == (0, True)
    assert "repaired: labels: made again, empty" in repaired.stderr
    assert run("--store", store, "verify", "--repair").stderr == ""


def test_a_store_is_tagged_read_at_the_tag_and_not_written_there(run: Run, store: Path) -> None:
    """`tag` lists and makes, `--at` reads, and every writing verb under `--at` is one line and exit 1."""
    assert run("--store", store, "tag", "v1").stdout.startswith("v1 tags the present versions of")
    assert run("--store", store, "remove", "--where", "gene = 'PHN007'").stdout.startswith("1 images, ")
    count = ("sql", "SELECT count(DISTINCT gene) AS n FROM cells", "--format", "csv")
    assert run("--store", store, *count).stdout.split() == ["n", "35"]
    assert run("--store", store, "--at", "v1", *count).stdout.split() == ["n", "36"]
    assert run("--store", store, "--at", "v1", "status").returncode == 0
    assert run("--store", store, "--at", "v1", "verify").stdout.startswith("all is well")
    (listed,) = json.loads(run("--store", store, "tag", "--format", "json").stdout)
    assert (listed["tag"], listed["entries"]) == ("v1", 0)
    images = store.parent  # never looked at
    for command in (
        ("ingest", images, "--layout", "opencell", "--backbone", "pixel-stats"),
        ("embed", "--backbone", "pixel-stats"),
        ("bench", "--backbone", "pixel-stats"),
        ("splits", "make"),
        ("remove", "--where", "true"),
        ("maintain",),
        ("tag", "v2"),
    ):
        done = run("--store", store, "--at", "v1", *command)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert "open at tag v1, and can only be read" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert "was deleted" in run("--store", store, "tag", "v1", "--delete").stdout
    assert "choose from: none yet" in run("--store", store, "--at", "v1", "status").stderr


def test_maintain_shows_before_and_after(run: Run, store: Path) -> None:
    """A row a table with bytes, fragments and versions before and after; the sum goes to stderr."""
    done = run("--store", store, "maintain", "--older-than", "0", "--format", "json")
    rows = {row["table"]: row for row in json.loads(done.stdout)}
    kinds = [f"{size}_{when}" for size in ("bytes", "fragments", "versions") for when in ("before", "after")]
    assert list(rows["images"]) == ["table", *kinds]
    assert all(row["versions_after"] == 1 for row in rows.values())
    assert "bytes before" in done.stderr
    run("--store", store, "tag", "v1")
    run("--store", store, "remove", "--where", "gene < 'PHN020'")
    message = run("--store", store, "maintain", "--older-than", "0").stderr
    run("--store", store, "maintain", "--older-than", "0")
    assert re.search(
        r"the tag v1 keeps \d+ older versions of tables since 20\d\d-\d\d-\d\d, \d+ bytes .* --delete`", message
    )


def test_remove_reports_what_it_would_remove_and_what_it_removed(run: Run, store: Path) -> None:
    """A dry run counts, a purge names the tags that it deletes, and nothing to remove is reported."""
    run("--store", store, "tag", "v1")
    arguments = ("--store", store, "remove", "--where", "gene = 'PHN007'")
    planned = run(*arguments, "--dry-run", "--purge")
    assert "would be removed" in planned.stdout
    assert re.search(r"^1 images, \d+ cells, \d+ vectors would be removed; only the same ingest", planned.stderr)
    assert "tags would be deleted: v1; 0 scores" in planned.stderr
    kept = "would be removed; `embstore --at v1 ...` still reads it, until `embstore tag v1 --delete`"
    assert kept in run(*arguments, "--dry-run").stderr
    record = json.loads(run(*arguments, "--purge", "--format", "json").stdout)[0]
    assert (record["images"], record["tags"]) == (1, ["v1"])
    assert run(*arguments).stdout.strip() == "nothing to remove: no image, cell or profile matches"
    assert "no dataset 'nope'; choose from: opencell" in run(*arguments, "--dataset", "nope").stderr
    assert run("--store", store, "remove", "--where", "nosuch = 1").returncode == 1


def test_doctor_is_a_row_a_check(run: Run, store: Path, tmp_path: Path) -> None:
    """Rows of check, result, found and todo; exit 0 with warnings, 1 where something fails."""
    done = run("--store", store, "doctor", "--format", "json")
    assert done.returncode == 0
    checks = {row["check"]: row for row in json.loads(done.stdout)}
    assert {"store", "file system", "disk", "cores", "torch", "weights", "engines"} <= set(checks)
    (tmp_path / "no-store").mkdir()
    (tmp_path / "no-store" / "photo.tif").touch()
    assert run("--store", tmp_path / "no-store", "doctor").returncode == 1


def test_status_counts_old_versions_too(run: Run, store: Path) -> None:
    """fragments, versions and the bytes on disk are listed next to the live bytes."""
    rows = json.loads(run("--store", store, "status", "--format", "json").stdout)
    assert list(rows[0]) == ["name", "rows", "version", "bytes", "fragments", "versions", "disk_bytes", "holds"]
    assert all(row["disk_bytes"] >= row["bytes"] and row["versions"] >= 1 for row in rows)
