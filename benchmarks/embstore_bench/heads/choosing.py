"""Choose the setting of a head, and how its scores become answers, on validation; then fit it again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from embstore_bench.heads.recipe import AT_EVEN_ODDS, MOST_PROBABLE, TUNED, Candidate, Classifier, Fold, answers
from embstore_bench.metrics import BoolArray, group_counts, macro_f1
from embstore_bench.thresholds import Scores, choose_thresholds, tuned_on_others


def choose(candidates: Iterable[Candidate], fold: Fold) -> Classifier:
    """Return the candidate with the largest validation macro F1, fitted again on train and validation together.

    If locations exclude each other, the most probable one is the answer. Otherwise thresholds are judged on validation
    groups that they were not tuned on, and are used if they are at least as good as 0.5 there.
    """
    judged = [(candidate, *_judged(candidate.scores, fold)) for candidate in candidates]
    best, value, decision = max(judged, key=lambda item: item[1])
    chosen = best.chosen | {"decision": decision, "validation_macro_f1": value}
    if best.at_edge and all(other < value for candidate, other, _ in judged if not candidate.at_edge):
        chosen |= {"at_edge": 1}
    X = np.concatenate([fold.X_train, fold.X_validation])
    scorer, details = best.refit(X, np.concatenate([fold.Y_train, fold.Y_validation]))
    thresholds = choose_thresholds(best.scores, fold.Y_validation, fold.groups_validation)
    return Classifier(scorer, thresholds, chosen | details, decision)


def _judged(scores: Scores, fold: Fold) -> tuple[float, str]:
    """Return the macro F1 on validation, and the decision that reaches it."""
    if fold.exclusive:
        return _macro_f1(answers(scores, scores[0], MOST_PROBABLE), fold.Y_validation), MOST_PROBABLE
    tuned = _macro_f1(tuned_on_others(scores, fold.Y_validation, fold.groups_validation), fold.Y_validation)
    even = _macro_f1(answers(scores, scores[0], AT_EVEN_ODDS), fold.Y_validation)
    return (tuned, TUNED) if tuned >= even else (even, AT_EVEN_ODDS)


def _macro_f1(predicted: BoolArray, actual: BoolArray) -> float:
    everyone = np.zeros(len(actual), dtype=np.int64)
    return float(macro_f1(group_counts(predicted, actual, everyone, 1))[0])
