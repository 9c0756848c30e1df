"""Time alternatives in turn, round after round, and report them as ratios to a baseline.

Absolute times mean little on a shared machine; a ratio of medians from the same minutes shows the effect of a change.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate over all rounds, and its median against the baseline's."""

    name: str
    seconds: tuple[float, ...]
    ratio: float

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Slowest over fastest round: near 1 on a quiet machine."""
        return max(self.seconds) / min(self.seconds)


def compare(candidates: Mapping[str, Callable[[], object]], *, baseline: str, rounds: int = 5) -> list[Timing]:
    """Run every candidate once to warm up, then once per round, in turn; ratios are to `baseline`."""
    if baseline not in candidates:
        raise ValueError(f"the baseline {baseline!r} is not one of {', '.join(candidates)}")
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds[baseline])
    return [Timing(name, tuple(s), statistics.median(s) / base) for name, s in seconds.items()]


def report(title: str, timings: list[Timing], *, work: str = "") -> None:
    """Print a table for people to stderr and one JSON line to stdout."""
    sys.stderr.write(f"\n{title}{f' ({work})' if work else ''}\n")
    for t in timings:
        sys.stderr.write(f"  {t.name:<42} {t.ratio:7.2f} ×   median {t.median_s:8.3f} s   spread {t.spread:.2f}\n")
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    record = {"title": title, "work": work, **machine, "ratios": {t.name: round(t.ratio, 3) for t in timings}}
    sys.stdout.write(json.dumps(record) + "\n")
