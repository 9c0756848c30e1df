"""The table `ingests`: one row a run that writes, at its start and at its end, however that comes."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_fields import write_labels, write_opencell
from killing import kill_after

from embstore.care.maintain import maintain
from embstore.care.remove import remove
from embstore.care.repair import repair
from embstore.care.tags import create_tag
from embstore.care.verify import verify
from embstore.errors import EmbstoreError
from embstore.ingest import embed, import_embeddings, ingest
from embstore.store import IngestsRow, Store, list_ingests, query


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the images of two fields, one of three files being damaged; tests copy it."""
    folder = tmp_path_factory.mktemp("filled")
    write_opencell(folder / "in", [1, 2, 3])
    next((folder / "in").rglob("*.tif")).write_bytes(b"no image")
    take(Store.open(folder / "store", create=True), folder / "in")
    return folder


def take(store: Store, source: Path, **choices: Any) -> Any:
    return ingest(store, source, **{"layout": "opencell", "backbones": ["pixel-stats"]} | choices)


def runs(store: Store) -> list[IngestsRow]:
    return list(list_ingests(store))


def test_an_ingest_leaves_one_row_of_what_it_was_asked_and_did(filled: Path) -> None:
    """Who, with which arguments and versions, into which space, how much of it, how long."""
    store = Store.open(filled / "store")
    (run,) = runs(store)
    assert (run["kind"], run["dataset"], run["status"], run["error"]) == ("ingest", "opencell", "done", None)
    assert run["who"] == f"{getpass.getuser()}@{platform.node()}"
    assert run["pid"] == os.getpid()
    assert json.loads(run["arguments"]) == {
        "source": str(filled / "in"),
        "layout": "opencell",
        "backbones": ["pixel-stats"],
        "device": "auto",
    }
    assert json.loads(run["libraries"]).keys() == {"lancedb", "pylance", "torch", "timm"}
    assert (run["device"], run["backbones"]) == ("cpu", ["pixel-stats:mapping"])
    assert run["spaces"] == store.read("spaces")["digest"].to_pylist()
    assert [run[column] for column in ("planned", "done", "unchanged", "failed")] == [3, 2, 0, 1]
    assert run["cells"] == run["vectors"] == store.read("cells").num_rows > 0
    assert run["finished"] - run["started"] == pytest.approx(timedelta(seconds=run["elapsed_s"]), abs=timedelta(0, 5))
    assert 50 < run["peak_memory_mb"] < 100_000


def test_a_run_that_changes_nothing_leaves_no_row(filled: Path, tmp_path: Path) -> None:
    """Neither a repeated ingest, nor one that fails at what failed before, nor a dry run writes any version."""
    store = Store.open(shutil.copytree(filled / "store", tmp_path / "store"))
    versions = store.versions()
    take(store, filled / "in")
    take(store, filled / "in", retry_failed=True, dry_run=True)
    with pytest.raises(EmbstoreError):
        take(store, filled / "in", backbones=["nope"])
    assert store.versions() == versions


def test_an_import_that_only_deletes_leaves_a_row(store: Store, tmp_path: Path) -> None:
    """A file that lost a row takes that row's vector out of the store, and the history shows that a run wrote."""
    path = tmp_path / "v.csv"
    for text in ("gene,a,b\nA1,1,2\nB1,3,4\n", "gene,a,b\nA1,1,2\n"):
        path.write_text(text)
        report = import_embeddings(store, path, dataset="d", backbone="own", gene_column="gene")
    assert (report.vectors_in, report.vectors_deleted) == ({}, 1)
    assert [(run["kind"], run["status"], run["vectors"]) for run in runs(store)] == [
        ("import", "done", 0),
        ("import", "done", 2),
    ]


def test_runs_are_listed_newest_first(filled: Path, tmp_path: Path) -> None:
    """Embed and import have a row each; an import counts rows."""
    store = Store.open(shutil.copytree(filled / "store", tmp_path / "store"))
    embed(store, backbones=["pixel-stats:intensity=minmax"])
    np.savez(tmp_path / "theirs.npz", X=np.eye(3, dtype=np.float32), gene=np.array(["A", "B", "C"]))
    for _ in range(2):  # the second finds nothing to do
        import_embeddings(
            store, tmp_path / "theirs.npz", dataset="d", backbone="theirs", embeddings="X", gene_column="gene"
        )
    assert [run["kind"] for run in runs(store)] == ["import", "embed", "ingest"]
    imported, embedded, _ = runs(store)
    assert (imported["planned"], imported["done"], imported["vectors"], imported["cells"]) == (3, 3, 3, 0)
    assert (imported["dataset"], imported["backbones"]) == ("d", ["theirs"])
    assert (embedded["planned"], embedded["done"], embedded["cells"]) == (2, 2, 0)
    assert embedded["vectors"] == store.read("cells").num_rows
    assert len(query(store, "SELECT * FROM ingests WHERE status = 'done' ORDER BY run")) == 3


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [(KeyboardInterrupt(), "stopped", None), (EmbstoreError("no room"), "failed", "no room")],
)
def test_a_run_that_ends_early_says_how(
    store: Store, tmp_path: Path, error: BaseException, status: str, message: str | None
) -> None:
    """What was finished is counted; the error reaches the caller; the next run has a row of its own."""
    write_opencell(tmp_path / "in", [1, 2, 3])

    def stop(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("images", 2):
            raise error

    with pytest.raises(type(error)):
        take(store, tmp_path / "in", progress=stop)
    (run,) = runs(store)
    assert (run["status"], run["error"], run["planned"], run["done"]) == (status, message, 3, 2)
    take(store, tmp_path / "in")
    assert [(r["status"], r["done"], r["unchanged"]) for r in runs(store)] == [("done", 1, 2), (status, 2, 0)]


def test_a_killed_run_is_shown_as_killed(tmp_path: Path) -> None:
    """Its row was written at its start; on another machine it is unknown whether it still runs."""
    source = tmp_path / "in"
    write_opencell(source, [1, 2, 3, 4, 5, 6])
    write_labels(source / "labels.csv", {number: {"er": 3} for number in range(1, 7)})
    assert kill_after(1, 0.0, tmp_path / "store", source)
    store = Store.open(tmp_path / "store")
    (run,) = runs(store)
    assert (run["status"], run["planned"], run["finished"], run["elapsed_s"]) == ("killed", 6, None, None)
    (row,) = store.read("ingests").to_pylist()
    assert row["status"] == "running"
    store.upsert("ingests", [row | {"who": "me@elsewhere"}])
    assert runs(store)[0]["status"] == "killed or still running"
    store.upsert("ingests", [row | {"pid": os.getpid()}])
    assert runs(store)[0]["status"] == "running"


def test_a_store_without_the_table_gets_it_with_its_next_run(filled: Path, tmp_path: Path) -> None:
    """It lists no run, is whole, needs no repair, and SQL finds an empty table until then."""
    store = Store.open(shutil.copytree(filled / "store", tmp_path / "store"))
    shutil.rmtree(tmp_path / "store" / "ingests.lance")
    assert runs(store) == []
    assert len(query(store, "SELECT run, status FROM ingests")) == 0
    assert verify(store).wrong == ()
    assert list(repair(store)) == []
    assert "ingests" not in store.table_names()
    embed(store, backbones=["pixel-stats:intensity=minmax"])
    assert [run["kind"] for run in runs(store)] == ["embed"]
    assert verify(store).wrong == ()


def test_caring_for_a_store_keeps_its_history(filled: Path, tmp_path: Path) -> None:
    """Maintain, tags and remove leave the rows; a tag covers the table."""
    store = Store.open(shutil.copytree(filled / "store", tmp_path / "store"))
    before = runs(store)
    assert "ingests" in create_tag(store, "paper")
    assert runs(Store.open(store.uri, at="paper")) == before
    maintain(store, older_than_days=0)
    remove(store, "true", purge=True)
    assert runs(store) == before
    assert verify(store).wrong == ()
