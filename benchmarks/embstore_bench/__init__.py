"""Scientific benchmarks: tasks, splits, heads, metrics, baselines and the leaderboard over one store."""

from __future__ import annotations

from embstore_bench.report import BenchReport
from embstore_bench.results import leaderboard, leaderboard_sql, per_class, per_class_sql
from embstore_bench.runner import bench
from embstore_bench.splits import list_splits, list_splits_sql

__all__ = [
    "BenchReport",
    "bench",
    "leaderboard",
    "leaderboard_sql",
    "list_splits",
    "list_splits_sql",
    "per_class",
    "per_class_sql",
]
