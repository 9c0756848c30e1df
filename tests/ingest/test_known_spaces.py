"""A run with nothing to do finds its spaces in the store and opens no weights."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from tiny_vit import tiny

from embstore.backbones.record import Backbone, Choices
from embstore.backbones.registry import keep, parse
from embstore.backbones.weights import Tensors, random_weights, weights_path, write_weights
from embstore.errors import WeightsError
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


def drawn_weights(backbone: Backbone) -> Tensors:
    network = import_module("embstore.backbones.network").build(backbone)  # torch, which most of these tests do without
    return random_weights({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})


def test_a_second_run_of_a_network_of_timms_imports_no_torch(
    filled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its record is kept beside the weights, for the versions that made it; a damaged one is made again."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    spec, images, store = "timm:test_vit.r160_in1k", filled[1], tmp_path / "store"
    backbone, _ = parse(spec)
    write_weights(weights_path(backbone), drawn_weights(backbone), {})
    ingest(store, images, layout="opencell", backbones=[spec])
    program = """
import sys
from embstore.ingest import ingest
report = ingest(*sys.argv[1:3], layout="opencell", backbones=[sys.argv[3]])
print(report.done_before, sorted({"torch", "timm"} & set(sys.modules)))
"""
    words = [sys.executable, "-c", program, str(store), str(images), spec]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "1 []\n"
    file = weights_path(backbone).with_suffix(".json")
    kept = file.read_text()
    for damaged in (kept[:99], kept.replace('"timm": "', '"timm": "0.'), "[]"):
        file.write_text(damaged)
        assert parse(spec)[0] == backbone
        assert file.read_text() == kept


def test_weights_are_missed_by_the_run_that_needs_them(
    filled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run with nothing to do does without the weights; one with a new image reports how to get them."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    network = tiny(name="mine")
    kept = keep(network, drawn_weights(network))
    images, store = filled[1], tmp_path / "store"
    ingest(store, images, layout="opencell", backbones=["mine"])
    weights_path(kept).unlink()
    versions = Store.open(store).versions()
    assert ingest(store, images, layout="opencell", backbones=["mine"]).done_before == 1
    with pytest.raises(WeightsError, match=r"no weights for mine at .*; add its file again with --replace"):
        ingest(store, images, layout="opencell", backbones=["mine"], dataset="another")
    assert Store.open(store).versions() == versions


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
