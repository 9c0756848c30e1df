"""The pages of docs/ are true: their commands run, in order, as they are typed there, and print what is shown."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from .example_files import install_example_package, write_example_networks
from .pages import ROOT, Typed, assert_all_work, blocks, commands, page, type_commands

TUTORIAL = page("docs/tutorial.md")
AFTER_THE_TUTORIAL = ("scores", "labels", "search", "care", "backbones", "python")  # pages that go on in its folder
BY_THEMSELVES = ("cells", "external", "phantom")
Followed = tuple[Path, list[Typed]]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Followed:
    """A folder in which every command of the tutorial was typed, and what each printed; not to be changed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, type_commands(commands(TUTORIAL), folder, samples)


@pytest.mark.slow
def test_the_tutorial_works_and_prints_what_it_shows(followed: Followed) -> None:
    """Every command exits 0, and every line shown as output is printed."""
    folder, typed = followed
    assert_all_work(typed)
    assert len(_shown(TUTORIAL)) > 30
    assert _not_printed(TUTORIAL, typed) == []
    assert (folder / "neighbours.png").stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.parametrize("name", AFTER_THE_TUTORIAL)
def test_a_page_that_goes_on_from_the_tutorial_works(
    name: str, followed: Followed, tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands, and its Python, run in the folder that the tutorial leaves."""
    folder = shutil.copytree(followed[0], tmp_path / name)
    text = page(f"docs/{name}.md")
    if name == "backbones":
        monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
        write_example_networks(folder)
        install_example_package(text, folder, monkeypatch)
    typed = type_commands(commands(text), folder, samples)
    assert_all_work(typed)
    assert _not_printed(text, typed) == []
    _run_python(text, folder)


@pytest.mark.slow
def test_the_python_of_the_tutorial_runs(followed: Followed) -> None:
    """Its Python block prints the neighbour that its command found."""
    assert "ACTB" in _run_python(TUTORIAL, followed[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_a_page_that_begins_in_an_empty_folder_works(name: str, tmp_path: Path, samples: Path) -> None:
    """Its commands run in an empty folder, and no file fails."""
    text = page(f"docs/{name}.md")
    typed = type_commands(commands(text), tmp_path, samples)
    assert len(typed) >= 2
    assert_all_work(typed)
    assert [done.command for done in typed if "failed:" in done.err] == []
    assert _not_printed(text, typed) == []


def test_every_page_with_commands_is_executed() -> None:
    """A page of docs/ with a bash or Python block is executed here, or by tests of its own."""
    executed = {"tutorial", "layouts", "segmenters", *AFTER_THE_TUTORIAL, *BY_THEMSELVES}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
    assert {name for name, text in pages.items() if blocks(text, "bash") or blocks(text, "python")} == executed


def _shown(text: str) -> list[str]:
    return [line for block in blocks(text, "text") for line in block.splitlines()]


def _not_printed(text: str, typed: list[Typed]) -> list[str]:
    """The lines that a page shows as output and no command printed; decimals may differ between machines."""
    printed = {_comparable(line) for done in typed for line in (done.out + done.err).splitlines()}
    return [line for line in _shown(text) if _comparable(line) not in printed]


def _comparable(line: str) -> str:
    """A line with its decimals as '#' and its blanks as one each."""
    return re.sub(r"\s+", " ", re.sub(r"-?\d+\.\d+", "#", line)).strip()


def _run_python(text: str, folder: Path) -> str:
    printed = io.StringIO()
    with chdir(folder), contextlib.redirect_stdout(printed):
        for block in blocks(text, "python"):
            exec(compile(block, "page", "exec"), {})  # the point of the test
    return printed.getvalue()
