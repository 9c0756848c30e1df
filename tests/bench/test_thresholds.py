"""Thresholds against trying every one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embstore_bench.thresholds import best_cut, choose_thresholds

scores = arrays(np.float32, 25, elements=st.sampled_from([np.float32(x / 10) for x in range(11)]))


def slow_f1(actual: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * np.sum(actual & predicted) / (np.sum(actual) + np.sum(predicted)))


@given(scores, arrays(bool, 25).filter(np.any))
def test_the_best_cut_is_the_best_of_all_cuts(result: np.ndarray, actual: np.ndarray) -> None:
    """No threshold at all has a larger F1 than the one chosen, ties between scores included."""
    every = [slow_f1(actual, result >= t) for t in np.linspace(0, 1.05, 22)]
    assert slow_f1(actual, result >= best_cut(result, actual)) == pytest.approx(max(every))


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_between_neighbouring_floats_keeps_the_lower_one_out(seed: int) -> None:
    """If float32 has no number between two scores, as k-NN's 1.0 and 0.99999994, only the upper one is predicted."""
    uppers = np.random.default_rng(seed).random(500, dtype=np.float32)
    for upper in (np.float32(1), *uppers[uppers > 0]):
        lower = np.nextafter(upper, np.float32(0))
        cut = choose_thresholds(np.array([[upper]] * 5 + [[lower]]), np.array([[True]] * 5 + [[False]]), np.arange(6))
        assert lower < cut[0] <= upper


def test_a_class_with_few_positive_proteins_shares_a_threshold() -> None:
    """Four positive proteins are too few for a threshold of one's own, five are enough; many cells do not help."""
    groups = np.repeat(np.arange(20), 5)
    actual = np.stack([groups < 5, groups < 4], axis=1)
    informative = np.where(actual, 0.9, 0.1).astype(np.float32)
    skewed = informative * np.array([1.0, 0.2], np.float32)  # the second class would want a threshold of about 0.1
    own, shared = choose_thresholds(skewed, actual, groups)
    assert own == pytest.approx(0.5)
    assert shared != pytest.approx((0.9 * 0.2 + 0.1 * 0.2) / 2)


def test_without_positives_the_threshold_is_one_half() -> None:
    """Validation without any positive contains no information, so even odds decide."""
    nothing = np.zeros((10, 2), dtype=bool)
    assert choose_thresholds(np.zeros((10, 2), np.float32), nothing, np.arange(10)).tolist() == [0.5, 0.5]


@given(
    arrays(np.float32, (25, 3), elements=st.sampled_from([np.float32(x / 10) for x in range(11)])),
    arrays(bool, (25, 3)),
)
def test_the_shared_threshold_is_the_best_of_the_scores(result: np.ndarray, actual: np.ndarray) -> None:
    """With one group nothing has a threshold of its own: all share the score that gives the largest macro F1."""
    present = actual.any(axis=0)
    if not present.any():
        return
    shared = choose_thresholds(result, actual, np.zeros(25, np.int64))

    def macro(t: float) -> float:
        return float(np.mean([slow_f1(actual[:, c], result[:, c] >= t) for c in np.flatnonzero(present)]))

    best = max(macro(t) for t in np.unique(result[:, present]))
    assert len(set(shared.tolist())) == 1
    assert macro(np.float32(shared[0])) == pytest.approx(best)
