"""Commands start fast: they import only the engines that their work needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from embstore.phantom import write_phantom

from .conftest import Run

PROGRAM = """
import io, json, sys
from contextlib import redirect_stdout
from embstore_cli.main import main
commands, engines, imported = json.loads(sys.argv[1]), set(json.loads(sys.argv[2])), {}
for command in commands:
    sys.argv = ["embstore", *command]
    code = 0
    try:
        with redirect_stdout(io.StringIO()):
            main()
    except SystemExit as stop:
        code = stop.code
    imported[" ".join(command)] = [code or 0, sorted(engines.intersection(sys.modules))]
print(json.dumps(imported))
"""
READING = (
    ("sql", "SELECT count(*) FROM cells"),
    ("status",),
    ("search", "protein", "PHN007"),
    ("results",),
    ("tag",),
    ("splits", "list"),
    ("labels", "list"),
    ("verify",),
    ("remove", "--where", "gene = 'PHN007'", "--dry-run"),
    ("backbones", "list"),
    ("--at", "then", "status"),
)
WRITING = (("tag", "now"), ("tag", "now", "--delete"), ("maintain",), ("remove", "--where", "gene = 'PHN007'"))
# lancedb takes longer to import than all that a reading command does
ENGINES = ("lancedb", "torch", "timm")


def imports(store: Path, *commands: tuple[str, ...]) -> dict[str, tuple[int, list[str]]]:
    """Return each command's exit code, and the engines imported by it and those before it, in one new process."""
    typed = [["--store", str(store), *command] for command in commands]
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(typed), json.dumps(ENGINES)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    codes = json.loads(done.stdout.splitlines()[-1]).values()
    return dict(zip((" ".join(command) for command in commands), map(tuple, codes), strict=True))


def test_reading_and_small_writes_import_neither_lancedb_nor_a_network(tmp_path: Path, phantom_store: Path) -> None:
    """Every reading command, then tags, maintenance and removal, run on lance and DuckDB alone."""
    store = shutil.copytree(phantom_store, tmp_path / "store")
    done = imports(store, ("tag", "then"), *READING, *WRITING)
    assert done == dict.fromkeys(done, (0, []))


def test_a_run_with_nothing_to_do_imports_no_network(tmp_path: Path, run: Run) -> None:
    """ingest and embed on a finished store, with a network: neither torch nor timm."""
    atlas = write_phantom(tmp_path / "atlas", layout="opencell", proteins=1, fields=1, field_px=200)
    ingest = ("ingest", str(atlas.images_folder), "--layout", "opencell", "--backbone", "phantom-dino")
    first = run("--store", tmp_path / "store", *ingest, "--device", "cpu")
    assert first.returncode == 0, first.stderr
    again = (ingest, ("embed", "--backbone", "phantom-dino"))
    done = imports(tmp_path / "store", *((*command, "--device", "cpu") for command in again))
    assert done == dict.fromkeys(done, (0, []))
