"""The committer: what is held before it is written is bounded, however many images come."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_fields import write_opencell

from embstore.ingest import ingest
from embstore.store import Store


@pytest.mark.parametrize(("limit", "commits"), [({}, 1), ({"COMMIT_BYTES": 1}, 3), ({"COMMIT_ROWS": 4}, 2)])
def test_a_commit_is_as_large_as_rows_and_bytes_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int], commits: int
) -> None:
    """Three fields of three cells are one write; where bytes or rows are too many already, they are several."""
    for name, value in limit.items():
        monkeypatch.setattr(f"embstore.commit.{name}", value)
    store = Store.open(tmp_path / "store", create=True)
    before = store.versions()
    write_opencell(tmp_path / "in", [1, 2, 3])
    ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    assert {store.versions()[name] - before[name] for name in ("images", "cells", "ingested")} == {commits}
