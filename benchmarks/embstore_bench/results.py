"""The leaderboard and the per-class table: SQL views over what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from embstore.query import query
from embstore.store import Store
from embstore_bench.sqltext import sql_text

METRICS = ("macro_f1", "macro_f1_weighted", "macro_f1@0.5", "micro_f1")
LEVELS = ("unit", "protein")


def leaderboard(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    metric: str | None = "macro_f1",
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
) -> pa.Table:
    """Return one row an entry, the best first: entry, task, dataset, split, backbone, strategy, unit, head, metric,
    mean, sd, low, high, n_folds, n_seeds, n_test, then level, floor, n_groups, space, note, created.

    None stands for every dataset, task (`localization` means all its schemes), metric, level or entry.
    """
    parameters = {"dataset": dataset, "task": task, "metric": metric, "level": level}
    return query(store, sql_text("leaderboard"), parameters | {"entries": _listed(entries)})


def per_class(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
) -> pa.Table:
    """Return one row an entry and class: entry, dataset, task, backbone, strategy, head, level, location, support, mean
    (F1), sd, low, high.
    """
    parameters = {"dataset": dataset, "task": task, "level": level, "entries": _listed(entries)}
    return query(store, sql_text("per_class"), parameters)


def _listed(entries: Sequence[str] | None) -> list[str] | None:
    return None if entries is None else list(entries)
