"""The README is true: its commands run, in order, as they are typed there."""

from __future__ import annotations

import contextlib
import io
import re
from contextlib import chdir
from pathlib import Path

import pytest

from .pages import Typed, assert_all_work, blocks, commands, page, type_commands

README = page("README.md")
Tour = tuple[Path, list[Typed]]


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Tour:
    """A folder in which every command of the README was typed, and what each printed."""
    folder = tmp_path_factory.mktemp("readme")
    return folder, type_commands(commands(README), folder, samples)


def test_every_command_of_the_readme_works(toured: Tour) -> None:
    """The five commands exit 0 and print something, on real images."""
    folder, typed = toured
    assert [line.split()[1] for line in commands(README)] == ["ingest", "bench", "search", "sql", "verify"]
    assert_all_work(typed)
    assert (folder / "neighbours.png").stat().st_size > 100_000


def test_ingesting_again_finds_nothing_to_do(toured: Tour, samples: Path) -> None:
    """The README's ingest, typed a second time, has nothing to do."""
    folder, _ = toured
    (again,) = type_commands(commands(README)[:1], folder, samples)
    assert "nothing to do" in again.out


def test_the_python_of_the_readme_runs(toured: Tour) -> None:
    """The Python block runs on the store that the commands made."""
    folder, _ = toured
    printed = io.StringIO()
    with chdir(folder), contextlib.redirect_stdout(printed):
        for block in blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), {})  # the point of the test
    assert "ACTB" in printed.getvalue()


def test_the_readme_names_the_two_commands_and_targets_that_exist() -> None:
    """The first screen has `make demo` and `make test`, and the Makefile has every target that is named."""
    assert "make demo" in README[:1500]
    assert "make test" in README[:1500]
    makefile = page("Makefile")
    for target in re.findall(r"`?make ([a-z-]+)(?=`|  )", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_readme_is_short() -> None:
    """At most 900 words, and no line over 120 characters."""
    assert len(README.split()) <= 900
    assert [line for line in README.splitlines() if len(line) > 120] == []
