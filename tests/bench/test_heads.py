"""Heads against loops written out and scikit-learn's own estimators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embstore_bench.heads import HEADS, Fold


def make_fold(*, exclusive: bool = False, seed: int = 0) -> tuple[Fold, np.ndarray]:
    """Return 120 train and 60 validation units in 4 classes with some signal, and 50 test vectors."""
    rng = np.random.default_rng(seed)
    Y = np.eye(4, dtype=bool)[rng.integers(0, 4, 180)] if exclusive else rng.random((180, 4)) < 0.3
    X = (rng.normal(size=(180, 8)) + Y @ rng.normal(0, 1.5, (4, 8))).astype(np.float32) * np.float32(30) + 5
    groups = np.arange(180) // 2
    fold = Fold(X[:120], Y[:120], X[120:], Y[120:], groups[120:])
    return fold, rng.normal(5, 40, (50, 8)).astype(np.float32)


def test_linear_scores_are_a_scikit_learn_pipelines() -> None:
    """At the C that validation chose, scores are those of a pipeline fitted from cold in float64."""
    fold, X = make_fold()
    fitted = HEADS["linear"].fit(fold)
    assert fitted.chosen["link"] == "one-vs-rest"
    model = LogisticRegression(C=fitted.chosen["C"], class_weight="balanced", tol=1e-8, max_iter=5000)
    for c in range(4):
        twin = make_pipeline(StandardScaler(), model).fit(fold.X_train.astype(float), fold.Y_train[:, c])
        np.testing.assert_allclose(fitted.scores(X)[:, c], twin.predict_proba(X.astype(float))[:, 1], atol=5e-3)


def test_linear_uses_the_multinomial_likelihood_only_where_locations_exclude_each_other() -> None:
    """Where one unit of train has two locations, one-vs-rest is the only link; else both are tried."""
    fold, X = make_fold(exclusive=True)
    chosen = HEADS["linear"].fit(fold)
    if chosen.chosen["link"] == "multinomial":
        np.testing.assert_allclose(chosen.scores(X).sum(axis=1), 1, atol=1e-5)
    links = {HEADS["linear"].fit(make_fold(exclusive=True, seed=s)[0]).chosen["link"] for s in range(6)}
    assert "multinomial" in links
    assert HEADS["linear"].fit(make_fold()[0]).chosen["link"] == "one-vs-rest"


@pytest.mark.parametrize("head", sorted(HEADS))
def test_a_class_that_train_lacks_scores_zero(head: str) -> None:
    """A location that no training protein has cannot be predicted; one that all have always is."""
    fold, X = make_fold()
    fold.Y_train[:, 1] = False
    fold.Y_train[:, 2] = True
    scores = HEADS[head].fit(fold).scores(X)
    assert (scores[:, 1] == 0).all()
    np.testing.assert_allclose(scores[:, 2], 1, atol=1e-6)


def test_knn_scores_are_a_weighted_vote_written_out() -> None:
    """p_c is sum(w y_c) / sum(w) over the k most similar training units, with w = exp(cosine / 0.07)."""
    fold, X = make_fold()
    fitted = HEADS["knn"].fit(fold)
    train, test = fold.X_train.astype(np.float64), X.astype(np.float64)
    if fitted.chosen["preprocessing"] == "standardised":
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    slow = np.zeros((len(X), 4))
    for i, x in enumerate(test):
        cosine = np.array([x @ t / np.linalg.norm(x) / np.linalg.norm(t) for t in train])
        near = np.argsort(-cosine)[: fitted.chosen["k"]]
        weight = np.exp(cosine[near] / 0.07)
        slow[i] = [np.sum(weight * fold.Y_train[near, c]) / np.sum(weight) for c in range(4)]
    np.testing.assert_allclose(fitted.scores(X), slow, atol=1e-4)


def test_knn_agrees_with_scikit_learns_neighbours() -> None:
    """The same vote from scikit-learn's brute-force neighbours, with our weights of its cosine distances."""
    fold, X = make_fold(exclusive=True)
    fitted = HEADS["knn"].fit(fold)
    twin = KNeighborsClassifier(fitted.chosen["k"], metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    used = fitted.chosen["preprocessing"] == "standardised"
    scaler = StandardScaler(with_mean=used, with_std=used)
    y = fold.Y_train.argmax(axis=1)
    expected = make_pipeline(scaler, twin).fit(fold.X_train.astype(float), y).predict_proba(X.astype(float))
    np.testing.assert_allclose(fitted.scores(X), expected, atol=1e-4)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_a_column_that_never_changes_changes_nothing(head: str) -> None:
    """A constant column holds nothing, and float32 rounding of it is not blown up into a signal."""
    fold, X = make_fold()

    def widen(vectors: np.ndarray) -> np.ndarray:
        return np.concatenate([vectors - vectors.mean(), np.full((len(vectors), 1), 0.1, np.float32)], axis=1)

    train, validation = widen(fold.X_train), widen(fold.X_validation)
    wide = replace(fold, X_train=train, X_validation=validation)
    assert np.isfinite(HEADS[head].fit(wide).scores(widen(X))).all()


@pytest.mark.parametrize("head", sorted(HEADS))
def test_two_fits_give_the_same_bytes(head: str) -> None:
    """Nothing in a head is left to chance."""
    fold, X = make_fold()
    assert HEADS[head].fit(fold).scores(X).tobytes() == HEADS[head].fit(fold).scores(X).tobytes()
