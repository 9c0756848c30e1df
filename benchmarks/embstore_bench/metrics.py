"""Every number of a score, from one array of counts: true positives, false positives, false negatives (only NumPy).

Counts are float64 (..., classes, 3) in the order tp, fp, fn; with groups (..., groups, classes, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
GroupIndex = npt.NDArray[np.int64]  # (n,): the index of each unit's group
Statistic = Callable[[Counts, float], npt.NDArray[np.float64]]

RESAMPLES = 2000
RESAMPLE_SEED = 0
RESAMPLES_AT_ONCE = 250  # in memory as float64
INTERVAL = (2.5, 97.5)  # percentiles: a 95 % interval


@dataclass(frozen=True)
class Summary:
    """A figure over split seeds: mean, sd over seeds (ddof 1; None with one), 95 % bootstrap interval over groups."""

    mean: float
    sd: float | None
    low: float
    high: float


def group_counts(predicted: BoolArray, actual: BoolArray, group_index: GroupIndex, n_groups: int) -> Counts:
    """Return tp, fp, fn of each group and class, (groups, classes, 3), from (n, classes) predictions and truth."""
    hits = np.stack([predicted & actual, predicted & ~actual, ~predicted & actual], axis=-1)  # (n, classes, 3)
    counts = np.zeros((n_groups, *hits.shape[1:]))
    np.add.at(counts, group_index, hits)
    return counts


def f1(counts: Counts, absent: float = 0.0) -> npt.NDArray[np.float64]:
    """Return 2 tp / (2 tp + fp + fn), (..., classes), from counts (..., classes, 3); `absent` if tp + fn = 0."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    scores: npt.NDArray[np.float64] = np.divide(
        2 * tp, 2 * tp + fp + fn, out=np.full(tp.shape, absent), where=tp + fn > 0
    )
    return scores


def macro_f1(counts: Counts, absent: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the unweighted mean of the F1 of every declared class, (...), from counts (..., classes, 3).

    Classes without any prediction are included. With `absent` nan, a class without positives is left out of the mean,
    which is nan if no class has any.
    """
    values = f1(counts, absent)
    n = np.isfinite(values).sum(axis=-1)
    mean: npt.NDArray[np.float64] = np.divide(np.nansum(values, axis=-1), n, out=np.full(n.shape, np.nan), where=n > 0)
    return mean


def micro_f1(counts: Counts, absent: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the F1 of the counts (..., classes, 3) summed over classes, (...): every decision has the same weight."""
    return f1(counts.sum(axis=-2), absent)


def accuracy(counts: Counts, absent: float = 0.0) -> npt.NDArray[np.float64]:
    """Return the share of units whose only location is predicted: tp / (tp + fn) of counts (..., classes, 3),
    summed.
    """
    tp, _, fn = np.moveaxis(counts.sum(axis=-2), -1, 0)
    share: npt.NDArray[np.float64] = np.divide(tp, tp + fn, out=np.full(tp.shape, absent), where=tp + fn > 0)
    return share


@dataclass(frozen=True)
class Pooled:
    """Counts pooled over groups, (seeds, classes, 3), and over each resample, (RESAMPLES, seeds, classes, 3)."""

    observed: Counts
    resampled: Counts


def pool_groups(counts: Counts) -> Pooled:
    """Return the pooled counts of (seeds, groups, classes, 3); all seeds share the resamples of groups."""
    seeds, groups, classes, _ = counts.shape
    flat = counts.transpose(1, 0, 2, 3).reshape(groups, -1)  # (groups, seeds x classes x 3)
    drawn = resamples(groups)
    starts = range(0, RESAMPLES, RESAMPLES_AT_ONCE)
    totals = [drawn[i : i + RESAMPLES_AT_ONCE].astype(np.float64) @ flat for i in starts]
    return Pooled(counts.sum(axis=1), np.concatenate(totals).reshape(-1, seeds, classes, 3))


@lru_cache(maxsize=1)  # every entry of a bench has the same groups
def resamples(groups: int) -> npt.NDArray[np.uint16]:
    """Return how often each group is in each resample, (RESAMPLES, groups): as many draws, with replacement."""
    rng = np.random.default_rng(RESAMPLE_SEED)
    drawn = [np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(RESAMPLES)]
    return np.array(drawn, dtype=np.uint16)


def summarise(pooled: Pooled, statistic: Statistic) -> list[Summary]:
    """Return a summary of each value of the statistic: one for macro F1, one per class for F1.

    The interval resamples groups over the pooled out-of-fold predictions, conditional on the fitted heads. The mean is
    over all declared classes; a resample without a positive of a class contains no information on it, so the class is
    left out there. Counting it as 0 would pull the interval down for small classes: a perfect classifier of 12 classes
    with 3 proteins each would get 0.83 to 1 instead of 1 to 1.
    """
    per_seed = _columns(statistic(pooled.observed, 0.0))  # (seeds, values)
    # over seeds, which share positives: (RESAMPLES,) or (RESAMPLES, values)
    resampled = _columns(statistic(pooled.resampled, np.nan).mean(axis=1))
    resampled[:, np.isnan(resampled).all(axis=0)] = 0  # a class without any positive
    low, high = np.nanpercentile(resampled, INTERVAL, axis=0)
    sd = per_seed.std(axis=0, ddof=1) if len(per_seed) > 1 else [None] * per_seed.shape[1]
    return [
        Summary(float(m), None if s is None else float(s), float(a), float(b))
        for m, s, a, b in zip(per_seed.mean(axis=0), sd, low, high, strict=True)
    ]


def _columns(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values[:, None] if values.ndim == 1 else values
