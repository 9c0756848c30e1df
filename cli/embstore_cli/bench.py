"""`embstore bench` and `embstore results`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore.errors import EmbstoreError
from embstore_cli.context import UNIT_REMOVED, Dataset, Format, Output, open_store
from embstore_cli.removed import without_options
from embstore_cli.render import emit, progress_bars, say

if TYPE_CHECKING:
    from embstore_bench import BenchReport
    from embstore_bench.results import LeaderboardRow, PerClassRow
    from embstore_bench.splits import Audit
    from embstore_bench.tasks import LeftOut

# scripts rely on these
RESULT_COLUMNS = (
    "entry",
    "task",
    "dataset",
    "split",
    "backbone",
    "strategy",
    "unit",
    "head",
    "metric",
    "mean",
    "sd",
    "low",
    "high",
    "n_folds",
    "n_seeds",
    "n_test",
    "pooling",
    "space",
)
TaskName = Annotated[str, typer.Option("--task", metavar="localization[:SCHEME]", help="The question that is asked.")]


@without_options(UNIT_REMOVED)
def bench(
    backbone: Annotated[
        list[str],
        typer.Option(
            "--backbone", "-b", metavar="SPEC", help="A backbone, such as hpa or hpa:unit=image; may be repeated."
        ),
    ],
    task: TaskName = "localization",
    dataset: Dataset = None,
    head: Annotated[list[str] | None, typer.Option("--head", help="linear (default) or knn; may be repeated.")] = None,
    folds: Annotated[int, typer.Option("--folds", help="How many folds of proteins.")] = 5,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N|A,B,..", help="How many splits, or their seeds; the ± is over these.")
    ] = "3",
    by: Annotated[str, typer.Option("--by", help="protein; image or cell only show how a leak inflates.")] = "protein",
    space: Annotated[
        list[str] | None, typer.Option("--space", metavar="DIGEST", help="The space of a backbone; may be repeated.")
    ] = None,
    form: Output = Format.table,
) -> None:
    """Score how well backbones tell locations; trains what is missing, records it, prints the table with its floors.

    --seeds 5 is seeds 0 to 4, --seeds 5,6,7 is those three, and --seeds 7, is that one.

    Example: `embstore bench --dataset opencell --backbone vit-random --backbone pixel-stats --folds 3`
    """
    from dataclasses import asdict

    from embstore_bench import bench as run

    store = open_store(write=True)
    with progress_bars() as update:
        report = run(
            store,
            backbones=backbone,
            task=task,
            dataset=dataset,
            heads=head or ["linear"],
            folds=folds,
            seeds=_seeds(seeds),
            by=by,
            space=space or (),
            progress=update,
        )
    if form is not Format.table:
        rows = [asdict(row) for row in (*report.entries, *report.metrics)]
        emit(rows, (*RESULT_COLUMNS, "level", "floor", "note"), form)
    else:
        _show(report)
    # what stands under the table is not said twice
    shown = {row.note for row in report.entries} if form is Format.table else set()
    notes = [note for note in report.notes if not any(note in text for text in shown)]
    for line in (*_left_out(report.left_out), *_audited(report.audit), *notes):
        say(f"note: {line}")
    say(f"{report.made} entries made, {report.reused} were there; all of them: embstore results")


def results(
    dataset: Dataset = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="macro_f1, macro_f1_weighted, macro_f1@0.5 or micro_f1.")] = (
        "macro_f1"
    ),
    level: Annotated[str, typer.Option("--level", help="unit or protein.")] = "unit",
    floors: Annotated[bool, typer.Option("--floors/--no-floors", help="Show the floors too.")] = True,
    superseded: Annotated[bool, typer.Option("--all", help="Show entries on older labels or vectors too.")] = False,
    form: Output = Format.table,
) -> None:
    """The leaderboard: the entry on most units of each kind (the newest among equals), the best first within its task.

    Example: `embstore results --dataset opencell --format csv`
    """
    from embstore_bench import leaderboard

    columns = [*RESULT_COLUMNS, "floor", *(["created"] if superseded else [])]
    rows = leaderboard(
        open_store(), dataset=dataset, task=task, metric=metric, level=level, superseded=superseded
    ).to_pylist()
    shown = [row for row in rows if floors or not row["floor"]]
    if form is not Format.table:
        emit(shown, (*columns, "note"), form)
    else:
        emit([row | _short(row) for row in shown], columns, form, faint="floor")
        _caveats((row["split"], row["note"]) for row in shown)
        _replaced((row["task"], row["superseded_by"]) for row in shown)


def _short(row: dict[str, Any]) -> dict[str, str]:
    """Return what people read more easily short: the space as --space takes it, the time without its fractions."""
    from embstore.ids import short

    return {"space": short(row["space"]), "created": f"{row['created']:%Y-%m-%d %H:%M:%S}"}


def _seeds(text: str) -> int | list[int]:
    """Return how many seeds (`5`), or which (`5,6,7`; one is `5,`)."""
    try:
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError:
        raise EmbstoreError(f"found --seeds {text!r}, wanted how many (5) or which (5,6,7)") from None


def _show(report: BenchReport) -> None:
    from embstore.store import told_apart

    first = report.entries[0]
    units = "" if first.unit == "protein" else f"{first.n_test} {first.unit}s of "
    title = f"macro F1, {first.task} on {first.dataset}, {units}{first.n_groups} proteins, split {first.split}"
    names = {space["digest"]: name for space, name in zip(report.spaces, told_apart(report.spaces), strict=True)}
    other: dict[str, dict[str, float]] = {}
    for row in report.metrics:
        other.setdefault(row.entry, {})[f"{row.metric}/{row.level}"] = row.mean
    lines = [_line(row, names.get(row.space, row.backbone), other.get(row.entry, {})) for row in report.entries]
    emit(lines, HEADLINE, Format.table, title=title, faint="floor")
    _caveats((row.split, row.note) for row in report.entries)
    typer.echo("")
    _show_classes([row for row in report.per_class if not row.floor], names)


def _caveats(notes: Iterable[tuple[str, str]]) -> None:
    """Write what a score is not, where it is not one, below its table: it must not be lost with stderr."""
    for line in dict.fromkeys(f"{split}: {note}" for split, note in notes if note):
        typer.echo(line)


def _replaced(tasks: Iterable[tuple[str, str | None]]) -> None:
    """Write which of the tasks shown are superseded, and by which."""
    for line in dict.fromkeys(f"{task}: superseded by {newer}" for task, newer in tasks if newer):
        typer.echo(line)


def _left_out(left_out: LeftOut) -> list[str]:
    counted = [(getattr(left_out, reason), why) for reason, why in WHY.items()]
    lines = [f"{n} units left out: {why}" for n, why in counted if n]
    lines += [f"{n} units of {name} left out: not in every space" for name, n in left_out.not_in_every_space.items()]
    if left_out.classes:
        listed = ", ".join(f"{location} {n}" for location, n in left_out.classes.items())
        lines.append(f"{len(left_out.classes)} locations left out, fewer proteins than folds: {listed}")
    return lines


def _audited(audits: Mapping[str, Audit]) -> list[str]:
    """Return one line on the leak that the splits allow: the worst share over splits, entity by entity."""
    shares: dict[str, float] = {}
    for audit in audits.values():
        for entity, counts in audit.items():
            shares[entity] = max(counts.share, shares.get(entity, 0.0))
    listed = ", ".join(f"{entity} {share:.0%}" for entity, share in shares.items())
    return [f"leak audit, test units with kin in train by the same: {listed}"] if listed else []


WHY = {
    "no_protein": "no protein is named",
    "no_label": "no label in this set",
    "group_not_in_split": "their protein came after the split was frozen",
    "no_class_left": "all their locations were left out",
}
HEADLINE = ("backbone", "head", "macro F1", "95 %", "by protein", "cells weighted", "at 0.5", "micro F1")


def _line(row: LeaderboardRow, name: str, other: Mapping[str, float]) -> dict[str, Any]:
    spread = "" if row.sd is None else f" ± {row.sd:.3f}"
    return {
        "backbone": f"{name} (floor)" if row.floor else name,
        "head": row.head,
        "macro F1": f"{row.mean:.3f}{spread}",
        "95 %": f"{row.low:.3f} to {row.high:.3f}",
        "by protein": other.get("macro_f1/protein"),
        "cells weighted": other.get("macro_f1_weighted/unit"),
        "at 0.5": other.get("macro_f1@0.5/unit"),
        "micro F1": other.get("micro_f1/unit"),
        "floor": row.floor,
    }


def _show_classes(rows: Sequence[PerClassRow], names: Mapping[str, str]) -> None:
    columns: dict[str, None] = {}
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        column = f"{names[row.space]} {row.head}"
        columns[column] = None
        line = lines.setdefault(row.location, {"location": row.location, "positives": row.support})
        line[column] = row.mean
    emit(list(lines.values()), ("location", "positives", *columns), Format.table, title="F1 of each location")
