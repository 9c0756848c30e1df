"""The head `knn`: a vote of the most similar training units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from embstore_bench.heads.choosing import choose
from embstore_bench.heads.recipe import Candidate, ChosenParams, Classifier, Fold, Head, Matrix, Scorer
from embstore_bench.heads.scaling import PREPROCESSING, of_length_one
from embstore_bench.metrics import BoolArray
from embstore_bench.thresholds import Scores


class KnnParams(TypedDict):
    """What the results of the k-NN head depend on."""

    k: list[int]
    temperature: float
    preprocessing: list[str]


# DINO's k-NN evaluation: Caron et al. 2021
KNN: KnnParams = {"k": [10, 20, 100, 200], "temperature": 0.07, "preprocessing": list(PREPROCESSING)}
KNN_ROWS_AT_ONCE = 1024  # rows whose similarities are in memory at once


def fit_knn(fold: Fold) -> Classifier:
    """Return the weighted vote of the most similar units: p_c = sum(w y_c) / sum(w), w = exp(similarity / 0.07).

    The number of neighbours, and whether vectors are standardised first, are chosen on validation; then all units
    except those of the test fold vote.
    """
    return choose(_candidates(fold), fold)


def _candidates(fold: Fold) -> Iterator[Candidate]:
    Y = fold.Y_train.astype(np.float32)
    for preprocessing in PREPROCESSING:
        scale = of_length_one(preprocessing, fold.X_train)
        for k, scores in _votes(scale(fold.X_validation), scale(fold.X_train), Y, KNN["k"]).items():

            def refit(
                X: Matrix, Y: BoolArray, k: int = k, preprocessing: str = preprocessing
            ) -> tuple[Scorer, ChosenParams]:
                return _scorer(X, Y, k, preprocessing), {}

            yield Candidate({"k": k, "preprocessing": preprocessing}, scores, refit)


def _scorer(X_train: Matrix, Y_train: BoolArray, k: int, preprocessing: str) -> Scorer:
    scale = of_length_one(preprocessing, X_train)
    train, Y = scale(X_train), Y_train.astype(np.float32)
    return lambda X: _votes(scale(X), train, Y, [k])[min(k, len(train))]


def _votes(X: Matrix, train: Matrix, Y: Matrix, ks: list[int]) -> dict[int, Scores]:
    """Return k -> scores (n, classes) for vectors X (n, dim) and train (m, dim), both of length 1; m for larger k."""
    ks = sorted({min(k, len(train)) for k in ks})
    voted = {k: np.empty((len(X), Y.shape[1]), dtype=np.float32) for k in ks}
    for start in range(0, len(X), KNN_ROWS_AT_ONCE):
        similarity = X[start : start + KNN_ROWS_AT_ONCE] @ train.T
        near = np.argpartition(-similarity, ks[-1] - 1, axis=1)[:, : ks[-1]]
        near_similarity = np.take_along_axis(similarity, near, axis=1)
        order = np.argsort(-near_similarity, axis=1, kind="stable")
        near, near_similarity = np.take_along_axis(near, order, 1), np.take_along_axis(near_similarity, order, 1)
        # divided by exp(1 / temperature), which cancels, so that nothing overflows
        weight = np.exp((near_similarity - 1) / np.float32(KNN["temperature"]))
        for k in ks:
            share = weight[:, :k] / weight[:, :k].sum(axis=1, keepdims=True)
            voted[k][start : start + KNN_ROWS_AT_ONCE] = np.einsum("nk,nkc->nc", share, Y[near[:, :k]])
    return {k: np.clip(scores, 0, 1) for k, scores in voted.items()}


HEAD_KNN = Head("knn", KNN, fit_knn)
