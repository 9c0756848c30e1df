"""The committer: what is held before it is written is bounded, however many images come."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_fields import write_opencell

from embstore.care.remove import remove
from embstore.care.verify import verify
from embstore.ingest import commit, ingest
from embstore.store import Store, rows


@pytest.mark.parametrize(("limit", "commits"), [({}, 1), ({"COMMIT_BYTES": 1}, 3), ({"COMMIT_ROWS": 4}, 2)])
def test_a_commit_is_as_large_as_rows_and_bytes_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int], commits: int
) -> None:
    """Three fields of three cells are one write; where bytes or rows are too many already, they are several."""
    for name, value in limit.items():
        monkeypatch.setattr(commit, name, value)
    store = Store.open(tmp_path / "store", create=True)
    before = store.versions()
    write_opencell(tmp_path / "in", [1, 2, 3])
    ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    assert {store.versions()[name] - before[name] for name in ("images", "cells", "ingested")} == {commits}


@pytest.mark.parametrize("again", [False, True])
def test_an_image_that_is_removed_long_before_its_commit_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Three commits; the third's image is removed before the first: neither it nor its vectors exist, new or known."""
    write_opencell(tmp_path / "in", [1, 2, 3])
    store = Store.open(tmp_path / "store", create=True)
    if again:
        ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    monkeypatch.setattr(commit, "COMMIT_BYTES", 0)
    last = [image["image_id"] for image in rows(store, "SELECT image_id FROM images ORDER BY 1")][-1:]

    def progress(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("images", 1) and last:
            remove(Store.open(store.uri), f"image_id = '{last[0]}'")

    spec = "pixel-stats:intensity=minmax" if again else "pixel-stats"
    report = ingest(store, tmp_path / "in", layout="opencell", backbones=[spec], progress=progress)
    assert store.read("images").num_rows == 3 - len(last)
    assert report.images_removed == len(last)
    assert verify(store).wrong == ()
