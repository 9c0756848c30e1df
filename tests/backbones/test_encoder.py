"""The channel strategies, against tensors built by hand and timm's network called directly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from embstore.backbones.crops import CropEncoder, Crops
from embstore.backbones.encoder import load
from embstore.backbones.network import build
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.backbones.weights import random_weights
from embstore.errors import EmbstoreError, WeightsError

PX = 224
Forward = Callable[[np.ndarray], np.ndarray]
RED, GREEN, BLUE = (0.485, 0.229), (0.456, 0.224), (0.406, 0.225)  # ImageNet's mean and sd, torchvision

pytestmark = pytest.mark.usefixtures("one_thread")


def crops_of(pixels: np.ndarray, roles: tuple[str, ...]) -> Crops:
    none = np.zeros((len(pixels), *pixels.shape[2:]), bool)
    return Crops(pixels.astype(np.float32), roles, none, none)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Two crops of two channels with structure, (2, 2, 224, 224)."""
    coarse = np.random.default_rng(1).uniform(size=(2, 2, 28, 28))
    return np.kron(coarse, np.ones((8, 8))).astype(np.float32)


@pytest.fixture(scope="module")
def mapping() -> CropEncoder:
    return load(BACKBONES["vit-random"], Choices())


@pytest.fixture(scope="module")
def oracle() -> Forward:
    """timm's network with the weights of vit-random, called on what it is shown (n, 3, y, x)."""
    import torch

    network = build(BACKBONES["vit-random"]).eval()
    drawn = random_weights({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in drawn.items()})

    def forward(shown: np.ndarray) -> np.ndarray:
        with torch.inference_mode():  # the first token, after the last norm, is the CLS token
            tokens: np.ndarray = network.forward_features(torch.from_numpy(shown)).numpy()
        return tokens[:, 0]

    return forward


def normalised(plane: np.ndarray, constants: tuple[float, float]) -> np.ndarray:
    return ((plane - constants[0]) / constants[1]).astype(np.float32)


def test_mapping_puts_each_role_in_its_slot_and_fills_the_rest(
    mapping: CropEncoder, pixels: np.ndarray, oracle: Forward
) -> None:
    """Protein goes to green, the nucleus to blue, and the missing microtubules are 0 after normalisation."""
    shown = np.zeros((2, 3, PX, PX), np.float32)
    shown[:, 1], shown[:, 2] = normalised(pixels[:, 1], GREEN), normalised(pixels[:, 0], BLUE)
    result = mapping(crops_of(pixels, ("nucleus", "protein")))
    np.testing.assert_allclose(result, oracle(shown), atol=1e-5)
    assert result.dtype == np.float32
    assert result.shape == (2, mapping.dim) == (2, 384)


def test_the_order_of_channels_and_roles_it_does_not_know_change_nothing(
    mapping: CropEncoder, pixels: np.ndarray
) -> None:
    """Roles, not positions, decide; an ER channel has no slot."""
    swapped = np.concatenate([pixels[:, ::-1], pixels[:, :1]], axis=1)
    result = mapping(crops_of(swapped, ("protein", "nucleus", "er")))
    np.testing.assert_array_equal(result, mapping(crops_of(pixels, ("nucleus", "protein"))))


def test_microtubules_are_red(mapping: CropEncoder, pixels: np.ndarray, oracle: Forward) -> None:
    """A third channel takes the first slot."""
    shown = np.stack([normalised(pixels[:, 1], RED), normalised(pixels[:, 0], GREEN), np.zeros_like(pixels[:, 0])], 1)
    result = mapping(crops_of(pixels, ("protein", "microtubules")))
    np.testing.assert_allclose(result, oracle(shown), atol=1e-5)


def test_replication_shows_each_role_alone_and_concatenates_in_order(pixels: np.ndarray, oracle: Forward) -> None:
    """The first 384 numbers are the nucleus in all slots, the next the protein; an absent role is the fill."""
    encoder = load(BACKBONES["vit-random"], Choices("replication"))
    shown = [np.stack([normalised(pixels[:, i], c) for c in (RED, GREEN, BLUE)], 1) for i in (0, 1)]
    wanted = np.concatenate([oracle(view) for view in shown], axis=1)
    np.testing.assert_allclose(encoder(crops_of(pixels, ("nucleus", "protein"))), wanted, atol=1e-5)
    assert encoder.dim == 768
    assert encoder.space.roles == ("nucleus", "protein")
    alone = encoder(crops_of(pixels[:, 1:], ("protein",)))
    np.testing.assert_allclose(alone[:, :384], oracle(np.zeros((2, 3, PX, PX), np.float32)), atol=1e-5)
    np.testing.assert_allclose(alone[:, 384:], wanted[:, 384:], atol=1e-5)


def test_fill_and_listed_roles_are_options_and_part_of_the_space(pixels: np.ndarray, oracle: Forward) -> None:
    """A fill of 0.5 is shown as it is, after normalisation, and makes another space."""
    encoder = load(BACKBONES["vit-random"], Choices("replication", ("er", "protein"), fill=0.5))
    result = encoder(crops_of(pixels[:1, 1:], ("protein",)))
    np.testing.assert_allclose(result[:, :384], oracle(np.full((1, 3, PX, PX), 0.5, np.float32)), atol=1e-5)
    assert encoder.space.roles == ("er", "protein")
    assert encoder.space.fill == 0.5


def test_a_vector_does_not_depend_on_the_batch_it_came_in(mapping: CropEncoder) -> None:
    """One crop embedded alone, among 7 and among 17 (two batches) points the same way."""
    many = np.random.default_rng(2).uniform(size=(17, 2, PX, PX)).astype(np.float32)
    alone, seven, all_17 = (mapping(crops_of(many[:n], ("nucleus", "protein"))) for n in (1, 7, 17))
    for other in (seven[0], all_17[0]):
        assert other @ alone[0] / np.linalg.norm(other) / np.linalg.norm(alone[0]) >= 0.99999
    assert mapping(crops_of(many[:0], ("nucleus", "protein"))).shape == (0, 384)


def test_crops_that_cannot_be_shown_are_refused_in_one_line(mapping: CropEncoder, pixels: np.ndarray) -> None:
    """Another size, and crops without a role that the network knows."""
    with pytest.raises(EmbstoreError, match="crops are 96 x 96 px and vit-random wants 224 x 224; resize them"):
        mapping(crops_of(pixels[:, :, :96, :96], ("nucleus", "protein")))
    with pytest.raises(EmbstoreError, match="it has er and vit-random uses microtubules, protein, nucleus"):
        mapping(crops_of(pixels[:, :1], ("er",)))
    with pytest.raises(EmbstoreError, match="name each role once"):
        load(BACKBONES["vit-random"], Choices("replication", ("protein", "protein")))


def test_weights_that_are_not_the_pinned_ones_are_refused() -> None:
    """A record that pins other weights does not load these."""
    other = dataclasses.replace(BACKBONES["vit-random"], weights_sha256="0" * 64)
    with pytest.raises(WeightsError, match="vit-random revision 1 has weights bbf87f6a3441, its record pins 0000"):
        load(other, Choices())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"pixels": np.zeros((1, 2, 8, 8))}, "wanted float32"),
        ({"pixels": np.zeros((2, 8, 8), np.float32)}, "wanted float32"),
        ({"pixels": np.zeros((1, 2, 8, 9), np.float32)}, "a mask is bool .* wanted bool"),
        ({"roles": ("nucleus",)}, "one role for each"),
        ({"roles": ("nucleus", "nucleus")}, "one role for each"),
        ({"cell": np.zeros((1, 8, 8), np.uint8)}, "a mask is uint8"),
        ({"nucleus": np.zeros((2, 8, 8), bool)}, "wanted bool"),
    ],
)
def test_crops_are_checked_when_they_are_made(change: dict[str, object], line: str) -> None:
    """Types and shapes that disagree never reach a network."""
    good = crops_of(np.zeros((1, 2, 8, 8)), ("nucleus", "protein"))
    assert len(good) == 1
    with pytest.raises(EmbstoreError, match=line):
        dataclasses.replace(good, **change)
