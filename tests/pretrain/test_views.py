"""Views of crops are random, standardised, and cut from the right place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embstore.backbones.normalise import normalise
from embstore.pretrain.recipe import Recipe
from embstore.pretrain.views import bright_log, random_views

PLAIN = Recipe(size="micro", patch_px=8, input_px=32, global_px=32, local_px=16, gamma=0, blur=0, noise=0)


def crops(n: int = 6) -> torch.Tensor:
    """Smooth random pictures, uint8 (n, 2, 40, 40)."""
    grid = np.random.default_rng(0).normal(size=(n, 2, 8, 8))
    fine = np.kron(grid, np.ones((5, 5)))
    return torch.from_numpy(((fine - fine.min()) / np.ptp(fine) * 255).astype(np.uint8))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_views_and_another_one_others() -> None:
    """Views depend on the generator alone, so that a resumed training sees what it would have seen."""
    first, again, other = (random_views(crops(), Recipe(global_px=32), (0.7, 1.0), 32, generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


def test_a_view_of_all_that_is_shown_is_a_turned_or_flipped_middle() -> None:
    """At scale 1 without shifts or effects a radially symmetric crop stays what its middle is."""
    y, x = np.mgrid[:80, :80] - 39.5
    disc = np.clip(30 - np.hypot(y, x), 0, 20) * 12
    pictures = torch.from_numpy(np.stack([disc, disc[::-1]])[None].astype(np.uint8))
    recipe = replace(PLAIN, input_px=64)
    middle = bright_log(pictures[:, :, 8:72, 8:72].float() / 255)
    seen = [random_views(pictures, recipe, (1.0, 1.0), 64, generator(seed)) for seed in range(8)]
    # turns about the centre change nothing; what is left is the shift, at most 0.08 of the cut half-width
    assert max(float((view - middle).abs().mean()) for view in seen) < 0.5
    assert min(float((view - middle).abs().mean()) for view in seen) < 0.12


def test_small_views_come_from_inside_the_crop() -> None:
    """A small view of a crop that is bright everywhere it is shown never meets the black outside."""
    bright = torch.full((64, 1, 40, 40), 200, dtype=torch.uint8)
    bright[:, :, ::2] = 210  # something to standardise
    views = random_views(bright, replace(PLAIN, roles=("protein",)), (0.3, 0.5), 16, generator(0))
    assert float(views.min()) > -3  # a black corner would lie many sd below


def test_each_channel_is_standardised_and_a_blank_one_stays_blank() -> None:
    """bright_log gives mean 0 and sd 1 below the bend, exactly zero for a blank channel, and bends what is brighter."""
    random = generator(0)
    shown = torch.rand((3, 2, 16, 16), generator=random)
    shown[:, 1] = 0.5
    z = bright_log(shown)
    assert torch.allclose(z[:, 0].mean((1, 2)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(z[:, 0].std((1, 2), unbiased=False), torch.ones(3), atol=0.01)
    assert torch.count_nonzero(z[:, 1]) == 0
    spot = torch.zeros(1, 1, 16, 16)
    spot[0, 0, 8, 8] = 1.0
    plain = (spot - spot.mean()) / (spot.std(unbiased=False) + 1e-3)
    assert float(bright_log(spot).max()) == pytest.approx(2 + 2 * np.log(float(plain.max()) / 2), rel=1e-4)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*(st.integers(1, n) for n in (4, 3, 24, 24))),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 8),
)
def test_training_and_embedding_normalise_alike(
    seed: int, shape: tuple[int, int, int, int], low: float, spread: float, power: int
) -> None:
    """What the network sees while it learns, from torch, is what the encoder of its record shows it, from NumPy."""
    drawn = np.random.default_rng(seed).random(shape, np.float32) ** power  # the higher, the fewer bright spots
    shown = (low + (1 - low) * spread * drawn).astype(np.float32)
    # a mean is rounded by some 1e-7, and at least 1e-3 is what it is divided by
    np.testing.assert_allclose(bright_log(torch.from_numpy(shown)).numpy(), normalise(shown, "bright-log"), atol=1e-3)
