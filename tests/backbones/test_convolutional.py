"""timm's convolutional networks and repositories of the Hub, from files as timm publishes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.fetch import fetch_weights
from embstore.backbones.record import Choices
from embstore.backbones.registry import availability, parse
from embstore.backbones.weights import weights_path
from embstore.errors import EmbstoreError, WeightsError

RGB = ("microtubules", "protein", "nucleus")
State = dict[str, torch.Tensor]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder and a cache of the Hub, both empty; the Hub itself cannot be reached."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def network_of(name: str, **arguments: Any) -> torch.nn.Module:
    """timm's network with its classifier, and normalisations that have seen something."""
    torch.manual_seed(4)
    network = timm.create_model(name, pretrained=False, **arguments)
    for tensor_name, tensor in network.state_dict().items():
        if tensor_name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
    return network.eval()


def cache(hub: Path, repository: str, files: dict[str, bytes]) -> None:
    """Put a repository's files where the Hub's client keeps what it downloaded."""
    folder, commit = hub / f"models--{repository.replace('/', '--')}", "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    for name, content in files.items():
        (folder / "snapshots" / commit / name).write_bytes(content)


def published(network: torch.nn.Module, tmp_path: Path, change: Callable[[State], State] = lambda s: s) -> bytes:
    path = tmp_path / "published.safetensors"
    save_file({name: t.clone() for name, t in change(network.state_dict()).items()}, path)
    return path.read_bytes()


def crops(n: int = 2, px: int = 160) -> Crops:
    pixels = np.random.default_rng(0).uniform(size=(n, 3, px, px)).astype(np.float32)
    none = np.zeros((n, px, px), bool)
    return Crops(pixels, RGB, none, none)


def shown(backbone: Any, part: Crops) -> torch.Tensor:
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (backbone.mean, backbone.std))
    return (torch.from_numpy(part.pixels) - mean) / std


@pytest.mark.parametrize(
    ("name", "dim"),
    [("test_resnet.r160_in1k", 96), ("test_convnext.r160_in1k", 64), ("test_efficientnet.r160_in1k", 256)],
)
def test_a_published_file_gives_the_vectors_that_timm_gives(hub: Path, tmp_path: Path, name: str, dim: int) -> None:
    """Normalised as in timm, without the classifier, pooled as each architecture does."""
    network = network_of(name)
    cache(hub, f"timm/{name}", {"model.safetensors": published(network, tmp_path)})
    backbone, choices = parse(f"timm:{name}")
    assert (backbone.kind, backbone.pooling, backbone.dim, backbone.input_px) == ("convolutional", "global", dim, 160)
    assert availability(backbone)[0]
    encoder = load(backbone, choices, "cpu")
    network.reset_classifier(0)
    with torch.inference_mode():
        wanted = network(shown(backbone, crops())).numpy()
    result = encoder(crops())
    assert result.shape == (2, dim)
    np.testing.assert_allclose(result, wanted, atol=1e-5)
    assert encoder.space.pooling == "global"
    both = load(backbone, Choices("replication", roles=("nucleus", "protein")), "cpu")
    assert both(crops()).shape == (2, 2 * dim) == (2, both.dim)


def test_a_file_is_copied_to_a_machine_without_the_hub(tmp_path: Path) -> None:
    """`backbones fetch NAME --from FILE` takes a copy; torch's own format does as well, older ones without counters."""
    network = network_of("test_resnet")
    state = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "model.bin")
    backbone, choices = parse("timm:test_resnet.r160_in1k")
    with pytest.raises(WeightsError, match=r"put model\.safetensors of https://huggingface\.co/timm/test_resnet"):
        load(backbone, choices, "cpu")
    assert fetch_weights(backbone, tmp_path / "model.bin") == weights_path(backbone)
    first = load(backbone, choices, "cpu")
    weights_path(backbone).write_bytes(published(network, tmp_path))
    again = load(backbone, choices, "cpu")
    assert again.space == first.space
    np.testing.assert_array_equal(again(crops()), first(crops()))


def changed(name: str, tensor: torch.Tensor) -> Callable[[State], State]:
    return lambda state: state | {name: tensor}


STRICT: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (lambda s: {k: t for k, t in s.items() if k != "bn1.running_var"}, "lacks bn1.running_var (1 of "),
    "extra": (changed("layer1.0.bn9.weight", torch.ones(8)), "contains layer1.0.bn9.weight (1 tensors too many)"),
    "another shape": (changed("bn1.weight", torch.ones(5)), "bn1.weight is (5,), wanted ("),
    "another depth": (
        lambda s: s | {k.replace("layer4.0", "layer4.1"): t for k, t in s.items() if k.startswith("layer4.0")},
        "contains layer4.1.",
    ),
    "quantised": (changed("bn1.weight", torch.ones(32, dtype=torch.int8)), "bn1.weight is int8, wanted float16"),
    "not finite": (
        changed("bn1.running_mean", torch.full((32,), torch.nan)),
        "running_mean contains NaN or infinity",
    ),
    "under a prefix": (lambda s: {f"module.{k}": t for k, t in s.items()}, "lacks bn1."),
}


@pytest.mark.parametrize("change", STRICT)
def test_a_wrong_file_is_refused_by_the_tensor_that_is_wrong(hub: Path, tmp_path: Path, change: str) -> None:
    """Nothing is loaded in part; the message states how to get the right one."""
    alter, line = STRICT[change]
    cache(
        hub, "timm/test_resnet.r160_in1k", {"model.safetensors": published(network_of("test_resnet"), tmp_path, alter)}
    )
    with pytest.raises(WeightsError) as caught:
        load(*parse("timm:test_resnet.r160_in1k"), "cpu")
    assert line in str(caught.value)
    assert "get it again: embstore backbones fetch timm:test_resnet.r160_in1k" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_permuted_and_half_precision_tensors_are_the_same_network(hub: Path, tmp_path: Path) -> None:
    """The order in a file means nothing, and float16 is read as float32."""
    network = network_of("test_resnet").half().float()
    order = published(
        network, tmp_path, lambda s: {k: s[k].half() if s[k].is_floating_point() else s[k] for k in sorted(s)[::-1]}
    )
    cache(hub, "timm/test_resnet.r160_in1k", {"model.safetensors": order})
    result = load(*parse("timm:test_resnet.r160_in1k"), "cpu")(crops())
    network.reset_classifier(0)
    with torch.inference_mode():
        wanted = network(shown(parse("timm:test_resnet.r160_in1k")[0], crops())).numpy()
    np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_a_repository_that_timm_wrote_is_read_by_its_config(hub: Path, tmp_path: Path) -> None:
    """Architecture, its arguments, input size, mean and sd are those of config.json; a ViT is one among them."""
    network = network_of("test_vit", img_size=96, num_classes=7)
    own = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "license": "mit"}
    config = {"architecture": "test_vit", "num_classes": 7, "model_args": {"img_size": 96}, "pretrained_cfg": own}
    cache(
        hub,
        "lab/cell-vit",
        {"config.json": json.dumps(config).encode(), "model.safetensors": published(network, tmp_path)},
    )
    backbone, choices = parse("timm:hf-hub:lab/cell-vit:replication")
    assert (backbone.name, backbone.kind, choices.strategy) == ("timm:hf-hub:lab/cell-vit", "vit", "replication")
    assert (backbone.input_px, backbone.mean, backbone.licence, backbone.hub) == (
        96,
        (0.1, 0.2, 0.3),
        "mit",
        "lab/cell-vit",
    )
    network.reset_classifier(0)
    with torch.inference_mode():
        wanted = network.forward_features(shown(backbone, crops(px=96)))[:, 0].numpy()
    np.testing.assert_allclose(load(backbone, Choices(), "cpu")(crops(px=96)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("timm:swin_tiny_patch4_window7_224.ms_in1k", "neither a plain vision transformer nor a convolutional network"),
        ("timm:mixer_b16_224.goog_in21k", "give it to es.embed(store, encoder=network, ...)"),
        ("timm:resnet5", "there is no network 'resnet5' in timm; the nearest of"),
        ("timm:test_resnet.r160_in1k:pooling=cls", "'cls'; choose from: global"),
        ("timm:hf-hub:lab", "'lab' is no repository of the Hub; wanted timm:hf-hub:USER/NAME"),
        ("timm:hf-hub:lab/../x", "is no repository of the Hub"),
        ("timm:hf-hub:lab/absent", "cannot get config.json of https://huggingface.co/lab/absent"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line(spec: str, line: str) -> None:
    """Another kind of network, a wrong name, pooling or repository."""
    with pytest.raises(EmbstoreError) as caught:
        parse(spec)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (b"{", "cannot be read"),
        (b"[]", "is no object"),
        (b'{"architecture": "lstm"}', "names the architecture 'lstm', which timm does not have"),
        (b'{"model_type": "vit"}', "names the architecture None"),
        (b'{"architecture": "test_resnet", "input_size": [5, 96, 96]}', "takes 5 channels"),
        (b'{"architecture": "test_resnet", "model_args": {"no_such": 1}}', "timm cannot build test_resnet"),
    ],
)
def test_a_repository_of_another_kind_is_one_line(hub: Path, config: bytes, line: str) -> None:
    """A config.json that timm did not write, or of a network that cannot be shown RGB."""
    cache(hub, "lab/other", {"config.json": config})
    with pytest.raises(EmbstoreError) as caught:
        parse("timm:hf-hub:lab/other")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
