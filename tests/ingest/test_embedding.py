"""What is cut ahead, together or bit by bit gives the same vectors; images keep their order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from drawn_fields import CELLS, draw_field, opencell_path, save_tiff, write_hpa, write_opencell
from killing import everything

from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import find
from embstore.ingest import Finished, embed_images, embedding, ingest
from embstore.ingest.plan import make_plan
from embstore.ingest.reading import read_ahead
from embstore.ingest.work import Wanted
from embstore.sources.layouts import read_source
from embstore.sources.record import Failure
from embstore.store import CellRow, Store, rows


@pytest.mark.parametrize("workers", [1, 4])
def test_items_come_in_order_and_a_few_ahead(workers: int) -> None:
    """Whichever is done first; what was not asked for yet is never far ahead."""
    started: list[int] = []

    def slow(item: int) -> int:
        started.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    outcome = []
    for result in read_ahead(slow, range(30), workers):
        outcome.append(result)
        assert len(started) - len(outcome) < 3 + workers
    assert outcome == [n * n for n in range(30)]


@pytest.mark.parametrize(("ahead_bytes", "contents"), [(0, 2), (2**26, 256)], ids=["bit by bit", "ahead"])
def test_how_crops_are_cut_and_put_together_changes_no_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_bytes: int, contents: int
) -> None:
    """Two crops at a time, or all of several images at once: those of an ingest of each image by itself, to the bit."""
    write_opencell(tmp_path / "in", [1, 2, 3])
    save_tiff(opencell_path(tmp_path / "in", 4), np.zeros((2, 64, 64), np.uint16))  # no cell, in the middle of the rest
    save_tiff(opencell_path(tmp_path / "in", 5), draw_field(5))
    single = Store.open(tmp_path / "single", create=True)
    for path in sorted((tmp_path / "in").rglob("*.tif")):
        ingest(single, path, layout="opencell", backbones=["pixel-stats"])
    monkeypatch.setattr(embedding, "AHEAD_BYTES", ahead_bytes)
    monkeypatch.setattr(embedding, "CROPS_HELD", contents)
    store = Store.open(tmp_path / "store", create=True)
    report = ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    assert report.vectors_in == {"pixel-stats:mapping": 4 * CELLS}
    assert everything(store) == everything(single)
    assert rows(store, "SELECT count(*)::INT AS n FROM ingested") == [{"n": 5}]


def test_images_are_embedded_without_a_store(tmp_path: Path) -> None:
    """In order, an unreadable file among them; the second time with the cells of the first, to the same vectors."""
    paths = write_opencell(tmp_path / "in", [1, 2, 3])
    source = read_source(tmp_path / "in", "opencell", None)
    encoder = load(find("pixel-stats"), Choices())
    works = make_plan(None, source, "d", Wanted((encoder.space.digest,))).work
    paths[1].write_bytes(b"")
    first, broken, third = embed_images(works, lambda _: {}, [encoder])
    assert isinstance(broken, Failure)
    assert broken.source == str(paths[1])
    assert isinstance(first, Finished)
    assert isinstance(third, Finished)
    assert [first.cells.num_rows, third.cells.num_rows] == [CELLS, CELLS]
    cells = {first.image_id: cast("list[CellRow]", first.cells.to_pylist())}
    known = replace(works[0], segmentation=first.completion_records[0]["segmentation"], pixel_size_um=0.206349)
    (again,) = embed_images([known], lambda _: cells, [encoder])
    assert isinstance(again, Finished)
    assert (again.image_row, again.cells.num_rows) == (None, 0)
    vectors, same = (image.vectors[encoder.space.digest] for image in (first, again))
    assert vectors.ids == same.ids
    assert np.array_equal(vectors.vectors, same.vectors)


def test_images_are_gathered_until_there_is_enough_to_do() -> None:
    """Failures count as one each, so that they are reported while the work continues; what is left comes last."""
    failures: Sequence[Failure] = [Failure(str(n), "read", "broken", "correct it") for n in range(7)]
    assert [len(batch) for batch in embedding._batches(failures, 3)] == [3, 3, 1]


def test_an_image_without_a_role_that_the_backbone_knows_is_a_failure_and_the_rest_goes_in(tmp_path: Path) -> None:
    """A field of microtubules and ER with masks, among fields with a nucleus."""
    write_hpa(tmp_path / "in", "1_A1_1", 1, ("red", "yellow"))
    write_hpa(tmp_path / "in", "1_A1_2", 2)
    cells = np.zeros((400, 400), np.uint16)
    cells[100:200, 100:200] = 1
    for key in ("1_A1_1", "1_A1_2"):
        save_tiff(tmp_path / "masks" / f"{key}_cells.tif", cells, metadata={})
    store = Store.open(tmp_path / "store", create=True)
    report = ingest(
        store, tmp_path / "in", layout="hpa", backbones=["pixel-stats"], masks=tmp_path / "masks", pixel_size_um=0.08
    )
    assert (report.images_in, report.vectors_in) == (1, {"pixel-stats:mapping": 1})
    (failure,) = report.failures
    assert "has microtubules, er and pixel-stats uses nucleus, protein" in failure.error
