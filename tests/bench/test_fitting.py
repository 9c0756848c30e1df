"""Who sees what: train, validation and test of every fold."""

from __future__ import annotations

import numpy as np

from embstore_bench.baselines import baseline_vectors, baselines
from embstore_bench.fitting import fit_all, fold_roles
from embstore_bench.heads import HEADS
from embstore_bench.heads.recipe import Classifier, Fold, Head
from embstore_bench.tasks import LeftOut, Task, TaskQuestion


def make_task(n: int = 40, k: int = 4) -> Task:
    """Return a task of `n` units, two a protein, in two classes, on two splits."""
    groups = np.arange(n) // 2
    folds = np.stack([groups % k, (groups // 2) % k])
    actual = np.stack([groups % 2 == 0, groups % 3 == 0], axis=1)
    names = tuple(f"p{g}" for g in range(n // 2))
    ids = tuple(f"u{i}" for i in range(n))
    return Task(
        TaskQuestion("t", "d", "d/s"), "cell", ids, names, groups, (0, 1), k, folds, ("a", "b"), actual, LeftOut({})
    )


def test_every_unit_is_tested_once_by_a_head_that_never_saw_it() -> None:
    """Test is fold k, validation k + 1, train the rest; a unit's number as its vector shows who saw it."""
    task, X = make_task(), np.arange(40, dtype=np.float32)[:, None]
    seen: list[tuple[set[float], set[float]]] = []
    tested: list[set[float]] = []

    def fit(fold: Fold) -> Classifier:
        seen.append((set(fold.X_train[:, 0].tolist()), set(fold.X_validation[:, 0].tolist())))

        def scores(vectors: np.ndarray) -> np.ndarray:
            tested.append(set(vectors[:, 0].tolist()))
            return np.repeat(vectors, 2, axis=1) / 40

        return Classifier(scores, np.full(2, 0.5, np.float32), {})

    outcome = fit_all(Head("spy", {}, fit), X, task)
    for i, ((train, validation), test) in enumerate(zip(seen, tested, strict=True)):
        s, fold = divmod(i, 4)
        assert test == set(np.flatnonzero(task.folds[s] == fold))
        assert validation == set(np.flatnonzero(task.folds[s] == (fold + 1) % 4))
        assert train == set(range(40)) - test - validation
    np.testing.assert_array_equal(outcome.scores, np.tile(X / 40, (2, 1, 2)))
    assert [(r.seed, r.fold, r.n_train, r.n_validation, r.n_test) for r in outcome.runs][:2] == [
        (0, 0, 20, 10, 10),
        (0, 1, 20, 10, 10),
    ]


def test_the_last_folds_validation_is_the_first_fold() -> None:
    """Roles go round: testing fold 2 of 3 validates on fold 0."""
    train, validation, test = fold_roles(np.array([0, 1, 2]), 2, 3)
    assert (train.tolist(), validation.tolist(), test.tolist()) == (
        [False, True, False], [True, False, False], [False, False, True],
    )  # fmt: skip


def test_test_labels_do_not_change_what_is_predicted() -> None:
    """Turning the truth of a test fold upside down leaves its predictions as they were, thresholds and C included."""
    task = make_task()
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) + task.actual[:, :1]
    test = task.folds[0] == 0
    upside_down = task.actual.copy()
    upside_down[test] = ~upside_down[test]
    for head in (HEADS["linear"], HEADS["knn"], HEADS["prototype"]):
        one = fit_all(head, X, task)
        other = fit_all(head, X, Task(**(task.__dict__ | {"actual": upside_down})))
        np.testing.assert_array_equal(one.predicted[0, test], other.predicted[0, test])


def test_constant_baselines_know_nothing_but_train() -> None:
    """All-positive calls everything; majority calls the most frequent class of train and nothing else."""
    task = make_task()
    everything, majority, *_ = (fit_all(b.head, baseline_vectors(b, task), task) for b in baselines([]))
    assert everything.predicted.all()
    assert majority.predicted[..., 0].all()  # half of the proteins have a, a third b
    assert not majority.predicted[..., 1].any()


def test_random_vectors_hang_on_the_id_alone() -> None:
    """A unit's random vector is its own in any task; all units of a protein share that of random-per-protein."""
    task, smaller = make_task(40), make_task(20)
    _, _, random, per_protein = baselines([HEADS["linear"]])
    np.testing.assert_array_equal(baseline_vectors(random, task)[:20], baseline_vectors(random, smaller))
    assert len(np.unique(baseline_vectors(random, task), axis=0)) == 40
    shared = baseline_vectors(per_protein, task)
    np.testing.assert_array_equal(shared[::2], shared[1::2])
    assert len(np.unique(shared, axis=0)) == 20
    assert abs(baseline_vectors(random, make_task(400)).std() - 1) < 0.02
