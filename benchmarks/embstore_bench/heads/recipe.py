"""What a head is: a recipe that turns the vectors of one fold into a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embstore_bench.metrics import BoolArray, GroupIndex
from embstore_bench.thresholds import EVEN_ODDS, Scores

Matrix = npt.NDArray[np.float32]
Scorer = Callable[[Matrix], Scores]
Params = Mapping[str, object]  # JSON: everything that a head's results depend on
ChosenParams = dict[str, str | int | float]  # JSON: what validation chose

# how scores become answers
MOST_PROBABLE = "most probable"
TUNED = "tuned thresholds"
AT_EVEN_ODDS = "0.5"


@dataclass(frozen=True)
class Fold:
    """What a head may see of one fold: vectors (n, dim), truth (n, classes), and the groups (n,) for thresholds.

    `exclusive` means that every unit of the task has exactly one location.
    """

    X_train: Matrix
    Y_train: BoolArray
    X_validation: Matrix
    Y_validation: BoolArray
    groups_validation: GroupIndex
    exclusive: bool = False


@dataclass(frozen=True)
class Classifier:
    """A fitted head: `scores(X)` is float32 (n, classes) in [0, 1]; `chosen` is what validation chose.

    `thresholds` (classes,) are tuned on validation; `decision` states whether the headline uses them, 0.5, or the most
    probable location.
    """

    scores: Scorer
    thresholds: Scores
    chosen: ChosenParams
    decision: str = TUNED


@dataclass(frozen=True)
class Head:
    """A recipe: its name, everything that its results depend on (part of an entry's identity), and how to fit it.

    `with_torch` is whether fitting it needs torch.
    """

    name: str
    params: Params
    fit: Callable[[Fold], Classifier]
    with_torch: bool = False


@dataclass(frozen=True)
class Candidate:
    """One setting of a head: its scores of validation, and how to fit it again on more units.

    `refit(X, Y)` returns the scorer, and what it adds to `chosen`. `at_edge` marks the ends of a grid.
    """

    chosen: ChosenParams
    scores: Scores
    refit: Callable[[Matrix, BoolArray], tuple[Scorer, ChosenParams]]
    at_edge: bool = False


def answers(scores: Scores, thresholds: Scores, decision: str) -> BoolArray:
    """Return which locations are predicted, (n, classes), from scores (n, classes) by a decision of `Classifier`."""
    if decision == MOST_PROBABLE:
        predicted = np.zeros(scores.shape, dtype=bool)
        predicted[np.arange(len(scores)), scores.argmax(axis=1)] = True
        return predicted
    return scores >= (thresholds if decision == TUNED else EVEN_ODDS)
