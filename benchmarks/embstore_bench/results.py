"""The leaderboard and the per-class table: SQL queries of the recorded entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from embstore.errors import EmbstoreError, choices
from embstore.store import Answer, Store, rows, select, sql_text
from embstore_bench.questions import PROTOCOL, successors

RESULT_LEVELS = ("unit", "protein")
# for figures over all classes: the levels at which each is computed
METRICS = {
    "macro_f1": RESULT_LEVELS,
    "macro_f1_weighted": ("unit",),
    "macro_f1@tuned": ("unit",),
    "macro_f1@0.5": ("unit",),
    "micro_f1": RESULT_LEVELS,
    "accuracy": ("unit",),  # of tasks in which every unit has one location
}

Parameters = dict[str, object]


@dataclass(frozen=True)
class LeaderboardRow:
    """One figure of an entry over all classes, with the entry's description: a row of `leaderboard`."""

    entry: str
    task: str
    dataset: str
    split: str
    backbone: str
    strategy: str
    unit: str
    head: str
    metric: str
    mean: float
    sd: float | None
    low: float
    high: float
    n_folds: int
    n_seeds: int
    n_test: int
    pooling: str
    level: str
    floor: bool  # True for a baseline
    n_groups: int
    space: str
    note: str
    created: datetime
    superseded_by: str | None  # the task that replaces this one


@dataclass(frozen=True)
class PerClassRow:
    """The F1 of one class of an entry: a row of `per_class`."""

    entry: str
    dataset: str
    task: str
    split: str
    backbone: str
    strategy: str
    space: str
    head: str
    floor: bool  # True for a baseline
    level: str
    location: str
    support: int
    mean: float
    sd: float | None
    low: float
    high: float


def groups_word(split: str) -> str:
    """Return the name of the groups of a split with this name: proteins, or (by image or cell) groups."""
    return "proteins" if "/protein-" in split else "groups"


def leaderboard(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    metric: str | None = "macro_f1",
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> Answer:
    """Return one row for each entry, the best first, with the columns of `LeaderboardRow`.

    None means every dataset, task (`localization` means all its schemes), metric, level or entry. Of entries that
    differ only in what they were computed from (other labels, vectors or units), the one on most units is shown, the
    newest among equals. Entries of an older protocol, or of a superseded task, are not shown; `superseded` shows them,
    as does naming them in `entries`, or their task in `task`. Raises EmbstoreError for an unknown metric or level.
    """
    _check_recorded(store, dataset, task)
    sql, parameters = leaderboard_sql(
        dataset=dataset, task=task, metric=metric, level=level, entries=entries, superseded=superseded
    )
    return Answer(select(store, sql, parameters))


def leaderboard_sql(
    *,
    dataset: str | None = None,
    task: str | None = None,
    metric: str | None = "macro_f1",
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> tuple[str, Parameters]:
    """Return the SQL that `leaderboard` runs, and its parameters: `query(store, *leaderboard_sql())` is the same.

    Raises EmbstoreError for an unknown metric or level.
    """
    if metric is not None and metric not in METRICS:
        raise EmbstoreError(choices(metric, "metric", METRICS))
    levels = RESULT_LEVELS if metric is None else METRICS[metric]
    if level is not None and level not in levels:
        raise EmbstoreError(choices(level, "level" if metric is None else f"level of {metric}", levels))
    parameters = {"metric": metric, "level": level} | _shown(dataset, task, entries, superseded)
    return sql_text("embstore_bench", "leaderboard"), parameters


def per_class(
    store: Store,
    *,
    dataset: str | None = None,
    task: str | None = None,
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> Answer:
    """Return one row for each entry (as in `leaderboard`) and class, with the columns of `PerClassRow`."""
    _check_recorded(store, dataset, task)
    sql, parameters = per_class_sql(dataset=dataset, task=task, level=level, entries=entries, superseded=superseded)
    return Answer(select(store, sql, parameters))


def per_class_sql(
    *,
    dataset: str | None = None,
    task: str | None = None,
    level: str | None = "unit",
    entries: Sequence[str] | None = None,
    superseded: bool = False,
) -> tuple[str, Parameters]:
    """Return the SQL that `per_class` runs, and its parameters: `query(store, *per_class_sql())` is the same."""
    parameters = {"level": level} | _shown(dataset, task, entries, superseded)
    return sql_text("embstore_bench", "per_class"), parameters


def _check_recorded(store: Store, dataset: str | None, task: str | None) -> None:
    """Raise an EmbstoreError if there are results, but none of this dataset or task."""
    recorded = rows(store, "SELECT DISTINCT dataset, task FROM entries ORDER BY ALL")
    datasets = {row["dataset"] for row in recorded}
    tasks = {name for row in recorded for name in (row["task"], row["task"].partition(":")[0])}
    for wanted, kind, names in ((dataset, "dataset", datasets), (task, "task", tasks)):
        if recorded and wanted is not None and wanted not in names:
            raise EmbstoreError(choices(wanted, kind, names, "with results"))


def _shown(dataset: str | None, task: str | None, entries: Sequence[str] | None, superseded: bool) -> Parameters:
    """Return the parameters of shown.sql."""
    replaced = successors()
    return {
        "dataset": dataset,
        "task": task,
        "entries": None if entries is None else list(entries),
        "superseded": superseded,
        "protocol": PROTOCOL,
        "superseded_tasks": list(replaced),
        "successors": list(replaced.values()),
    }
