"""A removal and an ingest at once: whichever write of the ingest it falls before, nothing is left by halves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from drawn_fields import CELLS, draw_field, opencell_path, run_together, save_tiff, write_opencell

from embstore.care.remove import remove
from embstore.care.verify import verify
from embstore.ingest import Report, ingest
from embstore.store import Store, rows

FIELDS = (1,)
AT_ONCE = """
from pathlib import Path
from embstore.ingest import commit
from embstore.care.remove import remove
from embstore.ingest import ingest
from embstore.store import Store
commit.COMMIT_S = 0.0
store = Store.open(sys.argv[1])
go()
for _ in range(4):
    if sys.argv[3] == "remove":
        remove(store, "true")
    else:
        ingest(store, Path(sys.argv[2]), layout="opencell", backbones=["pixel-stats"])
"""


def take(store: Store, source: Path, spec: str = "pixel-stats", labels: Path | None = None) -> Report:
    return ingest(store, source, layout="opencell", backbones=[spec], labels=labels)


def removing_before(write: int, store: Store, monkeypatch: pytest.MonkeyPatch, run: Any) -> bool:
    """Run, and take everything out just before the n-th write; returns whether it came to that."""
    count, busy = 0, False
    real = Store._open_to_write

    def counting(self: Store, name: str) -> Any:
        nonlocal count, busy
        if not busy:
            count += 1
            if count == write:
                busy = True
                remove(Store.open(store.uri), "true")
                busy = False
        return real(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_open_to_write", counting)
        run()
    return count >= write


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    ["another space", *(pytest.param(c, marks=pytest.mark.faults) for c in ("new", "changed", "described anew"))],
)
def test_a_removal_before_any_write_of_an_ingest_leaves_no_half(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the ingest wrote of images that are gone goes too; the same ingest again brings every cell, once."""
    source = tmp_path / "in"
    write_opencell(source, FIELDS)
    before = Store.open(tmp_path / "before", create=True)
    how: dict[str, Any] = {}
    if case != "new":
        take(before, source)
    if case == "changed":
        save_tiff(opencell_path(source, 1), draw_field(9))
    if case == "another space":
        how = {"spec": "pixel-stats:intensity=minmax"}
    if case == "described anew":
        how = {"labels": tmp_path / "labels.csv"}
        how["labels"].write_text("target_name,ensg_id,grade_3,grade_2,grade_1,licence\nG1,ENSG00000000001,er,,,CC0\n")
    write, more = 1, True
    while more:
        store = Store.open(shutil.copytree(before.uri, tmp_path / f"{write}"))
        more = removing_before(write, store, monkeypatch, lambda store=store: take(store, source, **how))
        assert verify(store).wrong == (), write
        take(store, source, **how)
        contents = rows(
            store, "SELECT image_id, count(cell_id) AS n FROM images LEFT JOIN cells_raw USING (image_id) GROUP BY 1"
        )
        assert len(contents) == len(FIELDS)
        assert all(row["n"] >= CELLS for row in contents), write
        write += 1
    assert write > 3


@pytest.mark.faults
def test_removals_and_ingests_in_three_processes_leave_a_whole_store(tmp_path: Path) -> None:
    """Two ingest the same source over and over while a third takes everything out: no key twice, nothing by halves."""
    write_opencell(tmp_path / "in", range(6))
    store = Store.open(tmp_path / "store", create=True)
    take(store, tmp_path / "in", limit=1)
    run_together(AT_ONCE, [(store.uri, tmp_path / "in", what) for what in ("ingest", "remove", "ingest")])
    store = Store.open(tmp_path / "store")
    assert verify(store).wrong == ()
    take(store, tmp_path / "in")
    assert verify(store).wrong == ()
    assert store.read("cells").num_rows == 6 * CELLS
