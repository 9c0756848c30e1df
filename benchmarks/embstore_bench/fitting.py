"""Fit a head on every fold of every split seed: fold k is the test, fold k + 1 validation, the rest train."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from embstore_bench.heads.device import fits_side_by_side
from embstore_bench.heads.recipe import AT_EVEN_ODDS, MOST_PROBABLE, TUNED, ChosenParams, Fold, Head, Matrix, answers
from embstore_bench.metrics import (
    BoolArray,
    Counts,
    Pooled,
    Statistic,
    Summary,
    accuracy,
    f1,
    group_counts,
    macro_f1,
    micro_f1,
    pool_groups,
    summarise,
)
from embstore_bench.tasks import Task
from embstore_bench.thresholds import Scores


@dataclass(frozen=True)
class Run:
    """One fit: its seed and fold, what validation chose, how many units each part had, how long it took.

    `decision` is how scores become the headline's answers: by `thresholds` (classes,), at 0.5, or the most probable
    one.
    """

    seed: int
    fold: int
    chosen: ChosenParams
    decision: str
    thresholds: Scores  # (classes,)
    n_train: int
    n_validation: int
    n_test: int
    elapsed_s: float


@dataclass(frozen=True)
class Outcome:
    """The runs of one entry and their out-of-fold answers: `scores` and `predicted` are (seeds, n, classes)."""

    runs: list[Run]
    scores: npt.NDArray[np.float32]
    predicted: BoolArray


@dataclass(frozen=True)
class Result:
    """One figure of an entry; `location` is "" if it is over all classes, `support` the number of positives of a
    class.
    """

    metric: str
    level: str
    location: str
    summary: Summary
    support: int | None


def fit_all(head: Head, X: Matrix, task: Task, after_run: Callable[[], None] = lambda: None) -> Outcome:
    """Return the out-of-fold answers of `head` on vectors X (n, dim), in the order of the task's units."""
    scores = np.empty((len(task.seeds), *task.actual.shape), dtype=np.float32)
    predicted = np.empty(scores.shape, dtype=bool)
    runs = []
    tested = list(product(range(len(task.seeds)), range(task.k)))
    with fits_side_by_side(X.nbytes, with_torch=head.with_torch) as pool:
        fits = pool.map(lambda at: _fit_one(head, X, task, *at), tested)
        for (s, fold), (run, output) in zip(tested, fits, strict=True):
            test = task.folds[s] == fold
            scores[s, test] = output
            predicted[s, test] = answers(output, run.thresholds, run.decision)
            runs.append(run)
            after_run()
    return Outcome(runs, scores, predicted)


def fold_roles(folds: npt.NDArray[np.int64], fold: int, k: int) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return which units are in train, validation and test, each (n,), if `fold` is the test fold."""
    test, validation = folds == fold, folds == (fold + 1) % k
    return ~(test | validation), validation, test


def _fit_one(head: Head, X: Matrix, task: Task, s: int, fold: int) -> tuple[Run, Scores]:
    started = time.perf_counter()
    train, validation, test = fold_roles(task.folds[s], fold, task.k)
    Y, groups = task.actual, task.group_index
    seen = Fold(X[train], Y[train], X[validation], Y[validation], groups[validation], task.exclusive)
    classifier = head.fit(seen)
    scores = classifier.scores(X[test])
    sizes = (int(train.sum()), int(validation.sum()), int(test.sum()))
    elapsed_s = time.perf_counter() - started
    fitted = (classifier.chosen, classifier.decision, classifier.thresholds)
    return Run(task.seeds[s], fold, *fitted, *sizes, elapsed_s), scores


# -- from answers to figures -------------------------------------------------------------------------------------------


def results_of(outcome: Outcome, task: Task) -> list[Result]:
    """Return every figure of an entry, at the level of its units and of proteins.

    At protein level, a protein's scores are the mean over its units in a test fold, and its locations the union of
    theirs. `macro_f1_weighted` counts each unit as 1 / (units of its protein), so that large proteins do not dominate.
    `macro_f1@tuned` and `macro_f1@0.5` use thresholds in every fold, whatever the headline uses. Accuracy, if every
    unit has one location, is the share of units whose most probable location is right.
    """
    n_groups = len(task.groups)

    def counted(predicted: BoolArray) -> Counts:
        return np.stack([group_counts(p, task.actual, task.group_index, n_groups) for p in predicted])

    by_unit = counted(outcome.predicted)
    per_unit = 1 / np.bincount(task.group_index, minlength=n_groups)
    unit, protein = pool_groups(by_unit), pool_groups(protein_counts(outcome, task))
    overall: list[tuple[str, str, Pooled, Statistic]] = [
        ("macro_f1", "unit", unit, macro_f1),
        ("macro_f1", "protein", protein, macro_f1),
        ("macro_f1_weighted", "unit", pool_groups(by_unit * per_unit[:, None, None]), macro_f1),
        ("macro_f1@tuned", "unit", pool_groups(counted(decided(outcome, task, TUNED))), macro_f1),
        ("macro_f1@0.5", "unit", pool_groups(counted(decided(outcome, task, AT_EVEN_ODDS))), macro_f1),
        ("micro_f1", "unit", unit, micro_f1),
        ("micro_f1", "protein", protein, micro_f1),
    ]
    if task.exclusive:
        overall.append(("accuracy", "unit", pool_groups(counted(decided(outcome, task, MOST_PROBABLE))), accuracy))
    figures = [Result(metric, level, "", summarise(p, statistic)[0], None) for metric, level, p, statistic in overall]
    return figures + _per_class("unit", unit, task.classes) + _per_class("protein", protein, task.classes)


def decided(outcome: Outcome, task: Task, decision: str) -> BoolArray:
    """Return the predictions from the scores by one decision in every fold, (seeds, n, classes)."""
    predicted = np.zeros(outcome.scores.shape, dtype=bool)
    for s, test, run in _tested(outcome, task):
        predicted[s, test] = answers(outcome.scores[s, test], run.thresholds, decision)
    return predicted


def protein_counts(outcome: Outcome, task: Task) -> Counts:
    """Return tp, fp, fn of each protein group, (seeds, groups, classes, 3), from the mean scores of its units."""
    counts = np.zeros((len(task.seeds), len(task.groups), len(task.classes), 3))
    for s, test, run in _tested(outcome, task):
        members, inverse = np.unique(task.group_index[test], return_inverse=True)
        sums = np.zeros((len(members), len(task.classes)))
        np.add.at(sums, inverse, outcome.scores[s, test].astype(np.float64))
        actual = np.zeros(sums.shape, dtype=bool)
        np.logical_or.at(actual, inverse, task.actual[test])
        mean = (sums / np.bincount(inverse)[:, None]).astype(np.float32)
        predicted = answers(mean, run.thresholds, run.decision)
        counts[s] += group_counts(predicted, actual, members, len(task.groups))
    return counts


def _tested(outcome: Outcome, task: Task) -> Iterator[tuple[int, BoolArray, Run]]:
    """Yield each run with the index of its seed and the mask of its test units."""
    for run in outcome.runs:
        s = task.seeds.index(run.seed)
        yield s, task.folds[s] == run.fold, run


def _per_class(level: str, pooled: Pooled, classes: Sequence[str]) -> list[Result]:
    support = pooled.observed[0][:, [0, 2]].sum(axis=1)  # tp + fn: the same for every seed
    figures = summarise(pooled, f1)
    return [Result("f1", level, c, s, int(n)) for c, s, n in zip(classes, figures, support, strict=True)]
