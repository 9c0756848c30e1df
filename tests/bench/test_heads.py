"""Heads against loops written out and scikit-learn's own estimators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from embstore_bench.heads import HEADS
from embstore_bench.heads.choosing import choose
from embstore_bench.heads.linear import LINEAR
from embstore_bench.heads.logistic import Problems, fit_logistic
from embstore_bench.heads.mlp import MLP
from embstore_bench.heads.recipe import Candidate, Fold, answers


@pytest.fixture(autouse=True)
def _small_mlp(monkeypatch: pytest.MonkeyPatch) -> None:
    """An MLP that is trained in no time."""
    monkeypatch.setitem(MLP, "hidden", [32, 16])
    monkeypatch.setitem(MLP, "max_epochs", 40)


def make_fold(*, exclusive: bool = False, seed: int = 0, classes: int = 4) -> tuple[Fold, np.ndarray]:
    """Return 120 train and 60 validation units with some signal, and 50 test vectors."""
    rng = np.random.default_rng(seed)
    Y = np.eye(classes, dtype=bool)[rng.integers(0, classes, 180)] if exclusive else rng.random((180, classes)) < 0.3
    X = (rng.normal(size=(180, 8)) + Y @ rng.normal(0, 1.5, (classes, 8))).astype(np.float32) * np.float32(30) + 5
    groups = np.arange(180) // 2
    fold = Fold(X[:120], Y[:120], X[120:], Y[120:], groups[120:], exclusive)
    return fold, rng.normal(5, 40, (50, 8)).astype(np.float32)


def seen(fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Return what a head is fitted on in the end: train and validation, in float64."""
    X = np.concatenate([fold.X_train, fold.X_validation]).astype(np.float64)
    return X, np.concatenate([fold.Y_train, fold.Y_validation])


def logistic(chosen: Any) -> LogisticRegression:
    """Return scikit-learn's logistic regression of what validation chose."""
    weight = None if chosen["class_weight"] == "none" else chosen["class_weight"]
    return LogisticRegression(C=chosen["C"], class_weight=weight, tol=1e-8, max_iter=5000)


def test_linear_scores_are_a_scikit_learn_pipelines() -> None:
    """At the setting that validation chose, scores are those of a pipeline fitted on train and validation."""
    fold, unseen = make_fold()
    fitted = HEADS["linear"].fit(fold)
    assert (fitted.chosen["link"], fitted.chosen["not_converged"]) == ("one-vs-rest", 0)
    X, Y = seen(fold)
    for c in range(4):
        twin = make_pipeline(StandardScaler(), logistic(fitted.chosen)).fit(X, Y[:, c])
        np.testing.assert_allclose(fitted.scores(unseen)[:, c], twin.predict_proba(unseen)[:, 1], atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_where_locations_exclude_each_other_linear_is_scikit_learns_multinomial(classes: int) -> None:
    """Scores add up to 1, the headline takes the largest, and two locations are one yes or no."""
    fold, unseen = make_fold(exclusive=True, classes=classes)
    fitted = HEADS["linear"].fit(fold)
    assert fitted.decision == "most probable"
    X, Y = seen(fold)
    twin = make_pipeline(StandardScaler(), logistic(fitted.chosen)).fit(X, Y.argmax(axis=1))
    np.testing.assert_allclose(fitted.scores(unseen), twin.predict_proba(unseen), atol=2e-3)


@pytest.mark.parametrize("C", [LINEAR["C"][0], LINEAR["C"][-1]])
@pytest.mark.parametrize("outputs", [1, 3])
def test_both_ends_of_the_grid_reach_scikit_learns_optimum(C: float, outputs: int) -> None:
    """More numbers than units, classes that can be separated without error: probabilities are within 0.002."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, max(outputs, 2), 60)
    X = (rng.normal(size=(60, 90)) * np.geomspace(3, 0.03, 90) + 0.5 * y[:, None]).astype(np.float32)
    targets = np.eye(3, dtype=bool)[y].T[None] if outputs == 3 else (y == 1)[None, None]
    fits = fit_logistic(X, Problems(targets, np.ones((1, 60), np.float32), np.array([C], np.float32)))
    assert fits.converged.all()
    logits = X @ fits.coefficients[0].T + fits.intercepts[0]
    raised = np.exp(logits) if outputs == 3 else np.exp(np.concatenate([0 * logits, logits], axis=1))
    twin = LogisticRegression(C=C, tol=1e-9, max_iter=20000).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(raised / raised.sum(axis=1, keepdims=True), twin.predict_proba(X), atol=2e-3)


def test_a_fit_that_misses_its_optimum_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two steps only, `not_converged` counts the fits that were stopped."""
    monkeypatch.setattr("embstore_bench.heads.logistic.MAX_STEPS", 2)
    assert int(HEADS["linear"].fit(make_fold()[0]).chosen["not_converged"]) > 0


@pytest.mark.parametrize("outputs", [1, 3])
def test_steps_at_the_limit_of_rounding_do_no_harm(outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tolerance is never reached, all steps are taken, and the last weights are still near the optimum."""
    monkeypatch.setattr("embstore_bench.heads.logistic.PROBABILITY_RMS", 0.0)
    monkeypatch.setattr("embstore_bench.heads.logistic.MAX_STEPS", 400)
    rng = np.random.default_rng(0)
    y = rng.integers(0, max(outputs, 2), 60)
    X = (rng.normal(size=(60, 4)) + y[:, None]).astype(np.float32)
    targets = np.eye(3, dtype=bool)[y].T[None] if outputs == 3 else (y == 1)[None, None]
    fits = fit_logistic(X, Problems(targets, np.ones((1, 60), np.float32), np.array([100], np.float32)))
    assert not fits.converged.any()
    twin = LogisticRegression(C=100, tol=1e-9, max_iter=20000).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(fits.coefficients[0], twin.coef_, atol=0.02)


def test_classes_of_the_same_or_of_all_other_units_score_alike() -> None:
    """They share one solution: a copy has the same scores, the opposite what is missing to 1."""
    fold, unseen = make_fold()
    for Y in (fold.Y_train, fold.Y_validation):
        Y[:, 1], Y[:, 2] = Y[:, 0], ~Y[:, 0]
    scores = HEADS["linear"].fit(fold).scores(unseen)
    np.testing.assert_array_equal(scores[:, 1], scores[:, 0])
    np.testing.assert_allclose(scores[:, 2], 1 - scores[:, 0], atol=1e-6)


def test_an_mlp_is_trained_again_for_the_epochs_that_early_stopping_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It learns what a line cannot tell, and its epochs are those with the lowest loss on validation."""
    monkeypatch.setitem(MLP, "learning_rate", 0.01)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2)).astype(np.float32)
    Y = np.stack([X[:, 0] * X[:, 1] > 0, X[:, 0] * X[:, 1] <= 0], axis=1)
    fold = Fold(X[:300], Y[:300], X[300:500], Y[300:500], np.arange(200), exclusive=True)
    fitted = HEADS["mlp"].fit(fold)
    right = fitted.scores(X[500:]).argmax(axis=1) == Y[500:].argmax(axis=1)
    assert right.mean() > 0.9
    assert 1 <= int(fitted.chosen["epochs"]) <= 40


# heads that know from counts alone what every or no unit has
COUNTING = ("knn", "linear", "prototype")


@pytest.mark.parametrize("head", COUNTING)
def test_a_class_that_no_unit_has_scores_zero(head: str) -> None:
    """A location that no unit seen has cannot be predicted; one that all have always is."""
    fold, X = make_fold()
    for Y in (fold.Y_train, fold.Y_validation):
        Y[:, 1], Y[:, 2] = False, True
    scores = HEADS[head].fit(fold).scores(X)
    assert (scores[:, 1] == 0).all()
    np.testing.assert_allclose(scores[:, 2], 1, atol=1e-6)


def test_knn_scores_are_a_weighted_vote_written_out() -> None:
    """p_c is sum(w y_c) / sum(w) over the k most similar units seen, with w = exp(cosine / 0.07)."""
    fold, X = make_fold()
    fitted = HEADS["knn"].fit(fold)
    (train, Y), test = seen(fold), X.astype(np.float64)
    if fitted.chosen["preprocessing"] == "standardised":
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    slow = np.zeros((len(X), 4))
    for i, x in enumerate(test):
        cosine = np.array([x @ t / np.linalg.norm(x) / np.linalg.norm(t) for t in train])
        near = np.argsort(-cosine)[: fitted.chosen["k"]]
        weight = np.exp(cosine[near] / 0.07)
        slow[i] = [np.sum(weight * Y[near, c]) / np.sum(weight) for c in range(4)]
    np.testing.assert_allclose(fitted.scores(X), slow, atol=1e-4)


def test_knn_agrees_with_scikit_learns_neighbours() -> None:
    """The same vote from scikit-learn's brute-force neighbours, with our weights of its cosine distances."""
    fold, unseen = make_fold(exclusive=True)
    fitted = HEADS["knn"].fit(fold)
    twin = KNeighborsClassifier(fitted.chosen["k"], metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    X, Y = seen(fold)
    expected = make_pipeline(scaler(fitted.chosen), twin).fit(X, Y.argmax(axis=1)).predict_proba(unseen)
    np.testing.assert_allclose(fitted.scores(unseen), expected, atol=1e-4)


def test_the_nearest_prototype_is_scikit_learns_nearest_centroid() -> None:
    """On vectors of length 1, standardised before where validation chose so."""
    fold, unseen = make_fold(exclusive=True)
    fitted = HEADS["prototype"].fit(fold)
    X, Y = seen(fold)
    twin = make_pipeline(scaler(fitted.chosen), Normalizer(), NearestCentroid()).fit(X, Y.argmax(axis=1))
    np.testing.assert_array_equal(fitted.scores(unseen).argmax(axis=1), twin.predict(unseen))


def scaler(chosen: Any) -> StandardScaler:
    """Return a scaler that does what validation chose, or nothing."""
    used = chosen["preprocessing"] == "standardised"
    return StandardScaler(with_mean=used, with_std=used)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_a_column_that_never_changes_changes_nothing(head: str) -> None:
    """A constant column contains nothing, and float32 rounding of it is not blown up into a signal."""
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


def candidate(scores: np.ndarray, *, at_edge: bool = False) -> Candidate:
    """Return a setting that answers with `scores` of validation, whatever is asked."""
    return Candidate({}, scores.astype(np.float32), lambda X, Y: (lambda Z: scores, {}), at_edge)


def test_thresholds_that_do_not_carry_over_lose_to_one_half() -> None:
    """Scores that are right at 0.5 but noisy near other cuts are answered at 0.5; skewed ones by thresholds."""
    fold, _ = make_fold()
    rng = np.random.default_rng(0)
    right = np.where(fold.Y_validation, 0.9, 0.1)
    assert choose([candidate(right * 0.3)], fold).decision == "tuned thresholds"
    blurred = np.clip(np.where(fold.Y_validation, 0.55, 0.45) + rng.normal(0, 0.08, right.shape), 0, 1)
    chosen = choose([candidate(blurred)], fold)
    at_half = answers(blurred, chosen.thresholds, "0.5")
    assert chosen.decision == "0.5"
    assert (at_half == (blurred >= 0.5)).all()


def test_the_edge_of_a_grid_is_marked_only_where_it_is_better_than_all_inside() -> None:
    """A tie with a setting inside the grid is no reason to extend it."""
    fold, _ = make_fold(exclusive=True)
    right, wrong = fold.Y_validation.astype(float), 1.0 - fold.Y_validation
    assert choose([candidate(wrong), candidate(right, at_edge=True)], fold).chosen["at_edge"] == 1
    assert "at_edge" not in choose([candidate(right, at_edge=True), candidate(right)], fold).chosen
