"""The leaderboard and the per-class table: SQL views over what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from embstore.errors import EmbstoreError, choices
from embstore.store import Store, select, sql_text

LEVELS = ("unit", "protein")
# over all classes: the levels at which each is known
METRICS = {"macro_f1": LEVELS, "macro_f1_weighted": ("unit",), "macro_f1@0.5": ("unit",), "micro_f1": LEVELS}


def leaderboard(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    metric: str | None = "macro_f1",
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> pa.Table:
    """Return one row an entry, the best first: entry, task, dataset, split, backbone, strategy, unit, head, metric,
    mean, sd, low, high, n_folds, n_seeds, n_test, pooling, then level, floor, n_groups, space, note, created.

    None stands for every dataset, task (`localization` means all its schemes), metric, level or entry. Of entries that
    differ only in what they were computed from (after new labels, vectors or images) the newest is shown;
    `superseded` shows the older ones too, as does naming them in `entries`. An unknown metric or level is an
    EmbstoreError.
    """
    if metric is not None and metric not in METRICS:
        raise EmbstoreError(choices(metric, "metric", METRICS))
    levels = LEVELS if metric is None else METRICS[metric]
    if level is not None and level not in levels:
        raise EmbstoreError(choices(level, "level" if metric is None else f"level of {metric}", levels))
    parameters = {"metric": metric, "level": level} | _shown(dataset, task, entries, superseded)
    return select(store, sql_text("embstore_bench", "leaderboard"), parameters)


def per_class(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> pa.Table:
    """Return one row an entry (as `leaderboard` shows them) and class: entry, dataset, task, split, backbone, strategy,
    space, head, floor, level, location, support, mean (F1), sd, low, high.
    """
    parameters = {"level": level} | _shown(dataset, task, entries, superseded)
    return select(store, sql_text("embstore_bench", "per_class"), parameters)


def _shown(dataset: str | None, task: str | None, entries: Sequence[str] | None, superseded: bool) -> dict[str, Any]:
    """Return the parameters of shown.sql."""
    listed = None if entries is None else list(entries)
    return {"dataset": dataset, "task": task, "entries": listed, "superseded": superseded}
