"""The script that scores the segmentation counts as a slow twin does."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "segmentation" / "score.py"


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_those_found_pair_by_pair(seed: int) -> None:
    """Objects that share more than half of their union with a true one, however labels are numbered."""
    score = runpy.run_path(str(SCRIPT))
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 5, (6, 6)) * 3, np.ones((5, 5), int))
    result = np.where(rng.random(truth.shape) < 0.7, (truth * 7) % 31, rng.integers(0, 9, truth.shape))
    twin = 0
    for label in set(result[result > 0].tolist()):
        mine = result == label
        twin += any(
            (mine & (truth == t)).sum() > 0.5 * (mine | (truth == t)).sum() for t in set(truth[truth > 0].tolist())
        )
    assert score["matches"](truth, result) == twin > 0
    assert score["count"](truth) == len(set(truth[truth > 0].tolist()))
