"""The log of a training, and what an interrupted training needs from it to continue."""

from __future__ import annotations

from typing import TypedDict


class LogRow(TypedDict):
    """One epoch of a training; epoch 0 is the untrained network."""

    epoch: int
    step: int
    loss: float | None
    entropy: float | None
    knn_macro_f1: float | None  # None without a label set to monitor
    seconds: float


class TrainingState(TypedDict):
    """What a training has logged so far, stored in its checkpoint."""

    log: list[LogRow]
    measures: list[dict[str, float]]  # of the epoch's steps so far
    seconds: float


LOG_COLUMNS = tuple(LogRow.__annotations__)
