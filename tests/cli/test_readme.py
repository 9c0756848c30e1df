"""The README is true: its commands run, in order, as they are typed there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from contextlib import chdir
from pathlib import Path

import pytest

from .conftest import Run, run_embstore

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("embstore ")]


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> tuple[Path, list[tuple[str, str, str, int]]]:
    """A folder in which every command of the README was typed, and what each printed."""
    folder = tmp_path_factory.mktemp("readme")
    printed = []
    for command in COMMANDS:
        words = shlex.split(command.replace("$EMBSTORE_SAMPLES", str(samples)))[1:]
        done = run_embstore(*words, cwd=folder)
        printed.append((command, done.stdout, done.stderr, done.returncode))
    return folder, printed


def test_every_command_of_the_readme_works(toured: tuple[Path, list[tuple[str, str, str, int]]]) -> None:
    """Each command exits 0 and prints something, on real images and real published vectors."""
    _, printed = toured
    assert len(printed) >= 14
    for command, out, err, code in printed:
        assert code == 0, f"{command}\n{err}"
        assert out.strip(), command


def test_the_tour_says_what_was_found(toured: tuple[Path, list[tuple[str, str, str, int]]]) -> None:
    """Pixel sizes that were estimated, fields without cells or protein, and scores that are plumbing are all said."""
    folder, printed = toured
    said = "\n".join(out + err for _, out, err, _ in printed)
    assert "20 of 20 images went in" in said
    assert "pixel size not in the files: estimated from the median nucleus" in said
    assert "no cell in opencell/no-nuclei-1" in said
    assert "1 images name no protein" in said
    assert "labels without an image, left out: 1645_H1_6" in said
    assert "13 proteins in 4 classes: plumbing, not a score" in said
    assert "1132 of 1132 vectors went in" in said
    assert (folder / "neighbours.png").stat().st_size > 100_000


def test_ingesting_again_finds_nothing_to_do(
    toured: tuple[Path, list[tuple[str, str, str, int]]], samples: Path
) -> None:
    """Every ingest of the README, typed a second time, has nothing to do."""
    folder, _ = toured
    for command in (c for c in COMMANDS if c.startswith("embstore ingest")):
        words = shlex.split(command.replace("$EMBSTORE_SAMPLES", str(samples)))[1:]
        done = run_embstore(*words, cwd=folder)
        assert "nothing to do" in done.stdout, command


def test_the_python_of_the_readme_runs(toured: tuple[Path, list[tuple[str, str, str, int]]]) -> None:
    """The Python block runs on the store that the commands made."""
    folder, _ = toured
    printed = io.StringIO()
    with chdir(folder), contextlib.redirect_stdout(printed):
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {})  # the point of the test
    assert "ACTB" in printed.getvalue()


def test_the_readme_names_the_two_commands_and_every_verb(run: Run) -> None:
    """The first screen has `make demo` and `make test`, the Makefile has what is named, and every verb is shown."""
    assert "make demo" in README[:1500]
    assert "make test" in README[:1500]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z-]+)(?=`|  )", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    verbs = set(re.findall(r"^│ ([a-z]+) ", run("--help").stdout, flags=re.MULTILINE))
    assert {"ingest", "bench", "search", "sql", "status"} <= verbs
    for verb in verbs - {"demo"}:
        assert f"embstore {verb}" in README, verb
