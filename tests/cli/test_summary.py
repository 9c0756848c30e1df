"""What an ingest prints when it ends."""

from __future__ import annotations

import json

import pytest
import typer

from embstore.ingest import Report
from embstore.sources.record import Failure
from embstore_cli.context import Format
from embstore_cli.summary import finish, summary


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_mistake_in_many_files_is_one_line(capsys: pytest.CaptureFixture[str], dry_run: bool) -> None:
    """Files with the same thing wrong stand together, those with another on a line of their own."""
    failures = [Failure(f"{n}.tif", "plan", "its name does not state what it shows", "rename it") for n in range(300)]
    failures.insert(2, Failure("x.tif", "plan", "it is empty", "copy it again"))
    with pytest.raises(typer.Exit):
        finish(Report("d", failures=failures), form=Format.table, strict=False, dry_run=dry_run)
    assert capsys.readouterr().err.splitlines() == [
        "failed: 0.tif, 1.tif, 2.tif and 297 more: its name does not state what it shows; rename it",
        "failed: x.tif: it is empty; copy it again",
    ]


@pytest.mark.parametrize(("dry_run", "lines"), [(False, 11), (True, 15)])
def test_a_dry_run_shows_every_mistake(capsys: pytest.CaptureFixture[str], dry_run: bool, lines: int) -> None:
    """An ingest lists ten and refers to the table `failures` for the rest."""
    failures = [Failure(f"{n}.tif", "plan", f"error {n}", "correct it") for n in range(15)]
    with pytest.raises(typer.Exit):
        finish(Report("d", failures=failures), form=Format.table, strict=False, dry_run=dry_run)
    message = capsys.readouterr().err.splitlines()
    assert len(message) == lines
    assert message[-1].startswith("failed: 14.tif" if dry_run else "... and 5 more: embstore sql")


def test_rare_counts_are_lines_for_people_and_notes_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    """They come after the notes on how the source was read; what is zero is not mentioned."""
    report = Report("d", images=3, images_in=3, images_gone=2, images_resegmented=1, labels_changed=4, notes=["read"])
    lines = [
        "read",
        "2 images of the store are missing from the source; they are kept (`embstore remove` removes them)",
        "labels: 4 subjects are new or changed",
    ]
    assert [line.strip() for line in summary(report)][2:] == lines
    finish(report, form=Format.json, strict=False, dry_run=False)
    (record,) = json.loads(capsys.readouterr().out)
    assert record["notes"] == lines
    assert record["images_recut"] == 1
    assert not {"images_gone", "labels_changed", "images_resegmented"} & record.keys()


def test_what_is_left_out_is_found_where_it_is_stored() -> None:
    """Estimated sizes are no notes, and a dry run stored nothing."""
    sizes = {f"i{n}": 1.0 for n in range(20)} | {f"o{n}": 9.0 for n in range(6)}
    report = Report("d", estimated_um=sizes, mask_notes={f"m{n}": "merged" for n in range(7)})
    sizes_line, notes_line = [line.strip() for line in summary(report) if "more" in line]
    assert sizes_line.startswith('... and 1 more: embstore sql "SELECT image_id, pixel_size_um FROM images WHERE')
    assert notes_line.startswith('... and 2 more: embstore sql "SELECT image_id, note FROM images WHERE')
    assert "  ... and 2 more" in summary(report, dry_run=True)


def test_a_report_prints_in_a_few_lines() -> None:
    """What was ingested, and how many vectors in which space: not its failures one by one."""
    failures = [Failure(f"{n}.tif", "plan", f"error {n}", "rename it") for n in range(300)]
    report = Report("d", images=303, images_in=3, vectors_in={"hpa:mapping": 60}, failures=failures)
    assert repr(report).splitlines() == [
        "d: 3 of 303 images in, 0 done before, 300 failures",
        "space        vectors",
        "hpa:mapping  60",
    ]
