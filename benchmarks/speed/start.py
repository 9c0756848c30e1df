"""What a command costs before it does any work: `--help` against a bare Python, and queries of a small store."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import compare, report

import embstore as es
from embstore_bench import bench

LIMIT_S = 1.6  # of CPU, for a command that opens a small store
ROUNDS = 5
MAIN = "from embstore_cli.main import main; main()"


def main() -> None:
    help_only, help_of_status = (_typed(*words) for words in (["--help"], ["status", "--help"]))
    timings = compare(
        {
            "python -c pass": lambda: _run("-c", "pass"),
            "import typer, rich": lambda: _run("-c", "import typer, rich.console"),
            "embstore --help": lambda: _run(*help_only),
            "embstore status --help": lambda: _run(*help_of_status),
        },
        baseline="import typer, rich",
        rounds=9,
    )
    report("start of the command line", timings, work="--help should stay under half a second")
    with tempfile.TemporaryDirectory() as folder:
        images = _fill(Path(folder))
        again = ("--backbone", "pixel-stats")
        commands = {
            "sql": ("sql", "SELECT count(*) FROM cells"),
            "status": ("status",),
            "search protein": ("search", "protein", "PHN001"),
            "results": ("results",),
            "tag": ("tag",),
            "ingest, again": ("ingest", str(images), "--layout", "opencell", *again),
            "embed, again": ("embed", *again),
        }
        seconds = {
            name: round(_cpu_seconds(_typed("--store", f"{folder}/store", *words)), 3)
            for name, words in commands.items()
        }
    _report(seconds)


def _fill(folder: Path) -> Path:
    """Make a store of 28 fields with vectors and a score, and return the folder of its images."""
    es.write_phantom(folder / "atlas", layout="opencell", proteins=28, fields=1, field_px=260)
    images, store = folder / "atlas" / "images", es.open(folder / "store", create=True)
    labels = folder / "atlas" / "labels.csv"
    es.ingest(store, images, layout="opencell", backbones=["pixel-stats"], labels=labels)
    bench(store, backbones=["pixel-stats"], folds=3, seeds=1)
    return images


def _typed(*words: str) -> tuple[str, ...]:
    return "-c", MAIN, *words


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _cpu_seconds(arguments: tuple[str, ...]) -> float:
    """Return the median CPU seconds, user and system, of a command."""
    _run(*arguments)
    seconds = []
    for _ in range(ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _run(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)


def _report(seconds: dict[str, float]) -> None:
    sys.stderr.write(f"\nCPU seconds of a command on a small store (limit: {LIMIT_S})\n")
    for command, cpu_s in seconds.items():
        sys.stderr.write(f"  {command:<42} {cpu_s:7.2f} s{'' if cpu_s <= LIMIT_S else '   too slow'}\n")
    sys.stdout.write(json.dumps({"title": "CPU seconds", "cores": os.cpu_count(), "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
