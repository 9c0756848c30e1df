"""The head `prototype`: the nearness of a vector to the mean of each location's units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from embstore_bench.heads.choosing import choose
from embstore_bench.heads.recipe import Candidate, ChosenParams, Classifier, Fold, Head, Matrix, Scorer
from embstore_bench.heads.scaling import PREPROCESSING, of_length_one
from embstore_bench.metrics import BoolArray
from embstore_bench.thresholds import Scores


class PrototypeParams(TypedDict):
    """What the results of the prototype head depend on."""

    preprocessing: list[str]


PROTOTYPE: PrototypeParams = {"preprocessing": list(PREPROCESSING)}


def fit_prototype(fold: Fold) -> Classifier:
    """Return the nearness to each class mean: 1 - (distance / 2)^2, of vectors of length 1; 0 for a class that no unit
    of train has, 1 for one that all have.

    Whether vectors are standardised first is chosen on validation. The most probable class is that of scikit-learn's
    NearestCentroid on the same vectors.
    """
    return choose(_candidates(fold), fold)


def _candidates(fold: Fold) -> Iterator[Candidate]:
    for preprocessing in PREPROCESSING:

        def refit(X: Matrix, Y: BoolArray, preprocessing: str = preprocessing) -> tuple[Scorer, ChosenParams]:
            return _scorer(X, Y, preprocessing), {}

        score = _scorer(fold.X_train, fold.Y_train, preprocessing)
        yield Candidate({"preprocessing": preprocessing}, score(fold.X_validation), refit)


def _scorer(X_train: Matrix, Y_train: BoolArray, preprocessing: str) -> Scorer:
    scale = of_length_one(preprocessing, X_train)
    counts = Y_train.sum(axis=0)
    sums = Y_train.T.astype(np.float64) @ scale(X_train)
    means = sums / np.maximum(counts, 1)[:, None]

    def score(X: Matrix) -> Scores:
        squares = 1 - 2 * scale(X) @ means.T + (means**2).sum(axis=1)
        nearness = np.where(counts > 0, np.clip(1 - squares / 4, 0, 1), 0)
        return np.where(counts == len(Y_train), 1, nearness).astype(np.float32)

    return score


HEAD_PROTOTYPE = Head("prototype", PROTOTYPE, fit_prototype)
