"""Every figure against the slow obvious way and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from embstore_bench.metrics import f1, group_counts, macro_f1, micro_f1, pool_groups, resamples, summarise

N, CLASSES, GROUPS = 30, 4, 6
bools = arrays(bool, (N, CLASSES))
indices = arrays(np.int64, N, elements=st.integers(0, GROUPS - 1))


@given(bools, bools, indices)
def test_counts_are_what_a_loop_counts(predicted: np.ndarray, actual: np.ndarray, groups: np.ndarray) -> None:
    """Each unit adds to its own group's tp, fp or fn, and true negatives add to nothing."""
    slow = np.zeros((GROUPS, CLASSES, 3))
    for i in range(N):
        for c in range(CLASSES):
            kind = {(True, True): 0, (True, False): 1, (False, True): 2}.get((predicted[i, c], actual[i, c]))
            if kind is not None:
                slow[groups[i], c, kind] += 1
    np.testing.assert_array_equal(group_counts(predicted, actual, groups, GROUPS), slow)


@given(bools, bools, indices)
def test_macro_micro_and_class_f1_are_scikit_learns(
    predicted: np.ndarray, actual: np.ndarray, groups: np.ndarray
) -> None:
    """Pooling counts over groups gives the F1 of all units; a class that is nowhere scores 0."""
    pooled = group_counts(predicted, actual, groups, GROUPS).sum(axis=0)
    options = {"zero_division": 0}
    assert macro_f1(pooled) == pytest.approx(f1_score(actual, predicted, average="macro", **options))
    assert micro_f1(pooled) == pytest.approx(f1_score(actual, predicted, average="micro", **options))
    np.testing.assert_allclose(f1(pooled), f1_score(actual, predicted, average=None, **options))


def slow_f1(actual: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * np.sum(actual & predicted) / (np.sum(actual) + np.sum(predicted)))


def test_the_interval_is_what_resampling_whole_groups_by_hand_gives() -> None:
    """The interval repeats the units of drawn groups, in all seeds alike, and reads the 2.5 and 97.5 percentiles; a
    class that the drawn units lack is left out of their mean."""
    rng = np.random.default_rng(1)
    actual, groups = rng.random((N, CLASSES)) < 0.4, rng.integers(0, GROUPS, N)
    actual[:, 0] = groups == 2  # a class of one group, absent from a third of the resamples
    predicted = rng.random((2, N, CLASSES)) < 0.5  # two seeds
    counts = np.stack([group_counts(p, actual, groups, GROUPS) for p in predicted])
    slow = []
    for times in resamples(GROUPS):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in np.repeat(np.arange(GROUPS), times)])
        contents = [c for c in range(CLASSES) if actual[rows, c].any()]
        slow.append(np.mean([slow_f1(actual[rows, c], p[rows, c]) for p in predicted for c in contents]))
    result = summarise(pool_groups(counts), macro_f1)[0]
    assert [result.low, result.high] == pytest.approx(list(np.percentile(slow, [2.5, 97.5])))
    seeds = [f1_score(actual, p, average="macro", zero_division=0) for p in predicted]
    assert (result.mean, result.sd) == (pytest.approx(np.mean(seeds)), pytest.approx(np.std(seeds, ddof=1)))


def test_a_perfect_classifier_has_no_doubt() -> None:
    """All right on 12 classes of 3 proteins each: the interval is 1 to 1, over all classes and of each, although many
    resamples lack a class."""
    actual = np.repeat(np.eye(12, dtype=bool), 3, axis=0)
    pooled = pool_groups(np.stack([group_counts(actual, actual, np.arange(36), 36)] * 2))
    for statistic in (macro_f1, micro_f1, f1):
        for result in summarise(pooled, statistic):
            assert (result.mean, result.low, result.high) == (1, 1, 1)


def test_a_class_that_is_nowhere_scores_zero() -> None:
    """A declared class without any positive counts as 0 in the point estimate, and its own interval is 0 to 0."""
    counts = np.zeros((1, 5, 2, 3))
    counts[0, :, 0, 0] = 1
    assert summarise(pool_groups(counts), macro_f1)[0].mean == 0.5
    assert [(s.mean, s.low, s.high) for s in summarise(pool_groups(counts), f1)] == [(1, 1, 1), (0, 0, 0)]


def test_one_seed_has_no_sd() -> None:
    """A spread over seeds needs two of them; with one it is empty, not zero."""
    counts = np.ones((1, GROUPS, CLASSES, 3))
    assert summarise(pool_groups(counts), macro_f1)[0].sd is None


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    """A resample is drawn with replacement: its size never changes, and it is the same on every call."""
    drawn = resamples(GROUPS)
    assert (drawn.sum(axis=1) == GROUPS).all()
    assert drawn.mean() == pytest.approx(1)
    resamples.cache_clear()
    np.testing.assert_array_equal(resamples(GROUPS), drawn)
