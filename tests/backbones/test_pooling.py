"""Pooling, against numpy on the same tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embstore.backbones.pooling import check_pooling, pool_tokens
from embstore.errors import EmbstoreError

TOKENS = torch.from_numpy(np.random.default_rng(3).normal(size=(2, 1 + 4 + 9, 5)).astype(np.float32))


@pytest.mark.parametrize("n_prefix", [1, 5])
def test_mean_std_and_max_are_over_patches_alone(n_prefix: int) -> None:
    """CLS is the first token; CLS and registers have no part in the rest; parts follow each other by name."""
    cls, patches = TOKENS.numpy()[:, 0], TOKENS.numpy()[:, n_prefix:]
    mean, std, most = patches.mean(axis=1), patches.std(axis=1), patches.max(axis=1)
    for pooling, wanted in {
        "cls": [cls],
        "mean": [mean],
        "cls+mean": [cls, mean],
        "cls+mean+std+max": [cls, mean, std, most],
    }.items():
        np.testing.assert_allclose(pool_tokens(TOKENS, n_prefix, pooling), np.concatenate(wanted, axis=1), atol=1e-6)


def test_a_single_patch_has_no_spread_and_no_nan() -> None:
    """The standard deviation is the population's."""
    assert pool_tokens(TOKENS[:, :2], 1, "cls+mean+std+max")[:, 10:15].abs().max() == 0


def test_a_network_without_a_cls_token_is_refused() -> None:
    """One line that names the pooling to use."""
    check_pooling("mean", 0, "nameless")
    with pytest.raises(EmbstoreError, match=r"nameless has no CLS token, which pooling=cls\+mean asks for"):
        check_pooling("cls+mean", 0, "nameless")
