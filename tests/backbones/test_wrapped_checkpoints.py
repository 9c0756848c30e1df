"""Checkpoints that are wrapped or named by DINOv2's code: one answer is loaded, several are listed, none is guessed."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from case_files import needs_cases
from published import Weights, chunked, dino_weights, dinov2_of, tokens, write_dino
from safetensors.torch import save_file

from embstore.backbones.add import Description, add_backbone
from embstore.backbones.checkpoints import read_checkpoint
from embstore.backbones.network import load_network
from embstore.errors import WeightsError

TINY: dict[str, int] = {"width": 64, "depth": 2, "patch": 8, "channels": 2, "grid": 4}
ROLES = ("nucleus", "protein")
CHOOSE = "choose one with `embstore backbones add --key`"
WAY_OUT = "give it to es.embed(store, encoder=network, ...)"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights folder, empty."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


def images(px: int) -> torch.Tensor:
    return torch.randn(2, 2, px, px, generator=torch.Generator().manual_seed(9))


def lowest_cosine(result: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(result.double(), wanted.double(), dim=-1).min())


def refused(path: Path, **described: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        add_backbone(path, "mine", Description(ROLES, **described))
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


OTHER = {"fc.weight": torch.ones(3, 3)}  # of a loss, a projection head, another network
WRAPPERS: dict[str, Any] = {
    "model": lambda w: {"model": w, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
    "state_dict": lambda w: {"state_dict": prefixed("module.", w), "arch": "vit", "optimizer": {"state": {}}},
    "teacher": lambda w: {"teacher": prefixed("backbone.", w) | {"head.mlp.0.weight": torch.ones(2, 2)}},
    "student": lambda w: {"student": w},
    "ema": lambda w: {"ema": w, "decay": 0.99},
    "lightning": lambda w: {"state_dict": prefixed("net.encoder.", w) | prefixed("net.", OTHER), "loops": {"fit": {}}},
    "two deep": lambda w: {"checkpoint": {"model": prefixed("_orig_mod.", w)}, "step": 4},
    "masked autoencoder": lambda w: {
        "model": w | {"mask_token": torch.ones(1, 1, 64), "decoder_embed.weight": torch.ones(8, 64)}
    },
    "permuted": lambda w: OrderedDict(reversed(list(prefixed("module.", w).items()))),
    "half": lambda w: {"model": {name: tensor.half() for name, tensor in w.items()}},
    "bfloat16": lambda w: {"model": {name: tensor.bfloat16() for name, tensor in w.items()}},
    "double": lambda w: {"model": {name: tensor.double() for name, tensor in w.items()}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_only_network_of_a_file_is_found_wherever_it_is(tmp_path: Path, wrapper: str) -> None:
    """Whatever wraps it, every tensor arrives under timm's name with its own values."""
    weights = dino_weights(**TINY)
    torch.save(WRAPPERS[wrapper](weights), tmp_path / "file.pth")
    result, _ = read_checkpoint(tmp_path / "file.pth")
    assert result.keys() == weights.keys()
    for name, tensor in weights.items():
        rounded = {"half": tensor.half(), "bfloat16": tensor.bfloat16()}.get(wrapper, tensor).float()
        np.testing.assert_array_equal(result[name], rounded.numpy())
        assert result[name].dtype == np.float32


def test_of_several_networks_none_is_taken_unasked(tmp_path: Path, folder: Path) -> None:
    """The message lists them; a key names one, by its whole address or a part that only it has."""
    first, second = dino_weights(**TINY, seed=1), dino_weights(**TINY, seed=2)
    path = tmp_path / "train.pth.tar"
    torch.save({"state_dict": prefixed("module.", first), "state_dict_ema": prefixed("module.", second)}, path)
    assert f"contains 2 networks: state_dict.module, state_dict_ema.module; {CHOOSE}" in refused(path)
    assert "2 of its networks match --key module; choose from: state_dict.module" in refused(path, key="module")
    assert "no network matches --key ema; choose from: state_dict.module" in refused(path, key="ema")
    assert not folder.exists()
    for key, weights in {"state_dict": first, "state_dict_ema": second, "state_dict_ema.module": second}.items():
        result, _ = read_checkpoint(path, key=key)
        assert all(np.array_equal(result[name], weights[name].numpy()) for name in weights)


def test_a_teacher_and_a_student_in_one_state_dict_are_two_networks(tmp_path: Path) -> None:
    """Only DINO's own layout defines which is meant; Lightning's prefixes, and a third network, do not."""
    weights = dino_weights(**TINY)
    both = prefixed("teacher.backbone.", weights) | prefixed("student.backbone.", weights)
    torch.save({"state_dict": both}, tmp_path / "lightning.ckpt")
    assert "state_dict.teacher.backbone, state_dict.student.backbone" in refused(tmp_path / "lightning.ckpt")
    save_file({name: tensor.clone() for name, tensor in both.items()}, tmp_path / "flat.safetensors")
    assert "teacher.backbone" in refused(tmp_path / "flat.safetensors")
    write_dino(tmp_path / "third.pth", weights, model=weights)
    assert "contains 2 networks: teacher.backbone, model" in refused(tmp_path / "third.pth")
    own = {"student": prefixed("module.backbone.", dino_weights(**TINY, seed=3))}
    write_dino(tmp_path / "dino.pth", weights, **own)
    result, _ = read_checkpoint(tmp_path / "dino.pth")
    np.testing.assert_array_equal(result["cls_token"], weights["cls_token"].numpy())
    result, _ = read_checkpoint(tmp_path / "dino.pth", key="student")
    np.testing.assert_array_equal(result["cls_token"], own["student"]["module.backbone.cls_token"].numpy())


@pytest.mark.parametrize("px", [32, 48])
@pytest.mark.parametrize(
    ("registers", "chunks", "gated"), [(0, 0, False), (4, 0, False), (0, 2, False), (2, 1, False), (0, 0, True)]
)
def test_dinov2_checkpoints_give_the_tokens_of_the_equations(
    tmp_path: Path, registers: int, chunks: int, gated: bool, px: int
) -> None:
    """Registers, chunks, layer scales and the giant's MLP; positions as DINOv2 interpolates them, with and without."""
    plain = dinov2_of(dino_weights(**TINY), registers=registers, gated=gated)
    torch.save(chunked(plain, chunks) if chunks else plain, tmp_path / "dinov2.pth")
    backbone = add_backbone(tmp_path / "dinov2.pth", "mine", Description(ROLES))
    network, _ = load_network(backbone)
    with torch.inference_mode():
        result = network.forward_features(images(px))
    wanted = tokens(plain, images(px), heads=1, as_dino=not registers)
    assert result.shape == wanted.shape == (2, 1 + registers + (px // 8) ** 2, 64)
    assert lowest_cosine(result, wanted) >= 0.99999
    np.testing.assert_allclose(result, wanted, atol=2e-3)


def test_registers_in_half_precision_do_not_round_the_class_token(tmp_path: Path) -> None:
    """Its position is added to it in float32."""
    weights = dino_weights(**TINY | {"depth": 1, "grid": 24})  # mostly positions: larger in float32 than the file
    half = {name: tensor.half() for name, tensor in dinov2_of(weights, registers=4).items()}
    torch.save(half, tmp_path / "half.pth")
    result, in_format = read_checkpoint(tmp_path / "half.pth")
    assert in_format == "dinov2"
    wanted = half["cls_token"].float() + half["pos_embed"][:, :1].float()
    np.testing.assert_array_equal(result["cls_token"], wanted.numpy())


def dropped(weights: Weights, name: str) -> Weights:
    return {key: tensor for key, tensor in weights.items() if key != name}


CHANGES: dict[str, Any] = {
    "missing": (lambda w: dropped(w, "blocks.1.norm1.bias"), "lacks blocks.1.norm1.bias"),
    "no positions": (lambda w: dropped(w, "pos_embed"), "lacks pos_embed: it is no plain vision transformer"),
    "extra": (lambda w: w | {"blocks.1.attn.q_norm.weight": torch.ones(64)}, "contains blocks.1.attn.q_norm.weight"),
    "extra at the top": (
        lambda w: w | {"fc_norm.weight": torch.ones(64)},
        "contains fc_norm.weight (1 tensors",
    ),
    "a gap in the blocks": (
        lambda w: {name.replace("blocks.1.", "blocks.2."): tensor for name, tensor in w.items()},
        "lacks blocks.1.",
    ),
    "narrower": (lambda w: w | {"norm.weight": torch.ones(32)}, "norm.weight is (32,), wanted (64,)"),
    "quantised": (lambda w: w | {"norm.weight": torch.ones(64, dtype=torch.int8)}, "norm.weight is int8, wanted float"),
    "whole numbers": (lambda w: w | {"norm.bias": torch.ones(64).long()}, "norm.bias is int64, wanted float16"),
    "complex": (lambda w: w | {"norm.bias": torch.ones(64).cfloat()}, "norm.bias is complex64, wanted float16"),
    "float8": (lambda w: w | {"norm.bias": torch.ones(64).to(torch.float8_e4m3fn)}, "norm.bias is float8_e4m3fn"),
    "sparse": (lambda w: w | {"norm.bias": torch.ones(64).to_sparse()}, "norm.bias is sparse, wanted a plain tensor"),
    "no values": (lambda w: w | {"norm.bias": torch.empty(64, device="meta")}, "norm.bias is without values"),
    "not finite": (lambda w: w | {"norm.bias": torch.full((64,), torch.inf)}, "norm.bias contains NaN or infinity"),
}
SHAPES: dict[str, Any] = {
    "wrapped": lambda w: {"state_dict": prefixed("model.backbone.", w) | prefixed("model.", OTHER)},
    "dinov2": lambda w: {"teacher": prefixed("backbone.", w | {"register_tokens": torch.ones(1, 4, 64)})},
    "safetensors": lambda w: prefixed("module.", w),
}


# safetensors cannot save tensors that are sparse or have no values
WRONG = [(s, c) for s in SHAPES for c in CHANGES if s != "safetensors" or c not in {"sparse", "no values"}]


@pytest.mark.parametrize(("shape", "change"), WRONG)
def test_no_wrapper_makes_a_wrong_file_load(tmp_path: Path, folder: Path, shape: str, change: str) -> None:
    """Missing, too many, a wrong depth, shape, type or value: refused by name, with the way out."""
    alter, line = CHANGES[change]
    path = tmp_path / ("file.safetensors" if shape == "safetensors" else "file.pth")
    contents = SHAPES[shape](alter(dino_weights(**TINY)))
    if shape == "safetensors":
        save_file(contents, path)
    else:
        torch.save(contents, path)
    message = refused(path)
    assert line in message
    assert WAY_OUT in message
    assert not folder.exists()


def test_chunks_that_number_their_blocks_anew_are_refused(tmp_path: Path) -> None:
    """Two blocks would take one place, and either could be the wrong one."""
    weights = dinov2_of(dino_weights(**TINY), chunks=2)
    torch.save({name.replace("blocks.1.1.", "blocks.1.0."): tensor for name, tensor in weights.items()}, tmp_path / "f")
    assert "has two tensors for blocks.0." in refused(tmp_path / "f")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TorchScript is deprecated, and its files are still there
def test_a_program_is_refused_with_the_reason_and_the_way_out(tmp_path: Path) -> None:
    """TorchScript and pickled modules run code when they are read."""
    network = torch.nn.Linear(2, 2)
    torch.jit.save(torch.jit.trace(network, torch.ones(1, 2)), tmp_path / "script.pt")
    torch.save(network, tmp_path / "module.pt")
    torch.save({"model": network, "epoch": 3}, tmp_path / "wrapped.pt")
    line = refused(tmp_path / "script.pt")
    assert "is a TorchScript program (torch.jit.save): reading it would run the code inside" in line
    assert WAY_OUT in line
    for name in ("module.pt", "wrapped.pt"):
        line = refused(tmp_path / name)
        assert "asks to run torch.nn.modules.linear.Linear when it is read, which is refused" in line
        assert "save its state_dict() in place of it" in line
        assert WAY_OUT in line


def test_a_file_without_a_transformer_lists_what_is_inside(tmp_path: Path) -> None:
    """Down to the names in its entries; nobody is told to download a file of their own again."""
    torch.save({"state_dict": {"conv1.weight": torch.ones(3, 3)}, "epoch": 1}, tmp_path / "resnet.ckpt")
    line = refused(tmp_path / "resnet.ckpt")
    assert "2 entries such as epoch, state_dict, and in state_dict 1 entries such as conv1.weight" in line
    assert WAY_OUT in line
    assert "download" not in line


@needs_cases
@pytest.mark.parametrize(
    ("name", "key", "wanted"),
    [
        ("27-checkpoint-wrappers/timm_train.pth.tar", "state_dict_ema", "timm"),
        ("27-checkpoint-wrappers/mae.pth", None, "timm"),
        ("27-checkpoint-wrappers/lightning.ckpt", None, "timm"),
        ("28-dinov2-official-names/dinov2_pretrain.pth", None, "dinov2"),
        ("28-dinov2-official-names/dinov2_reg4_pretrain.pth", None, "dinov2"),
        ("28-dinov2-official-names/teacher_checkpoint.pth", None, "dinov2"),
    ],
)
def test_the_checkpoints_that_people_have_are_added(cases: Path, name: str, key: str | None, wanted: str) -> None:
    """Cases 27 and 28: each becomes a backbone that loads."""
    backbone = add_backbone(cases / name, "mine", Description(ROLES, heads=1, key=key))
    assert wanted in backbone.note
    network, _ = load_network(backbone)
    assert network.num_prefix_tokens == (5 if "reg4" in name else 1)


@needs_cases
def test_timms_own_training_checkpoint_asks_which_weights(cases: Path) -> None:
    """Case 27: weights and their moving average are both there."""
    line = refused(cases / "27-checkpoint-wrappers/timm_train.pth.tar", heads=1)
    assert line.endswith(f"contains 2 networks: state_dict.module, state_dict_ema.module; {CHOOSE}")
