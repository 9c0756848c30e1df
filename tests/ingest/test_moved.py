"""Images that moved to another folder, or that were deleted, after they were ingested."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from embstore.ingest import Report, embed, ingest
from embstore.store import Store


@pytest.fixture
def images(phantom: Path, tmp_path: Path) -> Path:
    return shutil.copytree(phantom / "images", tmp_path / "first")


@pytest.fixture
def store(images: Path, tmp_path: Path) -> Store:
    """Three images with vectors of pixel-stats."""
    store = Store.open(tmp_path / "store", create=True)
    again(store, images)
    return store


def again(store: Store, images: Path, limit: int | None = None) -> Report:
    return ingest(store, images, layout="opencell", backbones=["pixel-stats"], limit=limit)


def minmax(store: Store, source_root: Path | None = None) -> Report:
    return embed(store, backbones=["pixel-stats:intensity=minmax"], source_root=source_root)


def roots(store: Store) -> set[str]:
    return set(store.read("images", ["source_root"])["source_root"].to_pylist())


def test_a_folder_that_was_named_once_is_remembered(store: Store, images: Path, tmp_path: Path) -> None:
    """Missing images are counted and recorded; found under --source-root, it is recorded and the failures go."""
    moved = images.rename(tmp_path / "second")
    report = minmax(store)
    assert (report.images, report.images_in, len(report.failures)) == (3, 0, 3)
    assert store.read("failures").num_rows == 3
    report = minmax(store, moved)
    assert (report.images_in, report.renewed, report.failures) == (3, 3, [])
    assert roots(store) == {str(moved)}
    assert store.read("failures").num_rows == 0
    versions = store.versions()
    assert minmax(store).done_before == 3
    assert store.versions() == versions


def test_the_folder_is_recorded_where_all_is_done_too(store: Store, images: Path, tmp_path: Path) -> None:
    """Naming the new folder to a finished embed records it; files found to be others stay under the old one."""
    moved = images.rename(tmp_path / "second")
    first = min(moved.rglob("*.tif"))
    first.write_bytes(first.read_bytes() + b"changed")
    report = embed(store, backbones=["pixel-stats"], source_root=moved)
    assert (report.done_before, report.renewed, report.failures) == (3, 2, [])
    assert roots(store) == {str(images), str(moved)}


def test_an_image_that_did_not_move_is_found_beside_those_that_did(store: Store, images: Path, tmp_path: Path) -> None:
    """Files that are not under --source-root are looked for where they were."""
    file = min(images.rglob("*.tif"))
    other = tmp_path / "other" / file.relative_to(images)
    other.parent.mkdir(parents=True)
    file.rename(other)
    report = minmax(store, tmp_path / "other")
    assert (report.images_in, report.renewed, report.failures) == (3, 1, [])
    assert roots(store) == {str(images), str(tmp_path / "other")}


def test_an_ingest_from_the_new_folder_takes_the_old_failures_away(store: Store, images: Path, tmp_path: Path) -> None:
    """What could not be read where it lay before is right in the folder that it is ingested from now."""
    moved = images.rename(tmp_path / "second")
    assert len(minmax(store).failures) == 3
    assert again(store, moved).renewed == 3
    assert store.read("failures").num_rows == 0


def test_images_missing_from_the_source_are_reported_and_stay(store: Store, images: Path) -> None:
    """A deleted file is counted by the next ingest of its folder, not of one with a limit or of another dataset."""
    n_rows = store.read("images").num_rows
    min(images.rglob("*.tif")).unlink()
    assert again(store, images).images_gone == 1
    assert again(store, images, limit=1).images_gone == 0
    assert store.read("images").num_rows == n_rows
    other = ingest(store, images, layout="opencell", backbones=["pixel-stats"], dataset="other")
    assert other.images_gone == 0
