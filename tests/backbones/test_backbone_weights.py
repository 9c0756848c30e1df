"""Strict weights: the right file gives its own vectors, a wrong one is refused by the tensor that is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import dino_weights
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from embstore.backbones.checkpoints import read_checkpoint
from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.network import build
from embstore.backbones.record import POOLINGS, Choices
from embstore.backbones.registry import BACKBONES, keep
from embstore.backbones.weights import check_weights, local_file, random_weights, weights_path, weights_sha256
from embstore.errors import WeightsError

SHAPES = {"patch.weight": (3, 4), "patch.bias": (3,), "norm.weight": (3,)}
Tensors = dict[str, np.ndarray]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of the machine's own."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path))


def test_the_digest_is_over_names_types_shapes_and_bytes_in_sorted_order() -> None:
    """A digest computed by hand agrees, and neither the order nor the memory layout of tensors changes it."""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)
    by_hand = hashlib.sha256(b"a|float32|2x3|" + a.tobytes() + b"b|float32|2|" + b.tobytes()).hexdigest()
    assert weights_sha256({"b": b, "a": a}) == by_hand
    assert weights_sha256({"a": np.asfortranarray(a), "b": b.astype(">f4")}) == by_hand
    assert weights_sha256({"a": a.reshape(3, 2), "b": b}) != by_hand


def test_a_users_backbone_and_timms_have_files_of_their_own(tmp_path: Path) -> None:
    """The weights of `timm_tiny` are never those of `timm:tiny`; a file that is where timm's used to be is found."""
    timms = replace(BACKBONES["imagenet"], name="timm:tiny", hub="", origin="timm")
    former = tmp_path / "timm_tiny.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, former)
    assert local_file(timms) == former
    mine = keep(replace(BACKBONES["opencell"], name="timm_tiny"), {"a": np.ones(1, np.float32)})
    assert local_file(mine) == former
    assert local_file(timms) is None
    weights_path(timms).parent.mkdir(parents=True)
    save_file({"a": np.zeros(1, np.float32)}, weights_path(timms))
    assert local_file(timms) == weights_path(timms) != local_file(mine)


def test_random_weights_follow_the_usual_recipe() -> None:
    """Weights have mean 0 and sd 0.02, biases are zeros, norms are ones, and each name has its own draw."""
    drawn = random_weights(
        {"a.weight": (400, 500), "b.weight": (400, 500), "a.bias": (7,), "blocks.0.norm1.weight": (5,)}
    )
    assert abs(drawn["a.weight"].mean()) < 0.0002
    assert drawn["a.weight"].std() == pytest.approx(0.02, rel=0.01)
    assert abs(np.corrcoef(drawn["a.weight"].ravel(), drawn["b.weight"].ravel())[0, 1]) < 0.01
    assert not drawn["a.bias"].any()
    assert (drawn["blocks.0.norm1.weight"] == 1).all()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.pop("patch.bias"), "lacks patch.bias (1 of 3 tensors missing)"),
        (lambda t: t.update({"head.weight": np.ones((2, 3), np.float32)}), "contains head.weight (1 tensors too many)"),
        (lambda t: t.update({"patch.weight": np.ones((4, 3), np.float32)}), "patch.weight is (4, 3), wanted (3, 4)"),
        (lambda t: t.update({"norm.weight": np.full(3, np.nan, np.float32)}), "norm.weight contains NaN or infinity"),
    ],
)
def test_tensors_that_are_not_exactly_the_networks_are_refused_by_name(change: Any, line: str) -> None:
    """The message names the tensor that is missing, too many, misshaped or not finite."""
    tensors: Tensors = dict(random_weights(SHAPES))
    check_weights(tensors, SHAPES, "w.safetensors")
    change(tensors)
    with pytest.raises(WeightsError) as caught:
        check_weights(tensors, SHAPES, "w.safetensors")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    """A half-precision copy of the weights has its own values, in float32."""
    weights = dino_weights(width=128, depth=1, patch=8, channels=2, grid=2)
    save_torch({name: tensor.to(dtype) for name, tensor in weights.items()}, tmp_path / "w.safetensors")
    result, _ = read_checkpoint(tmp_path / "w.safetensors")
    assert all(tensor.dtype == np.float32 for tensor in result.values())
    np.testing.assert_array_equal(result["pos_embed"], weights["pos_embed"].to(dtype).float().numpy())


def test_a_local_imagenet_file_gives_exactly_its_own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in timm's format are loaded strictly: the vectors are those of timm's network with them."""
    torch.manual_seed(3)
    network = build(BACKBONES["imagenet"]).eval()
    tensors = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    save_file(tensors, tmp_path / "imagenet.safetensors")
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path))
    encoder = load(BACKBONES["imagenet"], Choices())
    pixels = np.random.default_rng(0).uniform(size=(1, 3, 224, 224)).astype(np.float32)
    none = np.zeros((1, 224, 224), bool)
    mean, std = (np.array(x, np.float32)[None, :, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.inference_mode():
        wanted = network(torch.from_numpy((pixels - mean) / std)).numpy()
    result = encoder(Crops(pixels, ("microtubules", "protein", "nucleus"), none, none))
    np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-5 if torch.cuda.is_available() else 0)
    assert encoder.space.weights_sha256 == weights_sha256(tensors)


OFFLINE = """
import time
from embstore.backbones.registry import BACKBONES
from embstore.backbones.hub import find_or_download
from embstore.errors import WeightsError
started = time.monotonic()
try:
    find_or_download(BACKBONES["imagenet"])
except WeightsError as error:
    print(error, time.monotonic() - started, sep="\\n")
"""


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_network_imagenet_says_in_one_line_and_soon_how_to_get_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Offline by setting or by a Hub that refuses: one line, within seconds, and nothing on stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    folders = {"HF_HOME": str(tmp_path), "EMBSTORE_WEIGHTS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE],
        check=True, capture_output=True, text=True, env=clean | folders | environment,
    )  # fmt: skip
    line, seconds = done.stdout.splitlines()
    assert done.stderr == ""
    assert line.startswith(
        "no weights for imagenet on this disk; connect to the internet once, or put model.safetensors"
    )
    assert f"{tmp_path / 'imagenet.safetensors'}" in line
    assert float(seconds) < 6


@pytest.mark.parametrize("name", ["hpa", "hpa-cell", "subcell-bg", "opencell"])
def test_a_backbone_without_its_file_says_how_to_get_it_and_never_pretends(name: str, tmp_path: Path) -> None:
    """The line names the file, where it is published, and the command; nothing is downloaded unasked."""
    started = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        load(BACKBONES[name], Choices())
    line = str(caught.value)
    assert "\n" not in line
    assert time.monotonic() - started < 20
    if name == "opencell":
        assert "opencell has no published file; pretrain one of your own with `embstore backbones pretrain`" in line
    else:
        assert f"`embstore backbones fetch {name}` downloads {BACKBONES[name].file} (see https://" in line


@pytest.mark.parametrize("name", [name for name, backbone in BACKBONES.items() if backbone.kind == "vit"])
def test_every_built_in_network_is_what_its_record_says(name: str) -> None:
    """timm builds it, with as many numbers a vector, as many slots, and an input of whole patches."""
    backbone = BACKBONES[name]
    network = build(backbone, empty=True)
    assert backbone.dim == network.embed_dim * POOLINGS[backbone.pooling]
    assert network.patch_embed.proj.weight.shape[1] == len(backbone.slots)
    assert backbone.input_px % network.patch_embed.patch_size[0] == 0
    assert hasattr(network, "attention_pool") == (backbone.pooling == "attention")
    assert f"/{network.patch_embed.patch_size[0]}" in backbone.note or name in {"vit-random", "opencell"}
