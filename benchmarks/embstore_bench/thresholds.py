"""Turn scores into yes or no by thresholds that are chosen on validation, never on test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embstore_bench.metrics import BoolArray, Counts, GroupIndex, macro_f1

Scores = npt.NDArray[np.float32]

MIN_POSITIVE_GROUPS = 5  # with fewer, a class's own threshold would be fitted to a handful of proteins
GLOBAL_CANDIDATES = 200
EVEN_ODDS = 0.5
THRESHOLD_PARTS = 5  # of validation, to judge thresholds on groups that they were not chosen on


def choose_thresholds(scores: Scores, actual: BoolArray, group_index: GroupIndex) -> Scores:
    """Return one threshold per class, float32 (classes,), that maximises validation's F1; yes is score >= threshold.

    A class with at least 5 positive groups has its own; the others share one, the best for the macro F1 of all classes
    in validation. `scores` and `actual` are (n, classes), `group_index` (n,).
    """
    chosen = np.full(scores.shape[1], _shared_threshold(scores, actual), dtype=np.float32)
    for c in range(scores.shape[1]):
        if len(np.unique(group_index[actual[:, c]])) >= MIN_POSITIVE_GROUPS:
            chosen[c] = best_cut(scores[:, c], actual[:, c])
    return chosen


def tuned_on_others(scores: Scores, actual: BoolArray, group_index: GroupIndex) -> BoolArray:
    """Return yes or no, (n, classes), for each group by thresholds that were chosen on the other parts' groups.

    This shows how good chosen thresholds are on units that they were not chosen on. Groups are dealt into five parts.
    """
    part = np.unique(group_index, return_inverse=True)[1].reshape(-1) % THRESHOLD_PARTS
    predicted = np.zeros(actual.shape, dtype=bool)
    for own in (part == at for at in range(THRESHOLD_PARTS)):
        if own.any() and not own.all():
            thresholds = choose_thresholds(scores[~own], actual[~own], group_index[~own])
            predicted[own] = scores[own] >= thresholds
    return predicted


def best_cut(scores: Scores, actual: BoolArray) -> float:
    """Return the threshold of the largest F1 of one class, scores (n,), midway between two scores; the highest of
    equals.

    If float32 has no number between the two, it is the upper one: their middle would be rounded to the lower one, and
    admit it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order].astype(np.float64), np.cumsum(actual[order])
    # predicting the first i + 1; a threshold fits between two scores only if the next one is lower
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    best = ends[np.argmax(2 * hits[ends] / (ends + 1 + hits[-1]))]
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    middle = float(np.float32((ranked[best] + below) / 2))
    return middle if middle > below else float(ranked[best])


def _shared_threshold(scores: Scores, actual: BoolArray) -> float:
    present = actual.any(axis=0)
    if not present.any():
        return EVEN_ODDS
    scores, actual = scores[:, present], actual[:, present]
    candidates = np.unique(np.quantile(scores, np.linspace(0, 1, GLOBAL_CANDIDATES)).astype(np.float32))
    macro = macro_f1(np.stack([_counts_at(s, a, candidates) for s, a in zip(scores.T, actual.T, strict=True)], axis=1))
    return float(candidates[len(macro) - 1 - int(np.argmax(macro[::-1]))])  # the highest of equals


def _counts_at(scores: Scores, actual: BoolArray, candidates: Scores) -> Counts:
    """Return tp, fp, fn of one class at each candidate threshold, (candidates, 3)."""
    # of scores in ascending order, those from the first that reaches the threshold on are predicted
    reaching = len(scores) - np.searchsorted(np.sort(scores), candidates)
    hits = actual.sum() - np.searchsorted(np.sort(scores[actual]), candidates)
    return np.stack([hits, reaching - hits, actual.sum() - hits], axis=-1).astype(np.float64)
