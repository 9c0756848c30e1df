"""Baselines: what a score must beat to mean anything, fitted and stored like every other entry (DESIGN §6)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embstore_bench.heads.recipe import Classifier, Fold, Head, Matrix
from embstore_bench.tasks import Task
from embstore_bench.thresholds import EVEN_ODDS, Scores

RANDOM_DIM = 64
CONSTANT = "constant"


@dataclass(frozen=True)
class Baseline:
    """A baseline: its name in the backbone column, the head that it is fitted with, and the source of its vectors.

    `seeded_by` is what determines a random vector: nothing (no vectors), a unit, or a protein.
    """

    name: str
    head: Head
    seeded_by: str  # "" | "unit" | "protein"


def baselines(heads: Sequence[Head]) -> list[Baseline]:
    """Return the baselines shown with every score: two constant ones, and two random ones for each head.

    `random-per-protein` gives all units of a protein one vector: its score is near 1 if a split lets a protein leak
    into train, and like those of the other baselines if not.
    """
    constant = [
        Baseline("all-positive", Head(CONSTANT, {"predicts": "every class"}, _fit_all_positive), ""),
        Baseline("majority", Head(CONSTANT, {"predicts": "the most frequent class of train"}, _fit_majority), ""),
    ]
    random = [Baseline("random", head, "unit") for head in heads]
    return constant + random + [Baseline("random-per-protein", head, "protein") for head in heads]


def baseline_vectors(baseline: Baseline, task: Task) -> Matrix:
    """Return the vectors, float32 (n, 64), gaussian and seeded by md5 of an id; (n, 0) for a constant baseline."""
    if not baseline.seeded_by:
        return np.empty((len(task.ids), 0), np.float32)
    if baseline.seeded_by == "unit":
        return np.stack([_gaussian("unit", name) for name in task.ids])
    return np.stack([_gaussian("protein", name) for name in task.groups])[task.group_index]


def _gaussian(kind: str, name: str) -> Matrix:
    seed = int.from_bytes(hashlib.md5(f"{kind}:{name}".encode(), usedforsecurity=False).digest(), "big")
    return np.random.default_rng(seed).standard_normal(RANDOM_DIM, dtype=np.float32)


def _fit_all_positive(fold: Fold) -> Classifier:
    return _constant(np.ones(fold.Y_train.shape[1], np.float32), {})


def _fit_majority(fold: Fold) -> Classifier:
    most = int(np.argmax(fold.Y_train.sum(axis=0)))
    return _constant(np.eye(fold.Y_train.shape[1], dtype=np.float32)[most], {"class_index": most})


def _constant(answer: Scores, chosen: dict[str, int]) -> Classifier:
    thresholds = np.full(len(answer), EVEN_ODDS, dtype=np.float32)
    return Classifier(lambda X: np.tile(answer, (len(X), 1)), thresholds, dict(chosen))
