"""docs/layouts.md is true: its commands run, in order, as they are typed there."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.sources.detect import VECTOR_SUFFIXES
from embstore.sources.tables import IMAGE_SUFFIXES

from .pages import ROOT, Typed, assert_all_work, commands, page, type_commands

PAGE = page("docs/layouts.md")
SUFFIXES = (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> list[Typed]:
    """Every command of the page, typed in one folder, and what it printed."""
    return type_commands(commands(PAGE), tmp_path_factory.mktemp("layouts"), samples)


@pytest.mark.slow
def test_every_command_of_the_page_works(typed: list[Typed]) -> None:
    """Each exits 0 on real files, and no file fails."""
    assert_all_work(typed)
    assert [done.command for done in typed if "failed" in done.err] == []


@pytest.mark.slow
def test_the_page_says_what_was_found(typed: list[Typed]) -> None:
    """Layouts that names prove, crops of unknown size, and fields without cells or protein are all reported."""
    message = "\n".join(done.out + done.err for done in typed)
    assert "hpa-rgb: 0 of 1 images would be ingested, 1 are done" in message
    assert "layout: hpa (4 HPA names)" in message
    assert "no cell in opencell/no-nuclei-1" in message
    assert "1 images name no protein" in message
    assert "labels without an image, left out: 1645_H1_6" in message
    assert "34 of 34 images ingested, 34 new cells" in message
    assert "200 crops of unknown pixel size: each assumed to be 25 µm wide" in message
    assert "hpa-cells/hpa-main, hpa-cells/hpa-any: 3 by id" in message
    assert "nf1: 2 of 2 images ingested, 35 new cells" in message
    assert "mnfinder: 2 of 2 images ingested, 220 new cells" in message


def test_every_folder_of_the_samples_is_ingested_or_documented(samples: Path) -> None:
    """A page of docs/ names every folder that contains images or vectors."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    folders = {path.parent.relative_to(samples) for path in samples.rglob("*") if path.name.endswith(SUFFIXES)}
    unsaid = [f for f in folders if not any(part.as_posix() in text for part in (f, *f.parents[:-2]))]
    assert unsaid == []
