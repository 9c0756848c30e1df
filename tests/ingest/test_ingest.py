"""Ingest is exactly-once: whatever is killed, repeated, raced, broken or repaired, the store ends the same."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_fields import (
    CELLS,
    draw_field,
    ensg,
    opencell_path,
    run_together,
    save_tiff,
    touch,
    write_hpa,
    write_labels,
    write_opencell,
)
from killing import RUN, everything, kill_after

from embstore.backbones.registry import BACKBONES
from embstore.errors import EmbstoreError, StoreError
from embstore.ingest import Prepared, Report, embed, ingest
from embstore.ingest.commit import Committer
from embstore.ingest.finished import finished
from embstore.ingest.plan import make_plan
from embstore.ingest.prepare import prepare
from embstore.ingest.work import Wanted
from embstore.search import similar_proteins
from embstore.sources.layouts import read_source
from embstore.store import Store, embeddings_name, rows

WIDE = "pixel-stats-wide"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> str:
    """A second real backbone that needs no torch: pixel-stats over crops of 35 µm."""
    monkeypatch.setitem(BACKBONES, WIDE, replace(BACKBONES["pixel-stats"], name=WIDE, crop_um=35.0))
    return WIDE


def take(store: Store, source: Path, **choices: Any) -> Report:
    """Ingest an OpenCell folder under pixel-stats unless told otherwise."""
    return ingest(store, source, **{"layout": "opencell", "backbones": ["pixel-stats"]} | choices)


def cell_ids(store: Store) -> list[str]:
    return [row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells ORDER BY cell_id")]


def failures(store: Store) -> dict[str, str]:
    return {Path(row["source"]).name: row["error"] for row in rows(store, "SELECT * FROM failures")}


# -- once ------------------------------------------------------------------------------------------------------------


def test_an_ingest_brings_cells_vectors_proteins_and_labels(phantom_store: Path) -> None:
    """Every cell of every field has its row, its picture, its vector and its protein."""
    store = Store.open(phantom_store)
    cells = rows(store, "SELECT * FROM cells ORDER BY cell_id")
    assert {i for _, i in everything(store)} == {cell["cell_id"] for cell in cells}
    assert len({cell["image_id"] for cell in cells}) == len({cell["group_id"] for cell in cells}) == 3
    for cell in cells:
        y0, x0, y1, x1 = cell["box"]
        assert y0 <= cell["centroid"][0] <= y1
        assert x0 <= cell["centroid"][1] <= x1
        mask = np.unpackbits(np.frombuffer(cell["mask"], np.uint8), count=(y1 - y0) * (x1 - x0))
        assert cell["cell_area_um2"] == pytest.approx(mask.sum() * 0.206349**2, rel=1e-5)
        assert cell["thumbnail"][:4] == b"RIFF"
        assert cell["cell_id"] == f"{cell['image_id']}:{cell['segmentation']}:{cell['label']}"
    assert rows(store, "SELECT DISTINCT pixel_size_source s FROM images") == [{"s": "layout"}]
    (done,) = rows(store, "SELECT count(*) AS images, sum(n_cells)::INT AS cells FROM ingested")
    assert done == {"images": 3, "cells": len(cells)}


def test_a_second_run_finds_nothing_to_do_and_writes_no_version(phantom_copy: Path, phantom: Path) -> None:
    """Not one table gets a new version, and the report states that all was done before."""
    store = Store.open(phantom_copy)
    versions = store.versions()
    report = take(store, phantom / "images", labels=phantom / "labels.csv")
    assert (report.images, report.done_before, report.images_in, report.cells_in) == (3, 3, 0, 0)
    assert (report.vectors_in, report.failures) == ({}, [])
    assert store.versions() == versions


def test_a_dry_run_writes_nothing(store: Store, tmp_path: Path) -> None:
    """It counts what would be ingested, failures too, and leaves every table's version."""
    write_opencell(tmp_path / "in", [1, 2])
    labels = write_labels(tmp_path / "labels.csv", {1: {"er": 3}})
    versions = store.versions()
    report = take(store, tmp_path / "in", labels=labels, dry_run=True)
    assert (report.images, report.images_in, report.done_before) == (2, 2, 0)
    assert store.versions() == versions
    take(store, tmp_path / "in", labels=labels, limit=1)
    report = take(store, tmp_path / "in", labels=labels, dry_run=True)
    assert (report.images_in, report.done_before) == (1, 1)


def test_a_limit_takes_the_first_images_and_each_run_the_next(store: Store, tmp_path: Path, wide: str) -> None:
    """N images that need anything, whatever is done or failed before; with another backbone they are the first ones."""
    paths = write_opencell(tmp_path / "in", [1, 2, 3, 4, 5])
    paths[1].write_bytes(paths[1].read_bytes()[:900])
    assert take(store, tmp_path / "in", limit=2).images_in == 1  # and one failed
    assert take(store, tmp_path / "in", limit=2, dry_run=True).images_in == 2
    report = take(store, tmp_path / "in", limit=2)
    assert (report.images_in, report.done_before, len(report.known_failures)) == (2, 1, 1)
    report = take(store, tmp_path / "in", limit=2)
    assert (report.images_in, report.done_before) == (1, 3)
    assert take(store, tmp_path / "in", limit=2).images_in == 0
    assert len(cell_ids(store)) == 4 * CELLS
    assert take(store, tmp_path / "in", limit=3, backbones=[wide]).vectors_in == {f"{wide}:mapping": 3 * CELLS}
    assert take(store, tmp_path / "in", limit=3, backbones=[wide]).vectors_in == {f"{wide}:mapping": CELLS}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"dataset": "a/b"}, "the dataset name .*'a/b'"),
        ({"dataset": "a:b"}, "the dataset name .*'a:b'"),
        (
            {"layout": "yeast"},
            "there is no image layout 'yeast'; choose from: crops, fields, hpa, manifest, ome, opencell",
        ),
        (
            {"backbones": ["resnet"]},
            "there is no backbone 'resnet'; the nearest names are .*`embstore backbones list` shows all",
        ),
        ({"backbones": ["pixel-stats:replication"]}, "cannot be replicated"),
        ({"backbones": []}, "no backbone was named"),
        ({"labels": Path("absent.csv")}, "there is no file"),
    ],
)
def test_a_wrong_choice_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, choices: dict[str, Any], message: str
) -> None:
    """One line that lists what there is; no table gets a new version."""
    write_opencell(tmp_path / "in", [1])
    versions = store.versions()
    with pytest.raises(EmbstoreError, match=message):
        take(store, tmp_path / "in", **choices)
    assert store.versions() == versions


# -- kills and races -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str], list[float]]]:
    """Ten fields with labels, and what an undisturbed ingest makes of them."""
    folder = tmp_path_factory.mktemp("ten")
    write_opencell(folder / "in", range(10))
    write_labels(folder / "in" / "labels.csv", {n: {"er": 3} for n in range(10)})
    store = Store.open(folder / "store", create=True)
    take(store, folder / "in", labels=folder / "in" / "labels.csv")
    return folder / "in", everything(store)


def test_a_killed_ingest_continues_to_the_same_store(
    tmp_path: Path, ten: tuple[Path, dict[tuple[str, str], list[float]]]
) -> None:
    """After three kill -9 at random moments, a rerun has every cell once, with an undisturbed run's vectors."""
    source, undisturbed = ten
    delays = np.random.default_rng().uniform(0, 0.1, 3)
    for lines, delay_s in zip((0, 2, 2), delays, strict=True):
        assert kill_after(lines, delay_s, tmp_path / "store", source)
    store = Store.open(tmp_path / "store", create=True)
    report = take(store, source, labels=source / "labels.csv")
    assert report.images_in + report.done_before == 10
    assert report.done_before >= 2, f"nothing was kept (delays {delays})"
    assert everything(store) == undisturbed
    assert cell_ids(store) == sorted(i for _, i in undisturbed)
    assert store.read("cells").num_rows == len(undisturbed)
    assert rows(store, "SELECT count(*) AS n FROM labels") == [{"n": 30}]


class Dying(Store):
    """A store whose power fails before the n-th write."""

    writes_left = 0

    def upsert(self, name: str, rows: Any, *, insert: bool = True) -> int:
        if self.writes_left == 0:
            raise KeyboardInterrupt
        self.writes_left -= 1
        return super().upsert(name, rows, insert=insert)


@pytest.mark.slow
def test_an_ingest_that_stops_between_any_two_writes_continues(
    tmp_path: Path, ten: tuple[Path, dict[tuple[str, str], list[float]]]
) -> None:
    """Stopped before its first, second, ... write, the next run completes it to the same cells and vectors."""
    source, undisturbed = ten
    one = opencell_path(source, 0)
    shutil.copytree(one.parent, tmp_path / "in" / one.parent.name)
    labels = source / "labels.csv"
    for writes in range(20):
        store = Store.open(tmp_path / f"store{writes}", create=True)
        dying = Dying.open(store.uri)
        dying.writes_left = writes
        try:
            take(dying, tmp_path / "in", labels=labels)
            break
        except KeyboardInterrupt:
            report = take(store, tmp_path / "in", labels=labels)
        assert report.images_in + report.done_before == 1
        result = everything(store)
        assert result == {key: undisturbed[key] for key in result}
        assert len(result) == store.read("cells").num_rows == CELLS
        assert store.read("labels").num_rows == 30
    assert writes > 5  # proteins, labels, space, cells, images, vectors, markers


def test_two_ingests_of_one_source_at_once_leave_no_duplicate(
    tmp_path: Path, ten: tuple[Path, dict[tuple[str, str], list[float]]]
) -> None:
    """Two processes that create and fill one store together end with the store that one would make."""
    source, undisturbed = ten
    run_together(RUN, [(tmp_path / "store", source)] * 2)
    store = Store.open(tmp_path / "store")
    assert everything(store) == undisturbed
    for name, key in (
        ("cells", "cell_id"),
        ("images", "image_id, revision"),
        ("ingested", "image_id, space"),
        ("labels", "label_set, level, subject_id, location"),
        ("proteins", "protein_id"),
        ("spaces", "digest"),
    ):
        table = "cells_raw" if name == "cells" else name
        assert rows(store, f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1") == [], name
    assert store.read("images").num_rows == 10
    assert take(store, source, labels=source / "labels.csv").done_before == 10


def test_what_waits_for_a_commit_holds_no_pixels(store: Store, tmp_path: Path) -> None:
    """Images wait for up to a minute; only their cells and vectors do, or memory would grow by gigabytes."""
    write_opencell(tmp_path / "in", [1])
    plan = make_plan(store, read_source(tmp_path / "in", "opencell", None), "d", Wanted(("s",)))
    image = prepare(plan.work[0], [])
    assert isinstance(image, Prepared)
    pixels = weakref.ref(image.scaled)
    committer = Committer(store)
    committer.add(finished(image, {}))
    del image
    assert pixels() is None
    committer.flush()
    assert store.read("cells").num_rows == CELLS


# -- backbones -------------------------------------------------------------------------------------------------------


def test_embedding_later_gives_the_vectors_of_embedding_at_once(tmp_path: Path, wide: str) -> None:
    """A second backbone by `embed`, by a second ingest, or from the start: bit-identical vectors, no new cells."""
    write_opencell(tmp_path / "in", [1, 2])
    save_tiff(tmp_path / "in" / "unknown scale.tif", draw_field(3))  # its pixel size is estimated, and kept
    stores = [Store.open(tmp_path / name, create=True) for name in ("at once", "embed", "ingest")]
    at_once = take(stores[0], tmp_path / "in", backbones=["pixel-stats", wide])
    for store in stores[1:]:
        take(store, tmp_path / "in")
    by_embed = embed(stores[1], backbones=[wide])
    by_ingest = take(stores[2], tmp_path / "in", backbones=[wide])
    assert len(at_once.estimated_um) == 1
    for report in (by_embed, by_ingest):
        assert (report.images_in, report.cells_in, report.done_before) == (3, 0, 0)
        assert report.vectors_in == {f"{wide}:mapping": 3 * CELLS}
    expected = everything(stores[0])
    assert len(expected) == 2 * 3 * CELLS
    assert everything(stores[1]) == everything(stores[2]) == expected
    assert expected["pixel-stats", cell_ids(stores[0])[0]] != expected[wide, cell_ids(stores[0])[0]]
    versions = stores[1].versions()
    assert embed(stores[1], backbones=[wide]).done_before == 3
    assert stores[1].versions() == versions


def test_embed_finds_moved_images_and_refuses_changed_ones(store: Store, tmp_path: Path, wide: str) -> None:
    """Missing files advise `--source-root`, changed ones an ingest, and both pieces of advice work."""
    first, second = write_opencell(tmp_path / "in", [1, 2])
    take(store, tmp_path / "in")
    shutil.move(tmp_path / "in", tmp_path / "moved")
    report = embed(store, backbones=[wide])
    assert [failure.todo for failure in report.failures] == ["name its new folder with --source-root"] * 2
    assert embed(store, backbones=[wide], source_root=tmp_path / "moved").vectors_in == {f"{wide}:mapping": 2 * CELLS}
    assert failures(store) == {}

    shutil.move(tmp_path / "moved", tmp_path / "in")
    save_tiff(first, draw_field(7))
    touch(second)  # touched, the same content
    monkey = f"{wide}-2"
    BACKBONES[monkey] = replace(BACKBONES[wide], name=monkey, crop_um=30.0)
    try:
        report = embed(store, backbones=[monkey], source_root=tmp_path / "in")
        assert [Path(f.source).name for f in report.failures] == [first.name]
        assert "run `embstore ingest`" in report.failures[0].todo
        assert report.vectors_in == {f"{monkey}:mapping": CELLS}
        assert take(store, tmp_path / "in", backbones=["pixel-stats", monkey]).cells_in == CELLS
    finally:
        del BACKBONES[monkey]
    assert failures(store) == {}


def test_embed_needs_images(store: Store, phantom_copy: Path) -> None:
    """An empty store and an unknown dataset are errors that state what to do first."""
    with pytest.raises(EmbstoreError, match="the store contains no image; ingest some first"):
        embed(store, backbones=["pixel-stats"])
    with pytest.raises(EmbstoreError, match="no dataset 'hpa' with images; choose from: "):
        embed(Store.open(phantom_copy), backbones=["pixel-stats"], dataset="hpa")


def test_an_encoder_that_drifted_may_not_append(phantom_copy: Path, tmp_path: Path) -> None:
    """Where the stored canary differs from what the encoder gives now, an ingest stops before it writes anything."""
    store = Store.open(phantom_copy)
    (space,) = store.read("spaces").to_pylist()
    rng = np.random.default_rng(0)
    drifted = (np.array(space["canary"]) + rng.normal(0, 0.3, len(space["canary"]))).tolist()
    store.upsert("spaces", [space | {"canary": drifted}])
    write_opencell(tmp_path / "in", [1])
    versions = store.versions()
    with pytest.raises(EmbstoreError, match="pixel-stats:mapping gives other vectors than the store contains"):
        take(store, tmp_path / "in", labels=write_labels(tmp_path / "labels.csv", {1: {"er": 3}}))
    assert store.versions() == versions


# -- changes ---------------------------------------------------------------------------------------------------------


def test_changed_content_is_a_new_revision_with_new_cells(store: Store, tmp_path: Path) -> None:
    """The old cells and vectors stay for results that cite them; `cells` shows the new; going back brings them back."""
    path, _ = write_opencell(tmp_path / "in", [1, 2])
    take(store, tmp_path / "in")
    first = cell_ids(store)
    original = path.read_bytes()
    save_tiff(path, draw_field(77))
    report = take(store, tmp_path / "in")
    assert (report.images_in, report.done_before, report.cells_in) == (1, 1, CELLS)
    second = cell_ids(store)
    assert len(second) == len(first) == 2 * CELLS
    assert len(set(first) & set(second)) == CELLS
    assert {i for _, i in everything(store)} == {*first, *second}
    assert store.read("cells").num_rows == 3 * CELLS
    revisions = rows(store, "SELECT revision, sha256 FROM images WHERE image_id LIKE '%G1_%' ORDER BY revision")
    assert [r["revision"] for r in revisions] == [1, 2]
    assert len({r["sha256"] for r in revisions}) == 2

    path.write_bytes(original)
    assert take(store, tmp_path / "in").images_in == 1
    assert cell_ids(store) == first
    assert store.read("cells").num_rows == 3 * CELLS


def test_a_touched_file_of_the_same_content_is_done(store: Store, tmp_path: Path) -> None:
    """Another time, or another folder with the same files, is nothing new: at most where a file is, is noted once."""
    (path,) = write_opencell(tmp_path / "in", [1])
    take(store, tmp_path / "in")
    versions = store.versions()
    touch(path)
    assert take(store, tmp_path / "in").done_before == 1
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    assert take(store, tmp_path / "copy").done_before == 1
    noted = store.versions()
    assert {name for name in versions if noted[name] != versions[name]} <= {"images", "ingests"}
    assert store.read("images")["revision"].to_pylist() == [1]
    assert take(store, tmp_path / "copy").done_before == 1
    assert store.versions() == noted


# -- failures --------------------------------------------------------------------------------------------------------


def test_bad_files_become_failures_and_the_good_ones_go_in(store: Store, tmp_path: Path) -> None:
    """Corrupt, empty, text and missing files and wrong channels each have a row with error and advice."""
    folder = tmp_path / "in"
    (good,) = write_opencell(folder, [1])
    (folder / "cut.tif").write_bytes(good.read_bytes()[:5000])
    (folder / "empty.tif").write_bytes(b"")
    (folder / "text.tif").write_text("not an image\n")
    save_tiff(folder / "three.tif", draw_field(1, channels=3))
    save_tiff(
        folder / "tiny pixels.tif",
        draw_field(1),
        ome=True,
        metadata={"axes": "CYX", "PhysicalSizeX": 0.0014, "PhysicalSizeY": 0.0014},
    )
    labels = tmp_path / "labels.csv"
    labels.write_text("file,gene,ensg_id,grade_3,grade_2,grade_1\nin/gone.tif,G,,er,,\n")
    report = take(store, folder, labels=labels)
    assert (report.images, report.images_in, report.cells_in) == (6, 1, CELLS)
    result = failures(store)
    assert len(report.failures) == len(result) == 6
    for name, message in {
        "cut.tif": "ends after 1 pages",
        "empty.tif": "empty (0 bytes)",
        "text.tif": "text.tif",
        "three.tif": "3 channels; wanted at most 2",
        "tiny pixels.tif": "pixels wide, wanted 0 to",
        "gone.tif": "missing",
    }.items():
        assert message in result[name], name
    assert all(row["todo"] and row["failed_at"] for row in rows(store, "SELECT * FROM failures"))
    assert len(cell_ids(store)) == CELLS

    # a rerun skips them and writes nothing; asking for them tries again, and records only that it did
    versions = store.versions()
    again = take(store, folder, labels=labels)
    assert (len(again.known_failures), [Path(f.source).name for f in again.failures]) == (5, ["gone.tif"])
    assert store.versions() == versions
    assert len(take(store, folder, labels=labels, retry_failed=True).failures) == 6
    assert store.versions() == versions | {"ingests": store.versions()["ingests"]}


def test_a_repaired_file_is_ingested_and_its_failure_deleted(store: Store, tmp_path: Path) -> None:
    """Replaced, put in place or restored, a file is tried again by itself; one that fails anew keeps one row."""
    folder = tmp_path / "in"
    (good,) = write_opencell(folder, [1])
    bad = folder / "bad.tif"
    bad.write_bytes(b"II*\0")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,gene,ensg_id,grade_3,grade_2,grade_1\nin/gone.tif,G,,er,,\n")
    take(store, folder, labels=labels)
    assert set(failures(store)) == {"bad.tif", "gone.tif"}

    bad.write_text("now a text\n")
    save_tiff(folder / "gone.tif", draw_field(2))
    report = take(store, folder, labels=labels)
    assert (report.images_in, len(report.failures)) == (1, 1)
    assert set(failures(store)) == {"bad.tif"}

    # a file that was in, broke, and is restored needs nothing, and its failure is over
    kept = good.read_bytes()
    good.write_bytes(kept[:3000])
    save_tiff(bad, draw_field(3))
    assert take(store, folder, labels=labels).images_in == 1
    assert set(failures(store)) == {good.name}
    assert len(cell_ids(store)) == 3 * CELLS  # the last good revision stays current
    good.write_bytes(kept)
    assert take(store, folder, labels=labels).done_before == 3
    assert failures(store) == {}


def test_a_relative_source_is_the_same_source(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: str
) -> None:
    """A folder with a relative path is found again from elsewhere, and its missing files can be restored."""
    write_opencell(tmp_path / "in", [1])
    labels = tmp_path / "labels.csv"
    labels.write_text("file,gene,ensg_id,grade_3,grade_2,grade_1\nin/gone.tif,G,,er,,\n")
    monkeypatch.chdir(tmp_path)
    take(store, Path("in"), labels=Path("labels.csv"))
    assert set(failures(store)) == {"gone.tif"}
    save_tiff(tmp_path / "in" / "gone.tif", draw_field(2))
    monkeypatch.chdir(tmp_path / "in")
    assert take(store, Path(), labels=labels).images_in == 1
    assert failures(store) == {}
    monkeypatch.chdir("/")
    assert embed(store, backbones=[wide]).failures == []


def test_two_files_of_one_key_are_distinguished_by_renaming(store: Store, tmp_path: Path) -> None:
    """The second is a failure, the first is ingested; once the first is away, the second is the image."""
    (first,) = write_opencell(tmp_path / "in", [1])
    second = save_tiff(opencell_path(tmp_path / "in" / "sub", 1), draw_field(5))
    report = take(store, tmp_path / "in")
    assert report.images_in == 1
    assert "a second file has the key" in report.failures[0].error
    first.unlink()
    assert take(store, tmp_path / "in").images_in == 1
    assert failures(store) == {}
    assert rows(store, "SELECT max(revision) AS r FROM images") == [{"r": 2}]
    assert second.exists()


# -- HPA -------------------------------------------------------------------------------------------------------------


def test_hpa_fields_are_ingested_and_broken_ones_retried_when_any_file_changes(store: Store, tmp_path: Path) -> None:
    """Other shapes, a damaged green, no blue: failures that end when the file that was at fault is replaced."""
    folder = tmp_path / "in"
    write_hpa(folder, "9001_A1_1", 1)
    shapes = write_hpa(folder, "9001_A2_1", 2)
    damaged = write_hpa(folder, "9001_A3_1", 3, ("blue", "green"))
    write_hpa(folder, "9001_A4_1", 4, ("green", "red"))
    from PIL import Image

    Image.new("L", (64, 64)).save(shapes["red"])
    damaged["green"].write_bytes(damaged["green"].read_bytes()[:2000])
    report = take(store, folder, layout="hpa")
    assert report.images_in == 1
    assert report.vectors_in == {"pixel-stats:mapping": CELLS}
    assert rows(store, "SELECT DISTINCT roles_present FROM cells")[0]["roles_present"] == [
        *("nucleus", "protein", "microtubules", "er")
    ]
    result = " ".join(failures(store).values())
    assert "different shapes" in result
    assert "9001_A3_1_green.png ends at 2000 bytes" in result
    assert "protein and no nucleus" in result
    assert len(take(store, folder, layout="hpa").known_failures) == 2

    write_hpa(folder, "9001_A2_1", 2, ("red",))
    write_hpa(folder, "9001_A3_1", 3, ("green",))
    write_hpa(folder, "9001_A4_1", 4, ("blue",))
    report = take(store, folder, layout="hpa")
    assert (report.images_in, report.failures, report.known_failures) == (3, [], [])
    assert failures(store) == {}
    assert len(cell_ids(store)) == 4 * CELLS


# -- without cells or proteins ---------------------------------------------------------------------------------------


def test_a_field_without_nuclei_is_done_with_a_note(store: Store, tmp_path: Path, samples: Path) -> None:
    """A real field without any nucleus has no cell, states why, and is not read again."""
    (tmp_path / "in").mkdir()
    (field,) = (samples / "opencell").rglob("no-nuclei-1.tif")
    shutil.copy(field, tmp_path / "in")
    report = take(store, tmp_path / "in")
    assert (report.images_in, report.cells_in, report.failures) == (1, 0, [])
    assert report.empty == {"opencell/no-nuclei-1": "no object stands out from the background like a nucleus"}
    (image,) = store.read("images").to_pylist()
    assert image["note"] == report.empty["opencell/no-nuclei-1"]
    again = take(store, tmp_path / "in")
    assert (again.done_before, again.images_in) == (1, 0)


def test_images_without_a_protein_are_counted_and_left_out_of_search(store: Store, tmp_path: Path) -> None:
    """Their cells are in the store with vectors; a search for proteins neither finds nor fails on them."""
    write_opencell(tmp_path / "in", [1, 2])
    save_tiff(tmp_path / "in" / "mystery.tif", draw_field(9))
    (tmp_path / "in" / "broken.tif").write_text("no image")
    report = take(store, tmp_path / "in")
    assert (report.without_protein, report.images_in) == (1, 3)  # a file that failed is not in the store
    assert take(store, tmp_path / "in").without_protein == 0
    assert len(cell_ids(store)) == len(everything(store)) == 3 * CELLS
    result = similar_proteins(store, "G1")
    assert [row.gene for row in result.rows] == ["G2"]
    assert rows(store, "SELECT DISTINCT protein_ids, group_id FROM cells WHERE image_id LIKE '%mystery'") == [
        {"protein_ids": [], "group_id": None}
    ]


def test_a_full_disk_is_one_clear_line_and_the_rerun_continues(store: Store, tmp_path: Path) -> None:
    """A write that fails is a StoreError; nothing half-written is counted as done."""
    write_opencell(tmp_path / "in", [1])

    class Full(Store):
        def upsert(self, name: str, rows: Any, *, insert: bool = True) -> int:
            if name.startswith("emb_"):
                raise StoreError("could not write: No space left on device")
            return super().upsert(name, rows, insert=insert)

    with pytest.raises(StoreError, match="No space left"):
        take(Full.open(store.uri), tmp_path / "in")
    assert take(store, tmp_path / "in").vectors_in == {"pixel-stats:mapping": CELLS}
    assert store.read("cells").num_rows == CELLS


@pytest.mark.parametrize("order", [sorted, lambda spaces: sorted(spaces, reverse=True)])
def test_each_space_has_its_own_table(tmp_path: Path, wide: str, order: Callable[[list[str]], list[str]]) -> None:
    """Vectors of two backbones never share a table, and the order in which they are named changes nothing."""
    store = Store.open(tmp_path / "store", create=True)
    write_opencell(tmp_path / "in", [1])
    take(store, tmp_path / "in", backbones=order([wide, "pixel-stats"]))
    spaces = rows(store, "SELECT digest, dim, crop_um FROM spaces ORDER BY backbone")
    assert [s["crop_um"] for s in spaces] == [25.0, 35.0]
    for space in spaces:
        assert store.read(embeddings_name(space["digest"])).num_rows == CELLS
    assert ensg(1) in cell_ids(store)[0]
