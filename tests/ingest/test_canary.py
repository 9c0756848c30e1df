"""Canaries: a space keeps what its encoder made of two drawn cells, and refuses an encoder that makes another thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.errors import EmbstoreError
from embstore.ingest.canary import GOLDEN_ROLES, canary_vectors, check_canary, golden_crops


def test_golden_crops_are_two_cells_in_every_role() -> None:
    """Drawn without randomness, in [0, 1], each nucleus inside its cell, the two different in place and size."""
    for px in (96, 224):
        crops = golden_crops(px)
        assert crops.pixels.shape == (2, len(GOLDEN_ROLES), px, px)
        assert crops.roles == GOLDEN_ROLES
        assert crops.pixels.min() >= 0
        assert crops.pixels.max() <= 1
        assert not (crops.nucleus & ~crops.cell).any()
        assert crops.nucleus[0].sum() > 2 * crops.nucleus[1].sum() > 0
        np.testing.assert_array_equal(crops.pixels, golden_crops(px).pixels)
        inside = [crops.pixels[i, 0][crops.nucleus[i]].mean() for i in range(2)]
        outside = [crops.pixels[i, 0][~crops.cell[i]].mean() for i in range(2)]
        assert min(inside) > 0.3 > max(outside)


def test_the_same_encoder_passes() -> None:
    """An encoder loaded again gives the golden vectors again, also after a rounding to float32 text."""
    vectors = canary_vectors(load(BACKBONES["pixel-stats"], Choices()))
    assert vectors.shape == (2, 90)
    assert np.isfinite(vectors).all()
    check_canary("pixel-stats", vectors.ravel().tolist(), canary_vectors(load(BACKBONES["pixel-stats"], Choices())))
    noise = np.random.default_rng(0).normal(0, 1e-4, vectors.shape).astype(np.float32)
    check_canary("pixel-stats", vectors.ravel().tolist(), vectors + noise)


def test_an_encoder_that_drifted_is_refused() -> None:
    """Another brightness, swapped cells, noise or not-a-number are refused with the cosine that was found."""
    encoder = load(BACKBONES["pixel-stats"], Choices())
    vectors = canary_vectors(encoder)
    crops = golden_crops(96)
    dimmer: Crops = replace(crops, pixels=crops.pixels**2)
    for drifted in (
        encoder(dimmer),
        vectors[::-1],
        vectors + 0.1,
        np.full_like(vectors, np.nan),
        np.zeros_like(vectors),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(EmbstoreError, match="golden crops agree to cosine"):
            check_canary("pixel-stats:mapping", vectors.ravel().tolist(), drifted)
