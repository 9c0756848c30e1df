"""Print scores: eight columns for each entry, a table for each task and split, and the limits of a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from embstore_cli.render import ALL_OF_IT, say
from embstore_cli.tables import print_blocks, print_table, print_text
from embstore_cli.values import number, spread

if TYPE_CHECKING:
    from embstore.store import Store
    from embstore_bench.results import LeaderboardRow, PerClassRow

Figure = tuple[str, str]  # metric, level
FIGURES: dict[Figure, str] = {
    ("macro_f1", "unit"): "macro F1",
    ("macro_f1", "protein"): "by protein",
    ("macro_f1_weighted", "unit"): "cells weighted",
    ("accuracy", "unit"): "accuracy",
    ("macro_f1@tuned", "unit"): "at tuned thresholds",
    ("macro_f1@0.5", "unit"): "at 0.5",
    ("micro_f1", "unit"): "micro F1",
    ("micro_f1", "protein"): "micro F1 by protein",
}
OF_EXCLUSIVE = {("accuracy", "unit"), ("macro_f1@tuned", "unit")}  # shown where every unit has one location
SHOWN_FIGURES = 5
NEVER_CUT = ("95 %", *FIGURES.values())


def print_scores(
    rows: Sequence[LeaderboardRow],
    figures: Iterable[LeaderboardRow],
    names: Mapping[str, str],
    *,
    created: bool = False,
) -> None:
    """Print a table for each task and split: `rows` with ± and interval, next to `figures` of the same entries.

    `names` are those of the spaces, by digest; baselines have none and are shown by the name of their backbone.
    """
    other: dict[str, dict[Figure, float]] = {}
    for row in figures:
        other.setdefault(row.entry, {})[row.metric, row.level] = row.mean
    for at, (_, group) in enumerate(groupby(rows, lambda row: (row.task, row.dataset, row.split, row.unit))):
        if at:
            print_text("")
        entries = list(group)
        lines = [_line(row, names.get(row.space, row.backbone), other.get(row.entry, {})) for row in entries]
        if created:
            lines = [line | {"created": row.created} for line, row in zip(lines, entries, strict=True)]
        values = {name: [line[name] for line in lines] for name in lines[0]}
        dimmed = [row.floor for row in entries]
        n_columns = print_table(values, title=_title(entries[0]), dimmed=dimmed, whole=NEVER_CUT)
        if n_columns < len(values):
            say(f"{n_columns} of {len(values)} columns are shown; all of them: a wider terminal, or {ALL_OF_IT}")
    print_caveats((row.split, row.note) for row in rows)


def print_classes(rows: Iterable[PerClassRow], names: Mapping[str, str]) -> None:
    """Print the F1 of each location: a column for each space and head."""
    columns: dict[str, dict[str, float]] = {}
    support: dict[str, int] = {}
    for row in rows:
        columns.setdefault(f"{names[row.space]} {row.head}", {})[row.location] = row.mean
        support[row.location] = row.support
    values: dict[str, Sequence[Any]] = {"location": list(support), "positives": list(support.values())}
    values |= {name: [scores.get(location) for location in support] for name, scores in columns.items()}
    print_blocks(values, keys=2, title="F1 of each location")


def print_caveats(notes: Iterable[tuple[str, str]]) -> None:
    """Print the limits of scores below their table, on stdout, so that they are not lost with stderr."""
    for line in dict.fromkeys(f"{split}: {note}" for split, note in notes if note):
        print_text(line)


def space_names(store: Store) -> dict[str, str]:
    """Return digest -> the shortest name of each space of a store that distinguishes it from the others."""
    from embstore.store import distinguishing_specs, list_spaces

    spaces = list_spaces(store)
    return {space["digest"]: name for space, name in zip(spaces, distinguishing_specs(spaces), strict=True)}


def _title(row: LeaderboardRow) -> str:
    from embstore_bench.results import groups_word

    units = "" if row.unit == "protein" else f"{row.n_test} {row.unit}s of "
    what = FIGURES[row.metric, row.level]
    return f"{what}, {row.task} on {row.dataset}, {units}{row.n_groups} {groups_word(row.split)}, split {row.split}"


def _line(row: LeaderboardRow, name: str, other: Mapping[Figure, float]) -> dict[str, Any]:
    shown = (row.metric, row.level)
    hidden = {shown} if ("accuracy", "unit") in other else {shown, *OF_EXCLUSIVE}
    rest = [figure for figure in FIGURES if figure not in hidden][: SHOWN_FIGURES - 1]
    return {
        "backbone": f"{name} (baseline)" if row.floor else name,
        "head": row.head,
        FIGURES[shown]: spread(row.mean, row.sd),
        "95 %": f"{number(row.low)} to {number(row.high)}",
        **{FIGURES[figure]: other.get(figure) for figure in rest},
    }
