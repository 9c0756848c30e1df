"""The documents hang together: links resolve, the index names every page, and reference pages name what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import embstore
import embstore_bench
from embstore_cli.main import app

from .pages import ROOT, page

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MAX_CHANGELOG_LINES = 60  # of one version


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Each relative link names a file of the repository and, after '#', one of its headings."""
    broken = [link for link in _links(path) if not _resolves(path, link)]
    assert broken == []


def test_the_index_names_every_page() -> None:
    """A reader who starts at docs/index.md can reach every page from there."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.split("#")[0]).resolve() for link in _links(index)}
    assert [path.name for path in PAGES if path != index and path.resolve() not in linked] == []


def test_the_command_line_page_names_every_command() -> None:
    """docs/cli.md has a row for each command and subcommand, and for no other."""
    named = re.findall(r"^\| `embstore ([^`]+)`", page("docs/cli.md"), flags=re.MULTILINE)
    rows = {" ".join(re.match(r"(?:[a-z]+ ?)+", row)[0].split()[:2]) for row in named}  # type: ignore[index]
    assert rows == set(_commands(typer.main.get_command(app)))


def test_the_python_page_names_the_whole_public_interface() -> None:
    """docs/python.md names every public name of embstore and of embstore_bench."""
    text = page("docs/python.md")
    names = [*(f"es.{name}" for name in embstore.__all__), *embstore_bench.__all__]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)] == []


def test_a_version_fits_on_one_screen_of_the_changelog() -> None:
    """Each version has at most 60 lines, in the sections of Keep a Changelog."""
    for version in re.split(r"^(?=## )", page("CHANGELOG.md"), flags=re.MULTILINE)[1:]:
        assert len(version.splitlines()) <= MAX_CHANGELOG_LINES
        sections = re.findall(r"^### (.+)$", version, flags=re.MULTILINE)
        assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def _links(path: Path) -> list[str]:
    """The targets of a page's links and pictures that are no web addresses."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def _resolves(path: Path, link: str) -> bool:
    name, _, heading = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists() or not heading:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return heading in {_anchor(text) for text in headings}


def _anchor(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _commands(command: Any, *above: str) -> list[str]:
    """The names of all commands, such as `bench` and `search protein`."""
    below = getattr(command, "commands", {})
    return [" ".join(above)] if not below else [c for n, sub in below.items() for c in _commands(sub, *above, n)]
