"""Backbones of installed packages: found by their entry point, loaded where they are used, refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices, space_of
from embstore.backbones.registry import availability, find, known_names, parse
from embstore.errors import EmbstoreError

NUMPY_PACKAGE = """
import embstore as es

def load():
    return lambda pixels: pixels.mean((2, 3))

backbone = es.RegisteredBackbone(
    load, roles=("nucleus", "protein"), input_px=16, dim=2, fingerprint="1.0", licence="MIT", note="mean intensities"
)
wrong_dim = es.RegisteredBackbone(load, roles=("nucleus",), input_px=16, dim=7, fingerprint="1.0")
no_fingerprint = es.RegisteredBackbone(load, roles=("nucleus",), input_px=16, dim=1)
broken = es.RegisteredBackbone(lambda: open("/nowhere/weights"), roles=("nucleus",), input_px=16, dim=1)
no_role = es.RegisteredBackbone(load, roles=(), input_px=16, dim=1)
function = load
"""
TORCH_PACKAGE = """
import embstore as es

def load():
    import torch
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()

backbone = es.RegisteredBackbone(load, roles=("protein",), input_px=16, dim=4, crop_um=30, normalisation="zscore")
"""


def install(folder: Path, package: str, source: str, entries: dict[str, str]) -> None:
    """Put a package and its metadata on the path, as pip leaves them."""
    (folder / f"{package}.py").write_text(source)
    metadata = folder / f"{package}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[embstore.backbones]", *lines, ""]))


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site-packages")
    install(
        folder,
        "meanlab",
        NUMPY_PACKAGE,
        {
            "meanlab": "meanlab:backbone",
            "meanlab-dim": "meanlab:wrong_dim",
            "meanlab-print": "meanlab:no_fingerprint",
            "meanlab-file": "meanlab:broken",
            "meanlab-role": "meanlab:no_role",
            "meanlab-object": "meanlab:function",
            "meanlab-lost": "meanlab.nothing:here",
            "twice": "meanlab:backbone",
            "hpa": "meanlab:backbone",
        },
    )
    install(folder, "netlab", TORCH_PACKAGE, {"netlab": "netlab:backbone", "twice": "netlab:backbone"})
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        yield
    for name in ("meanlab", "netlab"):
        sys.modules.pop(name, None)


def crops() -> Crops:
    pixels = np.random.default_rng(2).uniform(size=(3, 2, 16, 16)).astype(np.float32)
    none = np.zeros((3, 16, 16), bool)
    return Crops(pixels, ("nucleus", "protein"), none, none)


def test_a_registered_backbone_is_named_described_and_loaded() -> None:
    """By its entry point's name, with every key of a spec; its fingerprint stands for its weights."""
    assert {"meanlab", "netlab"} <= set(known_names())
    backbone, choices = parse("meanlab:crop_um=40")
    assert (backbone.origin, backbone.source, backbone.licence) == ("package", "meanlab 1.2", "MIT")
    assert availability(backbone) == (True, "")
    encoder = load(backbone, choices, "cpu")
    np.testing.assert_allclose(encoder(crops()), crops().pixels.mean((2, 3)), rtol=1e-5)
    assert encoder.space.crop_um == 40.0
    assert encoder.space == space_of(backbone, choices, backbone.weights_sha256)  # known without loading
    both = load(find("meanlab"), Choices("replication"), "cpu")
    assert both(crops()).shape == (3, 4) == (3, both.dim)


def test_a_registered_module_is_known_by_its_tensors() -> None:
    """Without a stated fingerprint, the sha256 of what was loaded; normalised as the package states."""
    backbone = find("netlab")
    assert backbone.weights_sha256 is None
    encoder = load(backbone, Choices(), "cpu")
    assert encoder.space.weights_sha256
    assert encoder.space.normalisation == "zscore"
    assert encoder(crops()).shape == (3, 4)
    assert load(backbone, Choices(), "cpu").space == encoder.space


def test_a_built_in_name_stays_what_it_is() -> None:
    """No package takes the place of a record of embstore."""
    assert find("hpa").origin == "built-in"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("meanlab-dim", "meanlab 1.2 states 7 numbers for meanlab-dim, whose vectors have 1"),
        ("meanlab-print", "has no tensors to compute a fingerprint of"),
        ("meanlab-file", "meanlab 1.2 cannot load meanlab-file (["),
        ("meanlab-role", "meanlab-role has the slots none; name each role once"),
        ("meanlab-object", "as meanlab:function, a function; wanted an embstore.RegisteredBackbone"),
        ("meanlab-lost", "which cannot be imported (No module named 'meanlab.nothing'"),
        ("twice", "meanlab 1.2 and netlab 1.2 register a backbone twice; uninstall one of them"),
        ("meanlabs", "there is no backbone 'meanlabs'; the nearest names are meanlab"),
    ],
)
def test_what_a_package_did_wrong_is_one_line(name: str, line: str) -> None:
    """It names the package; nothing of it is a traceback."""
    with pytest.raises(EmbstoreError) as caught:
        load(find(name), Choices(), "cpu")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_users_backbone_of_the_same_name_is_ambiguous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is taken without warning."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path))
    record = 'revision = 1\nkind = "vit"\narchitecture = "vit_tiny_patch16_224"\nslots = ["a"]\ninput_px = 16\n'
    record += 'crop_um = 25.0\nnormalisation = "none"\npooling = "cls"\ndim = 4\nlicence = ""\nsource = ""\nnote = ""\n'
    (tmp_path / "meanlab.toml").write_text(record + 'weights_format = "safetensors"\n')
    with pytest.raises(EmbstoreError, match=r"meanlab 1\.2 registers a backbone meanlab, and there is one of your own"):
        find("meanlab")
