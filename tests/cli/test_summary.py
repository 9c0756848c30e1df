"""What an ingest says when it ends."""

from __future__ import annotations

import pytest
import typer

from embstore.ingest import Report
from embstore.sources.record import Failure
from embstore_cli.context import Format
from embstore_cli.summary import finish


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_mistake_in_many_files_is_one_line(capsys: pytest.CaptureFixture[str], dry_run: bool) -> None:
    """Files with the same thing wrong stand together, those with another on a line of their own."""
    failures = [Failure(f"{n}.tif", "plan", "its name does not say what it shows", "rename it") for n in range(300)]
    failures.insert(2, Failure("x.tif", "plan", "it is empty", "copy it again"))
    with pytest.raises(typer.Exit):
        finish(Report("d", failures=failures), form=Format.table, strict=False, dry_run=dry_run)
    assert capsys.readouterr().err.splitlines() == [
        "failed: 0.tif, 1.tif, 2.tif and 297 more: its name does not say what it shows; rename it",
        "failed: x.tif: it is empty; copy it again",
    ]


@pytest.mark.parametrize(("dry_run", "lines"), [(False, 11), (True, 15)])
def test_a_dry_run_shows_every_mistake(capsys: pytest.CaptureFixture[str], dry_run: bool, lines: int) -> None:
    """An ingest shows ten and says where the rest is: in the table `failures`."""
    failures = [Failure(f"{n}.tif", "plan", f"error {n}", "mend it") for n in range(15)]
    with pytest.raises(typer.Exit):
        finish(Report("d", failures=failures), form=Format.table, strict=False, dry_run=dry_run)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert said[-1].startswith("failed: 14.tif" if dry_run else "... and 5 more: embstore sql")
