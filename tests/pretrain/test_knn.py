"""The score that a training is watched by."""

from __future__ import annotations

import numpy as np
import pytest

from embstore.pretrain.knn import TEMPERATURE, K, Watched, knn_macro_f1


def slow(vectors: np.ndarray, watched: Watched) -> float:
    """The same score by loops over cells and classes."""
    votes = np.zeros_like(watched.labels)
    for i, v in enumerate(vectors):
        others = [j for j in range(len(vectors)) if watched.groups[j] != watched.groups[i]]
        cosine = {j: v @ vectors[j] / np.linalg.norm(v) / np.linalg.norm(vectors[j]) for j in others}
        near = sorted(others, key=lambda j: -cosine[j])[:K]
        weights = [np.exp(cosine[j] / TEMPERATURE) for j in near]
        for c in range(watched.labels.shape[1]):
            votes[i, c] = sum(w for w, j in zip(weights, near, strict=True) if watched.labels[j, c]) > sum(weights) / 2
    f1 = []
    for c in range(watched.labels.shape[1]):
        tp = sum(votes[:, c] & watched.labels[:, c])
        f1.append(2 * tp / max(1, sum(votes[:, c]) + sum(watched.labels[:, c])))
    return float(np.mean(f1))


def test_the_score_is_that_of_the_slow_twin() -> None:
    """k-NN macro F1 agrees with a loop over cells, and no cell vouches for its own group."""
    random = np.random.default_rng(3)
    groups = np.repeat([f"p{i}" for i in range(12)], 6)
    of_group = random.random((12, 4)) < 0.4
    labels = np.repeat(of_group, 6, axis=0)
    vectors = (labels @ random.normal(size=(4, 8)) + 0.6 * random.normal(size=(72, 8))).astype(np.float32)
    watched = Watched(np.arange(72), labels, groups, "x/y")
    score = knn_macro_f1(vectors, watched)
    assert score == pytest.approx(slow(vectors, watched), abs=1e-6)
    assert 0.2 < score < 1.0


def test_cells_that_only_know_their_own_protein_score_nothing() -> None:
    """Vectors that distinguish proteins and nothing else do not score: the group is left out of its own vote."""
    groups = np.repeat([f"p{i}" for i in range(6)], 5)
    vectors = np.repeat(np.eye(6, dtype=np.float32), 5, axis=0)
    labels = np.zeros((30, 2), bool)
    labels[:15, 0] = labels[15:, 1] = True
    assert knn_macro_f1(vectors, Watched(np.arange(30), labels, groups, "x/y")) < 0.7
