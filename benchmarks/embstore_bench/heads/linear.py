"""The head `linear`: logistic regression on standardised vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from embstore_bench.heads.choosing import choose
from embstore_bench.heads.logistic import PROBABILITY_RMS, Problems, fit_logistic
from embstore_bench.heads.recipe import Candidate, ChosenParams, Classifier, Fold, Head, Matrix, Scorer
from embstore_bench.heads.scaling import Scaling, standardised
from embstore_bench.metrics import BoolArray
from embstore_bench.thresholds import Scores


class LinearParams(TypedDict):
    """What the results of the linear head depend on."""

    C: list[float]
    class_weight: list[str]
    link: list[str]
    scaler: str
    probability_rms: float


# decades of scikit-learn's C on standardised vectors, from very stiff (dim >> n) to nearly free (dim << n)
LINEAR: LinearParams = {
    "C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0],
    "class_weight": ["none", "balanced"],
    "link": ["one-vs-rest", "multinomial where every unit has one location"],
    "scaler": "standard",
    "probability_rms": PROBABILITY_RMS,
}

GridPoint = tuple[float, str]  # C, class weight


def fit_linear(fold: Fold) -> Classifier:
    """Return logistic regressions on standardised vectors; C and the class weights are chosen on validation.

    They are one-vs-rest, or multinomial if every unit of the task has exactly one of three or more locations. A class
    that all or none of train has scores 1 or 0. `not_converged` in `chosen` counts the fits that missed their optimum.
    """
    return choose(_candidates(fold), fold)


def _candidates(fold: Fold) -> Iterator[Candidate]:
    settings = list(product(LINEAR["C"], LINEAR["class_weight"]))
    fitted = _fit(fold.X_train, fold.Y_train, settings, exclusive=fold.exclusive)
    for setting, scorer in zip(settings, fitted.scorers, strict=True):

        def refit(X: Matrix, Y: BoolArray, setting: GridPoint = setting) -> tuple[Scorer, ChosenParams]:
            again = _fit(X, Y, [setting], exclusive=fold.exclusive)
            return again.scorers[0], {"link": again.link, "not_converged": fitted.not_converged + again.not_converged}

        C, weight = setting
        at_edge = C in (LINEAR["C"][0], LINEAR["C"][-1])
        yield Candidate({"C": C, "class_weight": weight}, scorer(fold.X_validation), refit, at_edge)


@dataclass(frozen=True)
class _Fitted:
    """The scorer of each setting, the link between vectors and scores, and how many fits did not converge."""

    scorers: list[Scorer]
    link: str
    not_converged: int


def _fit(X: Matrix, Y: BoolArray, settings: list[GridPoint], *, exclusive: bool) -> _Fitted:
    scale = standardised(X)
    multinomial = exclusive and Y.any(axis=0).sum() > 2  # with two classes, it is the same model as one-vs-rest
    classes = _together(Y) if multinomial else _each_by_itself(Y)
    fits = fit_logistic(scale(X), _problems(classes, settings))
    scorers = []
    for at in range(len(settings)):
        weights = np.zeros((X.shape[1], Y.shape[1]), dtype=np.float32)
        offsets = np.where(Y.any(axis=0) & (not multinomial), np.inf, -np.inf).astype(np.float32)
        part = slice(at * len(classes.targets), (at + 1) * len(classes.targets))
        coefficients = fits.coefficients[part].reshape(-1, X.shape[1])
        weights[:, classes.present] = coefficients[classes.solved_by].T * classes.sign
        offsets[classes.present] = fits.intercepts[part].reshape(-1)[classes.solved_by] * classes.sign
        scorers.append(_scorer(scale, weights, offsets, multinomial=bool(multinomial)))
    return _Fitted(scorers, "multinomial" if multinomial else "one-vs-rest", int((~fits.converged).sum()))


@dataclass(frozen=True)
class _Classes:
    """The problems of one setting, (problems, outputs, n), and which output belongs to which of the `present` classes.

    Class `present[i]` is output `solved_by[i]` of all outputs in order, times `sign[i]`; classes that do not vary,
    whose scores are constant, are absent.
    """

    targets: BoolArray
    present: npt.NDArray[np.int64]
    solved_by: npt.NDArray[np.int64]
    sign: Matrix


def _together(Y: BoolArray) -> _Classes:
    present = np.flatnonzero(Y.any(axis=0))
    return _Classes(Y.T[None, present], present, np.arange(len(present)), np.ones(len(present), np.float32))


def _each_by_itself(Y: BoolArray) -> _Classes:
    """Return a problem for each distinct class: classes with the same units, or all others, share one."""
    present = np.flatnonzero(Y.any(axis=0) & ~Y.all(axis=0))
    sides = Y[:, present] ^ Y[:1, present]  # a class and its opposite are now the same column
    _, first, solved_by = np.unique(sides, axis=1, return_index=True, return_inverse=True)
    sign = np.where(Y[0, present] == Y[0, present[first]][solved_by], 1, -1).astype(np.float32)
    return _Classes(Y.T[present[first], None], present, solved_by.reshape(-1), sign)


def _problems(classes: _Classes, settings: list[GridPoint]) -> Problems:
    """Return the problems of every setting, setting by setting."""
    weights = {name: _unit_weights(classes.targets, name) for name in LINEAR["class_weight"]}
    return Problems(
        np.concatenate([classes.targets for _ in settings]),
        np.concatenate([weights[weight] for _, weight in settings]),
        np.repeat(np.array([C for C, _ in settings], dtype=np.float32), len(classes.targets)),
    )


def _unit_weights(targets: BoolArray, class_weight: str) -> Matrix:
    """Return the weight of each unit in each problem, (problems, n): 1, or n / (classes x units of its class)."""
    n_problems, outputs, n = targets.shape
    if class_weight == "none":
        return np.ones((n_problems, n), dtype=np.float32)
    sides = np.concatenate([targets, ~targets], axis=1) if outputs == 1 else targets
    shares = n / (sides.shape[1] * sides.sum(axis=2, keepdims=True))
    return np.asarray((sides * shares).sum(axis=1), dtype=np.float32)


def _scorer(scale: Scaling, weights: Matrix, offsets: Matrix, *, multinomial: bool) -> Scorer:
    def score(X: Matrix) -> Scores:
        from scipy.special import expit, softmax

        logits = scale(X) @ weights + offsets
        return np.asarray(softmax(logits, axis=1) if multinomial else expit(logits), dtype=np.float32)

    return score


HEAD_LINEAR = Head("linear", LINEAR, fit_linear, with_torch=True)
