"""`embstore splits`."""

from __future__ import annotations

from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.context import Dataset, Format, Output, open_store
from embstore_cli.render import emit_table, print_line, say

app = typer.Typer(no_args_is_help=True, help="Splits: frozen assignments of proteins to folds.")


@app.command("make")
def make(
    task: Annotated[
        str, typer.Option("--task", autocompletion=completion.tasks, help="The task whose labels are balanced.")
    ] = "localization",
    dataset: Dataset = None,
    by: Annotated[str, typer.Option("--by", help="What a split keeps together: protein, image or cell.")] = "protein",
    folds: Annotated[int, typer.Option("--folds", help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the split.")] = 0,
) -> None:
    """Make a split (bench makes those that it needs); one that an entry cites is never changed.

    Example: `embstore splits make --dataset opencell --folds 3 --seed 1`
    """
    from embstore_bench.questions import find_question
    from embstore_bench.splits import make_split

    store = open_store(write=True)
    question = find_question(store, task, dataset)
    split = make_split(store, dataset=question.dataset, label_set=question.label_set, by=by, k=folds, seed=seed)
    print_line(split.name)


@app.command("list")
def list_all(form: Output = Format.table) -> None:
    """List the splits of the store.

    Example: `embstore splits list`
    """
    from embstore_bench.splits import list_splits

    emit_table(list_splits(open_store()), form, people=("name", "by", "k", "seed", "n_groups", "created"))


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.splits)], form: Output = Format.table
) -> None:
    """Print the fold of each group of a split; its leak audit goes to stderr.

    Example: `embstore splits show opencell/grade3/protein-k3-s0 --format csv`
    """
    from embstore_bench.splits import load_split

    split = load_split(open_store(), name)
    emit_table(split, form)
    for entity, counts in split.audit.items():
        say(f"audit: {counts.with_kin} of {counts.units} units share their {entity} with units of another fold")
