"""Published checkpoints: each format gives exactly its network's vectors, and every file that is not one is refused."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published import attention_pooled, dino_weights, subcell_of, tokens, write_dino
from safetensors.torch import save_file

from embstore.backbones.add import Description, add_backbone
from embstore.backbones.checkpoints import architecture_of, read_checkpoint
from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.network import load_network
from embstore.backbones.record import Backbone, Choices
from embstore.errors import WeightsError

TINY: dict[str, int] = {"width": 128, "depth": 2, "patch": 8, "channels": 2, "grid": 4}
ROLES = ("nucleus", "protein", "microtubules", "er")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights folder, empty."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def added(path: Path, channels: int = 2, **choices: Any) -> Backbone:
    return add_backbone(path, "mine", Description(ROLES[:channels], **choices))


def images(channels: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(3, channels, height, width, generator=torch.Generator().manual_seed(9))


def lowest_cosine(result: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(result.double(), wanted.double(), dim=-1).min())


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
@pytest.mark.parametrize(
    ("shape", "heads", "px"),
    [
        ({"width": 384, "depth": 2, "patch": 16, "channels": 3, "grid": 4}, 6, 64),  # as S/16
        ({"width": 768, "depth": 1, "patch": 8, "channels": 4, "grid": 4}, 12, 32),  # as B/8
        ({"width": 128, "depth": 3, "patch": 8, "channels": 4, "grid": 4}, 2, 72),  # more patches than positions
        ({"width": 128, "depth": 2, "patch": 8, "channels": 2, "grid": 6}, 2, 32),  # fewer
    ],
)
def test_dino_checkpoints_give_the_tokens_that_the_equations_give(
    tmp_path: Path, prefix: str, shape: dict[str, int], heads: int, px: int
) -> None:
    """Of random weights: every token points where a transformer written from the papers points, to 0.99999."""
    weights = dino_weights(**shape)
    network, _ = load_network(added(write_dino(tmp_path / "dino.pth", weights, prefix=prefix), shape["channels"]))
    shown = images(shape["channels"], px, px)
    with torch.inference_mode():
        result = network.forward_features(shown)
    wanted = tokens(weights, shown, heads=heads, as_dino=True)
    assert result.shape == (3, 1 + (px // shape["patch"]) ** 2, shape["width"])
    assert lowest_cosine(result, wanted) >= 0.99999
    np.testing.assert_allclose(result, wanted, atol=2e-3)
    assert lowest_cosine(wanted[:1], wanted[1:2]) < 0.999  # the weights distinguish images


def test_timm_files_interpolate_positions_as_timm_does(tmp_path: Path) -> None:
    """The same weights in timm's format: the same at their own size, and timm's antialiased positions at another."""
    weights = dino_weights(**TINY)
    torch.save(weights, tmp_path / "timm.pth")
    network, _ = load_network(added(tmp_path / "timm.pth"))
    for px in (32, 72, 16):
        shown = images(2, px, px)
        with torch.inference_mode():
            result = network.forward_features(shown)
        assert lowest_cosine(result, tokens(weights, shown, heads=2)) >= 0.99999
        assert (lowest_cosine(result, tokens(weights, shown, heads=2, as_dino=True)) >= 0.99999) == (px == 32)


def test_an_encoder_of_a_dino_checkpoint_gives_the_cls_token(tmp_path: Path) -> None:
    """From the file to the vector: roles in their slots, normalised, through the network, pooled."""
    weights = dino_weights(**TINY | {"channels": 3})
    backbone = added(write_dino(tmp_path / "dino.pth", weights), 3, normalisation="fixed")
    pixels = np.random.default_rng(0).uniform(size=(3, 3, 32, 32)).astype(np.float32)
    none = np.zeros((3, 32, 32), bool)
    mean, std = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    wanted = tokens(weights, (torch.from_numpy(pixels) - mean) / std, heads=2)[:, 0]
    result = load(backbone, Choices())(Crops(pixels, ROLES[:3], none, none))
    assert lowest_cosine(torch.from_numpy(result), wanted) >= 0.99999


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 40)])
def test_subcell_checkpoints_give_tokens_and_pooling_of_the_equations(tmp_path: Path, height: int, width: int) -> None:
    """Query, key and value come apart, the norms have another eps, and two heads pool all tokens."""
    weights = dino_weights(**TINY | {"channels": 4})
    published = subcell_of(weights)
    torch.save(published, tmp_path / "subcell.pth")
    backbone = added(tmp_path / "subcell.pth", 4)
    assert (backbone.pooling, backbone.dim) == ("attention", 256)
    network, _ = load_network(backbone)
    assert {module.eps for module in network.modules() if isinstance(module, torch.nn.LayerNorm)} == {1e-12}
    shown = images(4, height, width)
    with torch.inference_mode():
        result = network.forward_features(shown)
        pooled = network.attention_pool(result)
    wanted = tokens(weights, shown, heads=2, eps=1e-12)
    assert lowest_cosine(result, wanted) >= 0.99999
    assert lowest_cosine(pooled, attention_pooled(published, wanted)) >= 0.99999
    assert lowest_cosine(pooled[:, :128], pooled[:, 128:]) < 0.99  # the two heads look at different tokens


def test_timm_and_safetensors_files_hold_the_same_network(tmp_path: Path) -> None:
    """A bare state dict, with its classifier, and the same as safetensors: the weights of the DINO checkpoint."""
    weights = dino_weights(**TINY)
    torch.save(weights | {"head.weight": torch.ones(5, 128), "head.bias": torch.ones(5)}, tmp_path / "timm.pth")
    save_file(weights, tmp_path / "timm.safetensors")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    write_dino(tmp_path / "dino.pth", weights)
    for name, wanted in {"timm.pth": "timm", "timm.safetensors": "timm", "old.pth": "timm", "dino.pth": "dino"}.items():
        result, in_format = read_checkpoint(tmp_path / name)
        assert in_format == wanted
        assert result.keys() == weights.keys()
        assert all(np.array_equal(result[key], weights[key].numpy()) for key in weights), name


@pytest.mark.parametrize("extra", [{}, {"reg_token": (1, 4, 128)}])
def test_the_architecture_is_read_from_the_shapes(tmp_path: Path, extra: dict[str, tuple[int, ...]]) -> None:
    """Width, patch, channels, grid, depth, MLP ratio and registers; the number of heads is width / 64, or given."""
    weights = {name: tensor.numpy() for name, tensor in dino_weights(**TINY).items()}
    weights |= {name: np.zeros(shape, np.float32) for name, shape in extra.items()}
    if extra:  # DINOv2's registers, as timm keeps them: their positions are in the tokens themselves
        weights["pos_embed"] = weights["pos_embed"][:, 1:]
    result = architecture_of(weights, tmp_path, None)
    known = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "mlp_ratio": 4.0}
    assert result == known | ({"reg_tokens": 4, "no_embed_class": True} if extra else {})
    assert architecture_of(weights, tmp_path, 8)["num_heads"] == 8
    with pytest.raises(WeightsError, match="128 wide, which 3 heads cannot share"):
        architecture_of(weights, tmp_path, 3)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda w: w.pop("blocks.1.norm1.bias"), "lacks blocks.1.norm1.bias (1 of 30 tensors missing)"),
        (lambda w: w.update({"blocks.0.extra": torch.ones(2)}), "contains blocks.0.extra (1 tensors too many)"),
        (lambda w: w.update({"norm.weight": torch.ones(64)}), "norm.weight is (64,), wanted (128,)"),
        (lambda w: w["norm.bias"].fill_(torch.nan), "norm.bias contains NaN or infinity"),
        (lambda w: w.update({"pos_embed": torch.ones(1, 19, 128)}), "19 positions, wanted a square and 1 more"),
        (lambda w: w.update({"norm.bias": "text"}), "norm.bias is a str, wanted a tensor"),
        (lambda w: w.update({"norm.bias": torch.ones(1).expand(10**12)}), "claims tensors of"),
    ],
)
def test_a_wrong_tensor_is_an_error_that_names_it(tmp_path: Path, folder: Path, change: Any, line: str) -> None:
    """Missing, too many, misshaped, not finite, no tensor, or larger than the file: nothing is loaded in part."""
    weights = dino_weights(**TINY)
    change(weights)
    with pytest.raises(WeightsError) as caught:
        added(write_dino(tmp_path / "dino.pth", {"norm.weight": torch.ones(128)} | weights))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("encoder.encoder.layer.0.attention.attention.key.weight", "lacks the key of blocks.0.attn.qkv.weight"),
        ("pool_model.attention.bias", "lacks attention_pool.score.bias"),
        ("encoder.layernorm.bias", "lacks norm.bias"),
    ],
)
def test_a_subcell_file_without_one_of_its_tensors_is_refused(tmp_path: Path, name: str, line: str) -> None:
    """Every tensor is wanted; one under a name that SubCell does not have is refused too."""
    published = subcell_of(dino_weights(**TINY))
    torch.save({key: tensor for key, tensor in published.items() if key != name}, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=line):
        added(tmp_path / "less.pth")
    torch.save(published | {"encoder.other": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"has encoder\.other, which is no part of SubCell"):
        added(tmp_path / "more.pth")


class Runs:
    """A pickle of this runs a command when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


def bomb(good: bytes) -> bytes:
    """A checkpoint, compressed, with an entry that is large and empty."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    return zipped(entries | {"archive/data/bomb": bytes(30_000_000)}, zipfile.ZIP_DEFLATED)


def saved(contents: Any) -> bytes:
    file = io.BytesIO()
    torch.save(contents, file)
    return file.getvalue()


def with_header(header: bytes, claimed: int) -> bytes:
    return struct.pack("<Q", claimed) + header + bytes(64)


BEYOND = b'{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}'


def hostile(kind: str, mark: Path) -> bytes:
    """Return a file that is no checkpoint; one that runs makes the file `mark`."""
    good = saved(dino_weights(**TINY))
    weights = dino_weights(**TINY)["norm.weight"].numpy().tobytes()
    return {
        "runs": saved({"teacher": dino_weights(**TINY), "args": Runs(mark)}),
        "bare pickle that runs": pickle.dumps(Runs(mark), protocol=2),
        "newer pickle that runs": pickle.dumps(Runs(mark)),
        "truncated": good[: len(good) // 2],
        "a flipped bit": good.replace(weights, weights[:-1] + bytes([weights[-1] ^ 1])),
        "zip bomb": bomb(good),
        "zip of something": zipped({"notes.txt": b"nothing"}),
        "text": b"<html>404: the file has moved</html>\n" * 9,
        "empty": b"",
        "a list": saved([torch.ones(2)]),
        "another network": saved({"conv1.weight": torch.ones(64, 3, 7, 7), "fc.bias": torch.ones(10)}),
        "long header": with_header(b'{"a":', 5 * 10**9),
        "tensor beyond the file": with_header(BEYOND, len(BEYOND)),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("runs", "asks to run posix.system when it is read, which is refused"),
        ("bare pickle that runs", "asks to run posix.system when it is read, which is refused"),
        ("newer pickle that runs", "contains no pickle of tensors"),
        ("truncated", "is not a readable checkpoint"),
        ("a flipped bit", "has another checksum"),
        ("zip bomb", "unpacks to 3"),
        ("zip of something", "is not a readable checkpoint"),
        ("text", "contains no pickle of tensors"),
        ("empty", "is empty"),
        ("a list", "contains a list, wanted a dictionary of tensors"),
        ("another network", "contains 2 entries such as conv1.weight, fc.bias; wanted a vision transformer"),
        ("long header", "is not a readable safetensors file"),
        ("tensor beyond the file", "is not a readable safetensors file"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused_in_one_line(
    tmp_path: Path, folder: Path, kind: str, line: str
) -> None:
    """None of them runs, fills the memory, prints, or leaves anything in the weights folder."""
    path = tmp_path / "file.pth"
    path.write_bytes(hostile(kind, tmp_path / "ran"))
    with pytest.raises(WeightsError) as caught:
        added(path)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 400
    assert not (tmp_path / "ran").exists()
    assert not folder.exists()


def test_the_hostile_pickle_does_run_where_nobody_looks(tmp_path: Path) -> None:
    """The payload of the test above is a real one."""
    pickle.loads(hostile("bare pickle that runs", tmp_path / "ran"))
    assert (tmp_path / "ran").exists()


def test_a_damaged_byte_anywhere_is_an_error_in_one_line_or_no_harm(tmp_path: Path) -> None:
    """Bytes overwritten all over a small checkpoint: it is read, or refused as a WeightsError."""
    random = np.random.default_rng(5)
    refused = 0
    for old in (False, True):
        torch.save({"a": torch.ones(3), "b": [1, "x"]}, tmp_path / "good", _use_new_zipfile_serialization=not old)
        good = (tmp_path / "good").read_bytes()
        for _ in range(150):
            bad = bytearray(good)
            for at in random.integers(0, len(bad), 3):
                bad[at] = random.integers(256)
            (tmp_path / "bad").write_bytes(bad)
            with pytest.raises(WeightsError) as caught:  # whole ones are no vision transformers
                read_checkpoint(tmp_path / "bad")
            refused += "wanted a vision transformer" not in str(caught.value)
    assert refused > 50
