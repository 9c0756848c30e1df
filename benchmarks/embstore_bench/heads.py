"""Heads: recipes that turn frozen vectors into a classifier; the only place that imports scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from embstore_bench.metrics import BoolArray, GroupIndex, group_counts, macro_f1
from embstore_bench.thresholds import Scores, choose_thresholds

Matrix = npt.NDArray[np.float32]
Weights = tuple[Matrix, Matrix]  # (dim, classes), (classes,)
Scorer = Callable[[Matrix], Scores]
Link = Callable[[Matrix, Weights], Scores]
Params = Mapping[str, object]  # JSON: everything that a head's results depend on
ChosenParams = dict[str, str | int | float]  # JSON: what validation chose


class LinearParams(TypedDict):
    """What the results of the linear head depend on."""

    C: list[float]
    link: list[str]
    class_weight: str
    scaler: str
    tol: float
    max_iter: int


class KnnParams(TypedDict):
    """What the results of the k-NN head depend on."""

    k: list[int]
    temperature: float
    preprocessing: list[str]


# decades of scikit-learn's C on standardised vectors, from very stiff (dim >> n) to nearly free (dim << n)
LINEAR: LinearParams = {
    "C": [0.001, 0.01, 0.1, 1.0],
    "link": ["one-vs-rest", "multinomial where train has one location a unit"],
    "class_weight": "balanced",
    "scaler": "standard",
    "tol": 1e-4,
    "max_iter": 500,
}
# k of DINO's k-NN evaluation (10, 20, 100, 200; temperature 0.07: Caron et al. 2021), and 5 and 50 for small sets
KNN: KnnParams = {"k": [5, 10, 20, 50, 100, 200], "temperature": 0.07, "preprocessing": ["raw", "standardised"]}
KNN_ROWS_AT_ONCE = 1024  # whose similarities are held
TINY = 1e-12
NEARLY_CONSTANT = 1e-6  # of the mean: float32 cannot tell such a column from a constant one


@dataclass(frozen=True)
class Fold:
    """What a head may see of one fold: vectors (n, dim), truth (n, classes), and the groups (n,) thresholds ask for."""

    X_train: Matrix
    Y_train: BoolArray
    X_validation: Matrix
    Y_validation: BoolArray
    groups_validation: GroupIndex


@dataclass(frozen=True)
class Classifier:
    """A fitted head: `scores(X)` is float32 (n, classes) in [0, 1]; `chosen` is what validation chose."""

    scores: Scorer
    thresholds: Scores  # (classes,)
    chosen: ChosenParams


@dataclass(frozen=True)
class Head:
    """A recipe: its name, everything that its results depend on (part of an entry's identity), and how to fit it."""

    name: str
    params: Params
    fit: Callable[[Fold], Classifier]


Candidate = tuple[ChosenParams, Scores, Scorer]  # what was tried, its validation scores, how to score


def choose(candidates: Iterable[Candidate], fold: Fold) -> Classifier:
    """Return the candidate with the largest validation macro F1 at the thresholds it would be used with."""
    best: Classifier | None = None
    highest = -1.0
    for chosen, scores, scorer in candidates:
        thresholds = choose_thresholds(scores, fold.Y_validation, fold.groups_validation)
        everyone = np.zeros(len(scores), dtype=np.int64)
        value = float(macro_f1(group_counts(scores >= thresholds, fold.Y_validation, everyone, 1))[0])
        if value > highest:
            highest = value
            best = Classifier(scorer, thresholds, chosen | {"validation_macro_f1": value})
    if best is None:
        raise ValueError("no candidate to choose from")
    return best


# -- linear ------------------------------------------------------------------------------------------------------------


def fit_linear(fold: Fold) -> Classifier:
    """Return logistic regressions on standardised vectors; C and the link are chosen on validation.

    One-vs-rest always; where every unit of train has exactly one location, so that locations exclude each other, the
    multinomial likelihood is tried too. A class that all or none of train has scores 1 or 0 throughout (one-vs-rest).
    Fits that did not converge are counted in `chosen`.
    """
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler().fit(fold.X_train)
    X, X_validation = scaler.transform(fold.X_train), scaler.transform(fold.X_validation)

    def candidates() -> Iterator[Candidate]:
        for name, link, fits in _links(X, fold.Y_train):
            for C, (weights, unconverged) in zip(LINEAR["C"], fits, strict=True):
                chosen: ChosenParams = {"link": name, "C": C, "not_converged": unconverged}
                yield chosen, link(X_validation, weights), _linear_scorer(scaler, link, weights)

    # many small fits: on busy cores, BLAS threads that wait for each other took minutes where one took seconds
    with threadpool_limits(limits=1, user_api="blas"):
        return choose(candidates(), fold)


def _links(X: Matrix, Y: BoolArray) -> Iterator[tuple[str, Link, Iterator[tuple[Weights, int]]]]:
    yield "one-vs-rest", _sigmoid, _one_vs_rest(X, Y)
    exclusive = bool((Y.sum(axis=1) == 1).all())
    if exclusive and Y.any(axis=0).sum() > 2:  # with two classes it is the same model
        yield "multinomial", _softmax, _multinomial(X, Y)


def _one_vs_rest(X: Matrix, Y: BoolArray) -> Iterator[tuple[Weights, int]]:
    """Yield, for each C, the weights and how many classes did not converge."""
    models = [_logistic() for _ in range(Y.shape[1])]
    for C in LINEAR["C"]:
        coefficients = np.zeros((X.shape[1], Y.shape[1]), dtype=np.float32)
        intercepts = np.where(Y.any(axis=0), np.inf, -np.inf).astype(np.float32)  # for classes that do not vary
        unconverged = 0
        for c in np.flatnonzero(Y.any(axis=0) & ~Y.all(axis=0)):
            unconverged += _refit(models[c], X, Y[:, c], C)
            coefficients[:, c], intercepts[c] = models[c].coef_[0], models[c].intercept_[0]
        yield (coefficients, intercepts), unconverged


def _multinomial(X: Matrix, Y: BoolArray) -> Iterator[tuple[Weights, int]]:
    model = _logistic()
    for C in LINEAR["C"]:
        unconverged = _refit(model, X, Y.argmax(axis=1), C)
        coefficients = np.zeros((X.shape[1], Y.shape[1]), dtype=np.float32)
        intercepts = np.full(Y.shape[1], -np.inf, dtype=np.float32)  # for classes that train lacks
        coefficients[:, model.classes_], intercepts[model.classes_] = model.coef_.T, model.intercept_
        yield (coefficients, intercepts), unconverged


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    # warm: the next C starts from the last one's weights, a quarter faster to the same optimum
    return LogisticRegression(
        solver="lbfgs",
        warm_start=True,
        class_weight=LINEAR["class_weight"],
        tol=LINEAR["tol"],
        max_iter=LINEAR["max_iter"],
    )


def _refit(model: Any, X: Matrix, y: npt.NDArray[Any], C: float) -> int:
    """Fit in place; return 1 when it did not converge."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted, and recorded with the run
        model.set_params(C=C).fit(X, y)
    return int(model.n_iter_.max() >= model.max_iter)


def _linear_scorer(scaler: Any, link: Link, weights: Weights) -> Scorer:
    return lambda X: link(scaler.transform(X), weights)


def _sigmoid(X: Matrix, weights: Weights) -> Scores:
    from scipy.special import expit

    return np.asarray(expit(X @ weights[0] + weights[1]), dtype=np.float32)


def _softmax(X: Matrix, weights: Weights) -> Scores:
    from scipy.special import softmax

    return np.asarray(softmax(X @ weights[0] + weights[1], axis=1), dtype=np.float32)


# -- nearest neighbours ------------------------------------------------------------------------------------------------


def fit_knn(fold: Fold) -> Classifier:
    """Return the weighted vote of the most similar training units: p_c = sum(w y_c) / sum(w), w = exp(sim / 0.07).

    How many, and whether vectors are standardised on train first, is chosen on validation.
    """
    Y = fold.Y_train.astype(np.float32)
    largest = min(max(KNN["k"]), len(Y))
    ks = sorted({min(k, len(Y)) for k in KNN["k"]})

    def candidates() -> Iterable[Candidate]:
        for preprocessing in ("raw", "standardised"):
            prepare = _preparation(preprocessing, fold.X_train)
            train = prepare(fold.X_train)
            voted = _votes(prepare(fold.X_validation), train, Y, ks, largest)
            for k, scores in voted.items():
                yield {"k": k, "preprocessing": preprocessing}, scores, _knn_scorer(prepare, train, Y, k)

    return choose(candidates(), fold)


def _preparation(preprocessing: str, X_train: Matrix) -> Callable[[Matrix], Matrix]:
    """Return the function that makes vectors comparable by cosine; its constants come from train alone."""
    mean: npt.NDArray[np.float64] = np.zeros(1)
    spread: npt.NDArray[np.float64] = np.ones(1)
    if preprocessing == "standardised":
        exact = X_train.astype(np.float64)
        mean, spread = exact.mean(axis=0), exact.std(axis=0)
        spread = np.where(spread > NEARLY_CONSTANT * np.abs(mean), spread, 1)  # else rounding noise would be scaled up

    def prepare(X: Matrix) -> Matrix:
        scaled = (X - mean) / spread
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return np.asarray(scaled / np.maximum(length, TINY), dtype=np.float32)

    return prepare


def _knn_scorer(prepare: Callable[[Matrix], Matrix], train: Matrix, Y: Matrix, k: int) -> Scorer:
    return lambda X: _votes(prepare(X), train, Y, [k], k)[k]


def _votes(X: Matrix, train: Matrix, Y: Matrix, ks: list[int], largest: int) -> dict[int, Scores]:
    """Return k -> scores (n, classes) for vectors X (n, dim) and train (m, dim), both of length 1."""
    voted = {k: np.empty((len(X), Y.shape[1]), dtype=np.float32) for k in ks}
    for start in range(0, len(X), KNN_ROWS_AT_ONCE):
        similarity = X[start : start + KNN_ROWS_AT_ONCE] @ train.T
        near = np.argpartition(-similarity, largest - 1, axis=1)[:, :largest]
        near_similarity = np.take_along_axis(similarity, near, axis=1)
        order = np.argsort(-near_similarity, axis=1, kind="stable")
        near, near_similarity = np.take_along_axis(near, order, 1), np.take_along_axis(near_similarity, order, 1)
        # divided by exp(1 / temperature), which cancels, so that nothing overflows
        weight = np.exp((near_similarity - 1) / np.float32(KNN["temperature"]))
        for k in ks:
            share = weight[:, :k] / weight[:, :k].sum(axis=1, keepdims=True)
            voted[k][start : start + KNN_ROWS_AT_ONCE] = np.einsum("nk,nkc->nc", share, Y[near[:, :k]])
    return {k: np.clip(scores, 0, 1) for k, scores in voted.items()}


HEADS: dict[str, Head] = {"linear": Head("linear", LINEAR, fit_linear), "knn": Head("knn", KNN, fit_knn)}
