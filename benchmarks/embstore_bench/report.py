"""The result of one `bench`: the scores, and everything that is needed to judge them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embstore.sources.suspects import suspects
from embstore.store import SpaceRow, Store, rows
from embstore.tabular import Tabular, arrow_table
from embstore_bench.questions import successors, task_of
from embstore_bench.results import LeaderboardRow, PerClassRow, groups_word, leaderboard, per_class
from embstore_bench.setting import Setting
from embstore_bench.splits import Audit, late_units_hint
from embstore_bench.tasks import LeftOut, Task

if TYPE_CHECKING:
    import pyarrow as pa

UNPOOLED = {None, "", "none", "as brought"}  # of hand-made measurements and external embeddings
HEADLINE_FIGURE = ("macro_f1", "unit")
FIRST_COLUMNS = ("backbone", "strategy", "head", "mean", "sd", "low", "high")


@dataclass(frozen=True, repr=False)
class BenchReport(Tabular):
    """The result of one `bench`: the headline rows, the best first, and everything that is needed to judge them.

    `entries` are macro F1 over units; `metrics` every other figure over all classes (protein level, weighted, at 0.5,
    micro); `per_class` the F1 of each class; `spaces` those that were scored; `audit` per split and entity; `made` and
    `reused` count the entries that were fitted now, and those that were recorded before.
    """

    entries: tuple[LeaderboardRow, ...]
    metrics: tuple[LeaderboardRow, ...]
    per_class: tuple[PerClassRow, ...]
    spaces: tuple[SpaceRow, ...]
    left_out: LeftOut
    notes: tuple[str, ...]
    audit: Mapping[str, Audit]
    made: int
    reused: int

    def to_arrow(self) -> pa.Table:
        """Return `entries`: the columns of the leaderboard, those of the score first."""
        table = arrow_table(self.entries, LeaderboardRow)
        return table.select([*FIRST_COLUMNS, *(name for name in table.column_names if name not in FIRST_COLUMNS)])

    @property
    def headline(self) -> str:
        """Return what was scored, on how many units, and how much of it is new."""
        first = self.entries[0]
        size = f"{first.n_test} {first.unit}s of {first.n_groups} {groups_word(first.split)}"
        new = f"{self.made} entries made, {self.reused} reused"
        return f"macro F1, {first.task}, {size}, {new}, split {first.split}"


def make_report(store: Store, setting: Setting, entries: Sequence[str], *, made: int) -> BenchReport:
    """Return the report on recorded entries, of which `made` are new."""
    recorded = leaderboard(store, metric=None, level=None, entries=entries).to_pylist()
    figures = [LeaderboardRow(**row) for row in recorded]
    headlines = tuple(row for row in figures if (row.metric, row.level) == HEADLINE_FIGURE)
    return BenchReport(
        entries=headlines,
        metrics=tuple(row for row in figures if (row.metric, row.level) != HEADLINE_FIGURE),
        per_class=tuple(PerClassRow(**row) for row in per_class(store, entries=entries).to_pylist()),
        spaces=setting.spaces,
        left_out=setting.task.left_out,
        notes=(*setting.notes, *_fit_hints(store, headlines), *_hints(store, setting)),
        audit={split.name: split.audit for split in setting.splits},
        made=made,
        reused=len(entries) - made,
    )


def _groups_of_locations(task: Task) -> dict[str, int]:
    """Return how many groups have each location, scored or left out."""
    scored = {
        location: len(set(task.group_index[task.actual[:, i]].tolist())) for i, location in enumerate(task.classes)
    }
    return scored | dict(task.left_out.classes)


def _hints(store: Store, setting: Setting) -> list[str]:
    """Return what the entries do not record: different poolings, units that could be added, a newer task."""
    hints = []
    poolings = sorted({s["pooling"] for s in setting.spaces} - UNPOOLED)
    if len(poolings) > 1:
        hints.append(
            f"the vectors are pooled in {len(poolings)} ways ({', '.join(poolings)}): compare networks at one pooling"
        )
    if late := setting.task.left_out.group_not_in_split:
        hints.append(late_units_hint(store, setting.splits, late))
    hints += suspects(_groups_of_locations(setting.task), unknown=False)
    task = task_of(setting.question).name
    if newer := successors().get(task):
        hints.append(f"task {task} is superseded by {newer}; `--task {newer}` asks it")
    return hints


def _fit_hints(store: Store, entries: Sequence[LeaderboardRow]) -> list[str]:
    """Return notes on entries whose fits chose the end of a grid, or missed their optimum."""
    sql = "SELECT entry, chosen FROM runs WHERE list_contains($entries, entry) ORDER BY entry, seed, fold"
    chosen: dict[str, list[dict[str, Any]]] = {}
    for run in rows(store, sql, {"entries": [row.entry for row in entries]}):
        chosen.setdefault(run["entry"], []).append(json.loads(run["chosen"]))
    hints = []
    for row in entries:
        if row.floor:
            continue
        runs = chosen[row.entry]
        name = f"{row.backbone}, {row.head}"
        at_edge = [run["C"] for run in runs if run.get("at_edge")]
        if at_edge:
            values = ", ".join(f"{C:g}" for C in sorted(set(at_edge)))
            hints.append(f"{name}: {len(at_edge)} of {len(runs)} fits chose an end of the grid, C = {values}")
        if missed := sum(run.get("not_converged", 0) for run in runs):
            hints.append(f"{name}: {missed} logistic regressions stopped before their optimum")
    return hints
