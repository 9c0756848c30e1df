"""`embstore bench` and `embstore results`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore.errors import EmbstoreError
from embstore_cli import completion
from embstore_cli.context import UNIT_REMOVED, Dataset, Format, Output, open_store
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.removed import RemovedOption, without_options
from embstore_cli.render import ALL_OF_IT, emit_table, print_line, say

if TYPE_CHECKING:
    from embstore.store import Store
    from embstore_bench import BenchReport
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
TaskName = Annotated[
    str,
    typer.Option(
        "--task", metavar="localization[:SCHEME]", autocompletion=completion.tasks, help="The question to score."
    ),
]


@without_options(UNIT_REMOVED)
def bench(
    backbone: Annotated[
        list[str],
        typer.Option(
            "--backbone",
            "-b",
            metavar="SPEC",
            autocompletion=completion.stored_specs,
            help="A backbone, such as hpa or hpa:unit=image; may be repeated.",
        ),
    ],
    task: TaskName = "localization",
    dataset: Dataset = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            autocompletion=completion.heads,
            help="linear, mlp, knn or prototype; may be repeated [default: linear].",
        ),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", help="Number of folds of proteins.")] = 5,
    seeds: Annotated[
        str,
        typer.Option("--seeds", metavar="N|A,B,..", help="Number of splits, or their seeds; ± is the sd over them."),
    ] = "3",
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="What a split keeps together: protein, or image (well) if no protein is known; else scores leak.",
        ),
    ] = "protein",
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="DIGEST",
            autocompletion=completion.space_digests,
            help="A backbone's space, by its digest; may be repeated.",
        ),
    ] = None,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Score how well backbones predict locations: train what is missing, record it, print it next to its baselines.

    --seeds 5 is seeds 0 to 4, --seeds 5,6,7 is those three, and --seeds 7, is that one.

    Example: `embstore bench --dataset opencell --backbone vit-random --backbone pixel-stats --folds 3`
    """
    from embstore.tabular import arrow_table
    from embstore_bench import bench as run
    from embstore_bench.results import LeaderboardRow

    store = open_store(write=True)
    with show_progress(progress_form) as progress:
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
            progress=progress,
        )
    if form is not Format.table:
        rows = arrow_table((*report.entries, *report.metrics), LeaderboardRow)
        emit_table(rows.select([*RESULT_COLUMNS, "level", "floor", "note"]), form)
    else:
        _show(report)
    # what is printed below the table is not printed twice
    shown = {row.note for row in report.entries} if form is Format.table else set()
    notes = [note for note in report.notes if not any(note in text for text in shown)]
    for line in (*_left_out(report.left_out), *_audited(report.audit), *notes):
        say(f"note: {line}")
    say(f"{report.made} entries made, {report.reused} existed; list all: embstore results")


@without_options(
    RemovedOption("--all", "write --all-versions", is_flag=True),
    RemovedOption("--floors", "write --baselines", is_flag=True),
    RemovedOption("--no-floors", "write --no-baselines", is_flag=True),
)
def results(
    dataset: Dataset = None,
    task: Annotated[str | None, typer.Option("--task", autocompletion=completion.tasks, help="Only this task.")] = None,
    metric: Annotated[
        str,
        typer.Option("--metric", help="macro_f1, micro_f1, macro_f1_weighted, macro_f1@tuned, macro_f1@0.5, accuracy."),
    ] = "macro_f1",
    level: Annotated[
        str, typer.Option("--level", help="The metric over units or over proteins: unit or protein.")
    ] = "unit",
    baselines: Annotated[bool, typer.Option("--baselines/--no-baselines", help="Show the baselines too.")] = True,
    superseded: Annotated[
        bool,
        typer.Option("--all-versions", help="Show entries on older labels or vectors, or of an older protocol, too."),
    ] = False,
    form: Output = Format.table,
) -> None:
    """Print the leaderboard, best first; of entries of the same kind, the one on most units (then the newest).

    Example: `embstore results --dataset opencell --format csv`
    """
    import pyarrow.compute as pc

    from embstore_bench import leaderboard

    store = open_store()
    answer = leaderboard(store, dataset=dataset, task=task, metric=metric, level=level, superseded=superseded)
    rows = answer.table if baselines else answer.table.filter(pc.invert(answer.table["floor"]))
    if not rows.num_rows:
        older = 0 if superseded else len(leaderboard(store, dataset=dataset, task=task, superseded=True))
        hidden = f"; {older} of an older protocol: `embstore results --all-versions`" if older else ""
        say(f"no entry matches: `embstore bench --backbone NAME` makes the first{hidden}")
    if form is Format.table:
        _show_results(store, rows.to_pylist(), created=superseded)
    else:
        emit_table(rows.select([*RESULT_COLUMNS, "floor", *(["created"] if superseded else []), "note"]), form)


def _show_results(store: Store, rows: Sequence[dict[str, Any]], *, created: bool) -> None:
    from embstore_bench import leaderboard
    from embstore_bench.results import LeaderboardRow
    from embstore_cli.scores import print_scores, space_names

    if not rows:
        return
    figures = leaderboard(store, metric=None, level=None, entries=[row["entry"] for row in rows]).to_pylist()
    shown, all_figures = ([LeaderboardRow(**row) for row in part] for part in (rows, figures))
    print_scores(shown, all_figures, space_names(store), created=created)
    _replaced((row.task, row.superseded_by) for row in shown)
    say(f"entries, spaces, splits and {len(RESULT_COLUMNS) - 3} more columns: {ALL_OF_IT}")


def _seeds(text: str) -> int | list[int]:
    """Return how many seeds (`5`), or which ones (`5,6,7`; a single one is `5,`)."""
    try:
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError:
        raise EmbstoreError(f"found --seeds {text!r}, wanted how many (5) or which (5,6,7)") from None


def _show(report: BenchReport) -> None:
    from embstore.store import distinguishing_specs
    from embstore_cli.scores import print_classes, print_scores

    specs = distinguishing_specs(report.spaces)
    names = {space["digest"]: name for space, name in zip(report.spaces, specs, strict=True)}
    print_scores(report.entries, report.metrics, names)
    print_line()
    print_classes([row for row in report.per_class if not row.floor], names)


def _replaced(tasks: Iterable[tuple[str, str | None]]) -> None:
    """Print which of the tasks shown are superseded, and by which."""
    for line in dict.fromkeys(f"{task}: superseded by {newer}" for task, newer in tasks if newer):
        print_line(line)


def _left_out(left_out: LeftOut) -> list[str]:
    counted = [(getattr(left_out, reason), why) for reason, why in WHY.items()]
    lines = [f"{n} units left out: {why}" for n, why in counted if n]
    lines += [f"{n} units of {name} left out: not in every space" for name, n in left_out.not_in_every_space.items()]
    if left_out.classes:
        listed = ", ".join(f"{location} {n}" for location, n in left_out.classes.items())
        lines.append(f"{len(left_out.classes)} locations left out, because they have fewer groups than folds: {listed}")
    return lines


def _audited(audits: Mapping[str, Audit]) -> list[str]:
    """Return one line on the leak that the splits allow: the worst share over splits, for each kind of entity."""
    shares: dict[str, float] = {}
    for audit in audits.values():
        for entity, counts in audit.items():
            shares[entity] = max(counts.share, shares.get(entity, 0.0))
    listed = ", ".join(f"{entity} {share:.0%}" for entity, share in shares.items())
    return [f"leak audit, test units that share these with training units: {listed}"] if listed else []


WHY = {
    "no_protein": "no protein is known",
    "no_label": "no label in this label set",
    "group_not_in_split": "their group was added after the split was frozen",
    "no_class_left": "all their locations were left out",
}
