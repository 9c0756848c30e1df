"""Scientific benchmarks: tasks, splits, heads, metrics, floors and the leaderboard over one store."""

from __future__ import annotations

from embstore_bench.results import leaderboard, per_class
from embstore_bench.runner import BenchReport, bench

__all__ = ["BenchReport", "bench", "leaderboard", "per_class"]
