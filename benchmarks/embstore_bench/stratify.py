"""Rebalance a dealt split, so that second locations are spread over the folds too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_PASSES = 20
ROUNDING = 9  # decimals: a tie must be a tie on every machine


def rebalance(folds: Sequence[int], locations: Sequence[Sequence[str]], k: int) -> list[int]:
    """Return folds (0..k-1, one per group) after moving single groups as long as a move makes the folds more even.

    Each move lowers the chi-square of the groups per fold, summed over the locations with at least k groups and over
    all groups. The order of the groups decides ties, so the caller orders them by a hash. Dealing considers only a
    group's rarest location; this considers all of them.
    """
    member, expected = _membership(locations, k)  # (groups, classes + 1), (classes + 1,)
    placed = np.asarray(folds, dtype=np.int64).copy()
    counts = np.zeros((k, member.shape[1]))
    np.add.at(counts, placed, member)
    for _ in range(MAX_PASSES):
        if not _one_pass(placed, counts, member, expected):
            break
    return [int(fold) for fold in placed]


def _one_pass(
    placed: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    member: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float64],
) -> int:
    """Move each group to the fold where the chi-square falls most, in place; return how many moved."""
    moved = 0
    for group, here in enumerate(placed):
        # moving one group from a to b changes sum((n - e)^2) / e by 2 (n_b - n_a + 1) / e for each of its locations
        change = ((counts - counts[here] + 1) * 2 / expected) @ member[group]  # (k,)
        change[here] = 0
        target = int(np.argmin(np.round(change, ROUNDING)))
        if round(float(change[target]), ROUNDING) < 0:
            counts[here] -= member[group]
            counts[target] += member[group]
            placed[group] = target
            moved += 1
    return moved


def _membership(locations: Sequence[Sequence[str]], k: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return which group has which location (groups, classes + 1), the last column all ones, and a fold's fair
    share.
    """
    names = sorted({name for group in locations for name in group})
    column = {name: i for i, name in enumerate(names)}
    member = np.zeros((len(locations), len(names) + 1))
    member[:, -1] = 1
    for row, group in enumerate(locations):
        member[row, [column[name] for name in group]] = 1
    frequent = member.sum(axis=0) >= k
    frequent[-1] = True
    member = member[:, frequent]
    return member, member.sum(axis=0) / k
