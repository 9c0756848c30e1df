"""What is wrong with one image fails that image, in that space; what stops an ingest is reported, not what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_fields import CELLS, draw_field, save_tiff, write_hpa, write_opencell
from tiny_vit import tiny

from embstore.backbones.registry import BACKBONES, keep
from embstore.backbones.weights import random_weights
from embstore.errors import StoreError
from embstore.ingest import Report, ingest
from embstore.ingest.failures import record_failures
from embstore.sources.record import Failure
from embstore.store import Store, rows

FAILURES = "SELECT source, stage, error, todo FROM failures ORDER BY source"


def take(store: Store, source: Path, backbone: str = "pixel-stats", **choices: Any) -> Report:
    return ingest(store, source, **{"layout": "opencell", "backbones": [backbone]} | choices)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def keep_loud(scale: float) -> None:
    """Keep a tiny transformer of the user's own whose vectors are `scale` times those at scale 1."""
    from embstore.backbones.network import build

    record = tiny(name="loud")
    shapes = {name: tuple(tensor.shape) for name, tensor in build(record).state_dict().items()}
    weights = random_weights(shapes)
    keep(record, weights | {"norm.weight": weights["norm.weight"] * np.float32(scale)}, replaces=True)


def test_a_vector_beyond_float16_fails_its_image_and_no_rerun(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other images of its batch are ingested, a rerun does nothing, and its advice works."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    write_opencell(tmp_path / "in", [1, 2, 3])
    keep_loud(1)
    take(store, tmp_path / "in", "loud")
    (space,) = rows(store, "SELECT digest FROM spaces")
    ids, vectors = store.vectors(space["digest"])
    images = np.array([name.rsplit(":", 2)[0] for name in ids])
    largest = {image: np.abs(vectors[images == image]).max() for image in sorted(set(images))}
    loudest, second = sorted(largest, key=lambda image: -largest[image])[:2]
    keep_loud(65504 / float(np.sqrt(largest[loudest] * largest[second])))

    report = take(store, tmp_path / "in", "loud")
    (failure,) = report.failures
    assert Path(failure.source).stem == loudest.removeprefix("opencell/")
    assert f"the vector of {loudest}:" in failure.error
    assert "in loud:mapping contains a number beyond float16's 65504 (" in failure.error
    assert (report.images_in, list(report.vectors_in.values())) == (2, [2 * CELLS])
    versions = store.versions()
    again = take(store, tmp_path / "in", "loud")
    assert (again.done_before, len(again.known_failures), again.failures) == (2, 1, [])
    assert store.versions() == versions
    assert failure.todo == "add :precision=float32 to the backbone's spec"
    assert take(store, tmp_path / "in", "loud:precision=float32").images_in == 3


def test_an_image_without_a_role_fails_alone_and_only_for_that_backbone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of the same channels without any cell has nothing to embed; a backbone of other roles embeds both."""
    monkeypatch.setitem(BACKBONES, "tubes", tiny(name="tubes", slots=("microtubules", "actin", "er")))
    for number in (1, 2):
        write_hpa(tmp_path / "in", f"1_A1_{number}", number, ("red", "yellow"))
        cells = np.zeros((400, 400), np.uint16)
        cells[100:200, 100:200] = number - 1
        save_tiff(tmp_path / "masks" / f"1_A1_{number}_cells.tif", cells, metadata={})
    choices: dict[str, Any] = {"layout": "hpa", "masks": tmp_path / "masks"}
    report = take(store, tmp_path / "in", **choices)
    assert (report.images_in, [Path(failure.source).name for failure in report.failures]) == (1, ["1_A1_2_red.png"])
    dry = take(store, tmp_path / "in", dry_run=True, retry_failed=True, **choices)
    assert [failure.stage for failure in dry.failures] == [row["stage"] for row in rows(store, FAILURES)]
    assert len(take(store, tmp_path / "in", **choices).known_failures) == 1
    report = take(store, tmp_path / "in", "tubes", **choices)
    assert (report.images_in, report.failures, report.known_failures) == (2, [], [])


class Full(Store):
    """A store on a disk that is full where cells are written."""

    def upsert(self, name: str, rows: Any, *, insert: bool = True) -> int:
        if name == "cells":
            raise StoreError("no space left on the device")
        return super().upsert(name, rows, insert=insert)


def test_what_stops_an_ingest_is_reported_and_failures_are_recorded_all_the_same(tmp_path: Path) -> None:
    """The images that wait are written, then the failures; the first error is the one that is raised."""
    _, broken = write_opencell(tmp_path / "in", [1, 2])
    broken.write_bytes(broken.read_bytes()[:900])

    def stop(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("images", 2):
            raise KeyboardInterrupt

    for number, (progress, error) in enumerate([(None, StoreError), (stop, KeyboardInterrupt)]):
        store = Full.open(tmp_path / f"full{number}", create=True)
        with pytest.raises(error) as raised:
            take(store, tmp_path / "in", progress=progress)
        assert [Path(row["source"]) for row in rows(store, FAILURES)] == [broken]
    assert raised.value.__notes__ == ["and then: no space left on the device"]


@pytest.mark.parametrize("moved_to", ["renamed.csv", "elsewhere/manifest.csv"])
def test_failures_of_a_renamed_table_end_when_the_new_one_is_read(store: Store, tmp_path: Path, moved_to: str) -> None:
    """A row that was wrong in the old file is listed no longer; one of a table that still lies there is."""
    folder = tmp_path / "in"
    folder.mkdir()
    save_tiff(folder / "a.tif", draw_field(1))
    (folder / "other.csv").write_text("file,channels,pixel_size_um\na.tif,nucleus;protein,far\n")
    head = "file,channels,pixel_size_um\na.tif,nucleus;protein,0.4\n"
    (folder / "manifest.csv").write_text(f"{head}b.tif,nucleus;protein,wide\n")
    for name in ("manifest.csv", "other.csv"):
        take(store, folder / name, layout="manifest", dataset="d")
    old = [f"{folder / name}:{line}" for name, line in (("manifest.csv", 3), ("other.csv", 2))]
    assert [row["source"] for row in rows(store, FAILURES)] == old
    new = folder / moved_to
    new.parent.mkdir(exist_ok=True)
    (folder / "manifest.csv").unlink()
    new.write_text(head)
    report = take(store, new, layout="manifest", dataset="d", source_root=folder)
    assert report.failures == []
    assert [row["source"] for row in rows(store, FAILURES)] == old[1:]


def test_a_failed_dataset_with_a_number_as_its_name_stays_listed(store: Store, tmp_path: Path) -> None:
    """`fields.h5::1` is no row of a missing table `fields.h5:`, whatever else in the folder is usable."""
    source = str(tmp_path / "fields.h5::1")
    record_failures(store, [Failure(source, "read", "it is empty", "save it again")], usable=[])
    record_failures(store, [], usable=[str(tmp_path / "fields.h5::2")])
    assert [row["source"] for row in rows(store, FAILURES)] == [source]
