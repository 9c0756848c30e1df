"""`embstore phantom` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

from embstore.phantom import atlas_digest

from .conftest import Run


def test_an_atlas_is_written_ingested_and_labelled(run: Run, tmp_path: Path) -> None:
    """The three commands that `phantom write` names, one after the other, in the layout with four channels."""
    atlas, store = tmp_path / "atlas", ("--store", tmp_path / "store")
    small = ("--proteins", "2", "--fields", "1", "--field-px", "500", "--seed", "2")
    done = run("phantom", "write", atlas, "--layout", "hpa", *small, "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["images"], row["proteins"], row["digest"]) == (2, 2, atlas_digest("v1"))
    assert f"embstore ingest {atlas}/images --layout hpa --labels {atlas}/image_labels.csv" in done.stderr
    taken = run(
        *store, "ingest", row["images_folder"], "--layout", "hpa", "--labels", row["labels"], "-b", "pixel-stats"
    )
    assert "2 of 2 images ingested" in taken.stdout
    done = run(*store, "phantom", "truth", atlas, "--format", "json")
    (report,) = json.loads(done.stdout)
    assert report["label_set"] == "hpa/truth"
    assert 0 < report["labelled"] <= report["found"]
    asked = run(*store, "sql", "SELECT DISTINCT level FROM labels WHERE label_set = 'hpa/truth'", "--format", "csv")
    assert asked.stdout.split() == ["level", "cell"]


def test_wrong_requests_are_one_line(run: Run, tmp_path: Path) -> None:
    """Another layout, another version and a folder that is taken exit 1 with what to do, and never a traceback."""
    for words, message in (
        (("a", "--layout", "yeast"), "there is no phantom layout 'yeast'; choose from: hpa, opencell"),
        (("a", "--layout", "hpa", "--version", "v0"), "there is no phantom version 'v0'; choose from: v1"),
        (("a", "--layout", "hpa", "--proteins", "-3"), "wanted 1 to 99999"),
        ((".", "--layout", "hpa"), "is not empty and contains no phantom atlas"),
    ):
        (tmp_path / "note.txt").write_text("here before")
        done = run("phantom", "write", *words, cwd=tmp_path)
        assert done.returncode == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_versions_are_listed_with_their_digest(run: Run) -> None:
    """What was frozen can be named in a paper."""
    (row,) = json.loads(run("phantom", "versions", "--format", "json").stdout)
    assert row == {"version": "v1", "digest": atlas_digest("v1"), "locations": 17}
