"""The tasks, and what a task asks of a store: the label set of a dataset (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict, cast

from embstore.errors import EmbstoreError, choices
from embstore.store import SpaceRow, Store, rows, sql_text
from embstore_bench.splits import Split
from embstore_bench.tasks import Task, TaskQuestion, load_task

LOCALIZATION = "localization"
# raised when the meaning of a number changes; part of every entry's identity. 2: heads converge, choose class weights
# and decision on validation, and are fitted again on train and validation; exclusive tasks take the most probable
PROTOCOL = 2
PREFERRED = ("grade3", "main")  # the default scheme of a dataset that has several


@dataclass(frozen=True)
class TaskRecord:
    """A task: its name, its version, the task that it replaces ("" for none), and how its units are loaded.

    Name and version are part of an entry's identity, so a registered task never changes. A changed task is registered
    with the name `NAME.v2` and `supersedes` the old one: entries of the old one stay, and can be made again.
    """

    name: str
    version: int
    supersedes: str = ""
    load: Callable[[Store, TaskQuestion, Sequence[SpaceRow], Sequence[Split]], Task] = load_task


TASKS: dict[str, TaskRecord] = {LOCALIZATION: TaskRecord(LOCALIZATION, version=1)}


class LabelSetRow(TypedDict):
    """A row of label_sets.sql: a label set is `dataset/scheme`."""

    dataset: str
    scheme: str


def successors() -> dict[str, str]:
    """Return superseded task -> the task that replaces it."""
    return {task.supersedes: task.name for task in TASKS.values() if task.supersedes}


def task_of(question: TaskQuestion) -> TaskRecord:
    """Return the record of the task that asks a question."""
    return TASKS[question.name.partition(":")[0]]


def find_question(store: Store, task: str = LOCALIZATION, dataset: str | None = None) -> TaskQuestion:
    """Return the question of `TASK` or `TASK:SCHEME` to this store.

    The dataset is the only one with such labels, else it has to be named; the scheme is its only one, else `grade3` or
    `main`. Otherwise raises an EmbstoreError that lists the choices.
    """
    name, _, scheme = task.partition(":")
    if name not in TASKS:
        raise EmbstoreError(choices(task, "task", [text for known in TASKS for text in (known, f"{known}:SCHEME")]))
    label_sets = cast(list[LabelSetRow], rows(store, sql_text("embstore_bench", "label_sets")))
    if not label_sets:
        raise EmbstoreError("the store has no labels, so nothing can be scored; ingest again with --labels FILE")
    candidates = _of_dataset(label_sets, dataset, scheme)
    chosen = candidates[0]["dataset"]
    scheme = _scheme(sorted({r["scheme"] for r in candidates}), name, chosen, scheme)
    return TaskQuestion(f"{name}:{scheme}", chosen, f"{chosen}/{scheme}", TASKS[name].version)


def _of_dataset(label_sets: Sequence[LabelSetRow], dataset: str | None, scheme: str) -> Sequence[LabelSetRow]:
    if dataset is not None:
        of_dataset = [r for r in label_sets if r["dataset"] == dataset]
        if not of_dataset:
            raise EmbstoreError(choices(dataset, "dataset with labels", {r["dataset"] for r in label_sets}))
        return of_dataset
    matching = [r for r in label_sets if not scheme or r["scheme"] == scheme]
    names = sorted({r["dataset"] for r in matching})
    if not names:
        raise EmbstoreError(choices(scheme, "label set", {r["scheme"] for r in label_sets}))
    if len(names) > 1:
        raise EmbstoreError(f"{len(names)} datasets have labels: {', '.join(names)}; name one with --dataset")
    return matching


def _scheme(schemes: Sequence[str], task: str, dataset: str, wanted: str) -> str:
    if wanted:
        if wanted not in schemes:
            raise EmbstoreError(choices(f"{task}:{wanted}", f"task of {dataset}", {f"{task}:{s}" for s in schemes}))
        return wanted
    if len(schemes) == 1:
        return schemes[0]
    preferred = [s for s in PREFERRED if s in schemes]
    if not preferred:
        listed = ", ".join(f"--task {task}:{s}" for s in schemes)
        raise EmbstoreError(f"{dataset} has {len(schemes)} label sets; name one: {listed}")
    return preferred[0]
