"""A run with nothing to do finds its spaces in the store and opens no weights."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from embstore.backbones.record import Choices
from embstore.backbones.registry import parse
from embstore.backbones.weights import weights_path
from embstore.ingest import embed, ingest
from embstore.ingest.known_spaces import known_spaces
from embstore.phantom import write_phantom
from embstore.store import Store

SPECS = ["phantom-dino", "pixel-stats"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of one simulated field under a network and the measurements, and the folder of its images."""
    folder = tmp_path_factory.mktemp("known")
    atlas = write_phantom(folder / "atlas", layout="opencell", proteins=1, fields=1, field_px=200)
    ingest(folder / "store", atlas.images_folder, layout="opencell", backbones=SPECS, device="cpu")
    return folder / "store", atlas.images_folder


def test_a_second_run_loads_nothing(filled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ingest, nor a dry run, nor embed loads an encoder where all is done; new images and choices do."""
    loaded: list[str] = []
    monkeypatch.setattr(
        import_module("embstore.ingest.asked"), "load", lambda backbone, *_: loaded.append(backbone.name) or 1 / 0
    )
    store, images = filled
    versions = Store.open(store).versions()
    for _ in range(2):
        assert ingest(store, images, layout="opencell", backbones=SPECS).done_before == 1
        assert ingest(store, images, layout="opencell", backbones=SPECS, dry_run=True).done_before == 1
        assert embed(store, backbones=SPECS).done_before == 1
    assert Store.open(store).versions() == versions
    assert loaded == []
    for backbones, dataset in ((SPECS, "another"), (["phantom-dino:pooling=mean"], None)):
        with pytest.raises(ZeroDivisionError):
            ingest(store, images, layout="opencell", backbones=backbones, dataset=dataset)
    assert Store.open(store).versions() == versions
    assert loaded == ["phantom-dino", "phantom-dino"]


def test_a_space_is_known_by_its_weights(filled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other pinned weights, another revision, a GPU, or a weights file newer than the space: the network is loaded."""
    store = Store.open(filled[0])
    backbone, choices = parse("phantom-dino")

    def known(device: str = "auto", how: Choices = choices, **changes: object) -> bool:
        return known_spaces(store, [(replace(backbone, **changes), how)], device) is not None

    assert known()
    assert not known(weights_sha256="0" * 64)
    assert not known(revision=backbone.revision + 1)
    assert not known("cuda")
    assert not known("tpu")
    assert not known(how=replace(choices, crop_um=40.0))
    assert not known(weights_sha256=None)  # no file
    unpinned = {"weights_sha256": None, "hub": ""}
    file = weights_path(backbone)
    file.write_bytes(b"not a header")
    assert not known(**unpinned)  # newer than the space
    os.utime(file, (0, 0))
    assert known(**unpinned)
    file.unlink()
    monkeypatch.setattr(import_module("embstore.ingest.known_spaces"), "GPU_DRIVERS", (filled[0],))
    assert not known()  # a GPU would make another space
    assert known("cpu")
