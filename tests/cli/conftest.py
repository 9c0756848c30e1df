"""The command line as a user has it: its entry point, its two streams apart."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from embstore.phantom import write_phantom
from embstore_cli.main import main

Run = Callable[..., subprocess.CompletedProcess[str]]


def run_embstore(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `embstore ARGUMENTS` as its entry point does, in this process: engines are imported once for all tests."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["embstore", *map(str, arguments)]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err), chdir(cwd or Path.cwd()):
            main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = argv
    return subprocess.CompletedProcess(sys.argv, int(str(code)), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run() -> Run:
    return run_embstore


@pytest.fixture(scope="session")
def phantom_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made by one ingest of 36 simulated proteins with pixel-stats; tests only read it."""
    folder = tmp_path_factory.mktemp("cli")
    atlas = write_phantom(folder / "atlas", layout="opencell", proteins=36, fields=1, field_px=300)
    done = run_embstore(
        *("--store", folder / "store", "ingest", atlas.images_folder, "--layout", "opencell", "--labels", atlas.labels),
        *("--backbone", "pixel-stats"),
    )
    assert done.returncode == 0, done.stderr
    return folder / "store"
