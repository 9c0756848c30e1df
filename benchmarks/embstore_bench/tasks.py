"""What is asked: the units, groups, classes and labels of one localization task (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError, choices
from embstore.store import SpaceRow, Store, embeddings_name, label, rows, sql_text, told_apart
from embstore_bench.splits import MIN_FOLDS, Split, late_units_hint, split_key

LOCALIZATION = "localization"
TASK_VERSION = 1  # raised, with the old one kept, when the same name would ask something else
PREFERRED = ("grade3", "main")  # the scheme meant where a dataset has several and none is named
UNITS = ("cell", "image", "protein")

Units = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """Which label set of which dataset is asked for; `name` is `localization:SCHEME`."""

    name: str
    dataset: str
    label_set: str


@dataclass(frozen=True)
class Task:
    """The units that are scored, in order of id, with everything that is known of them before any vector is read.

    `actual[i, c]` says that unit i has the location `classes[c]`; `group_index[i]` is the place of its protein group
    in `groups`; `left_out` says what was not scored, and why.
    """

    question: Question
    unit: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # sorted
    group_index: npt.NDArray[np.int64]  # (n,)
    seeds: tuple[int, ...]  # of the splits
    k: int  # folds of a split
    folds: npt.NDArray[np.int64]  # (seeds, n): where each split puts each unit
    classes: tuple[str, ...]  # sorted
    actual: npt.NDArray[np.bool_]  # (n, classes)
    left_out: dict[str, Any]


def find_question(store: Store, task: str = LOCALIZATION, dataset: str | None = None) -> Question:
    """Return what `localization` or `localization:SCHEME` means here.

    The dataset is the only one with such labels, else it has to be named; the scheme is its only one, else `grade3` or
    `main`. Anything else is an EmbstoreError that lists the choices.
    """
    kind, _, scheme = task.partition(":")
    if kind != LOCALIZATION:
        raise EmbstoreError(choices(task, "task", (LOCALIZATION, f"{LOCALIZATION}:SCHEME")))
    known = rows(store, sql_text("embstore_bench", "label_sets"))
    if not known:
        raise EmbstoreError("the store holds no labels, so nothing can be asked; ingest again with --labels FILE")
    found = _of_dataset(known, dataset, scheme)
    chosen = _scheme(sorted({r["scheme"] for r in found}), found[0]["dataset"], scheme)
    return Question(f"{LOCALIZATION}:{chosen}", found[0]["dataset"], f"{found[0]['dataset']}/{chosen}")


def _of_dataset(known: Units, dataset: str | None, scheme: str) -> Units:
    if dataset is not None:
        found = [r for r in known if r["dataset"] == dataset]
        if not found:
            raise EmbstoreError(choices(dataset, "dataset with labels", {r["dataset"] for r in known}))
        return found
    fitting = [r for r in known if not scheme or r["scheme"] == scheme]
    names = sorted({r["dataset"] for r in fitting})
    if not names:
        raise EmbstoreError(choices(scheme, "label set", {r["scheme"] for r in known}))
    if len(names) > 1:
        raise EmbstoreError(f"{len(names)} datasets have labels: {', '.join(names)}; name one with --dataset")
    return fitting


def _scheme(schemes: Sequence[str], dataset: str, wanted: str) -> str:
    if wanted:
        if wanted not in schemes:
            tasks = {f"{LOCALIZATION}:{s}" for s in schemes}
            raise EmbstoreError(choices(f"{LOCALIZATION}:{wanted}", f"task of {dataset}", tasks))
        return wanted
    if len(schemes) == 1:
        return schemes[0]
    preferred = [s for s in PREFERRED if s in schemes]
    if not preferred:
        listed = ", ".join(f"--task {LOCALIZATION}:{s}" for s in schemes)
        raise EmbstoreError(f"{dataset} has {len(schemes)} label sets; name one: {listed}")
    return preferred[0]


def load_task(
    store: Store,
    question: Question,
    spaces: Sequence[SpaceRow],
    splits: Sequence[Split],
    *,
    min_groups: int | None = None,
) -> Task:
    """Return the units that all `spaces` hold and all `splits` know, with their classes.

    A class needs `min_groups` protein groups (default: the number of folds). Left out and counted: units that a space
    lacks, without a protein, without any label of the set (unknown is not negative), of a group that a split does not
    know, and those whose labels were all of classes left out (they would count as negative for questions never asked).
    Raises EmbstoreError when fewer than two classes are left.
    """
    unit = _common_unit(spaces)
    units, left_out = _shared_units(store, question, unit, spaces)
    units = _count_out(units, left_out, "no_protein", lambda u: u["group_id"] is not None)
    units = _count_out(units, left_out, "no_label", lambda u: bool(u["locations"]))
    units = _count_out(units, left_out, "group_not_in_split", lambda u: _in_all(u, splits))
    late = left_out["group_not_in_split"]
    hint = late_units_hint(store, splits, late) if late else ""
    if not units:
        raise EmbstoreError(_nothing_left(question, spaces, left_out, hint))
    classes, left_out["classes"] = _classes(units, min_groups or splits[0].k, hint)
    wanted = set(classes)
    units = _count_out(units, left_out, "no_class_left", lambda u: not wanted.isdisjoint(u["locations"]))
    groups = sorted({u["group_id"] for u in units})
    place = {g: i for i, g in enumerate(groups)}
    return Task(
        question=question,
        unit=unit,
        ids=tuple(u["id"] for u in units),
        groups=tuple(groups),
        group_index=np.array([place[u["group_id"]] for u in units], dtype=np.int64),
        seeds=tuple(s.seed for s in splits),
        k=splits[0].k,
        folds=np.array([_fold_of_units(s, units) for s in splits]),
        classes=classes,
        actual=np.array([[c in has for c in classes] for has in (set(u["locations"]) for u in units)], dtype=bool),
        left_out=left_out,
    )


def _common_unit(spaces: Sequence[SpaceRow]) -> str:
    units = sorted({s["unit"] for s in spaces})
    if len(units) > 1:
        listed = ", ".join(f"{label(s)} ({s['unit']})" for s in spaces)
        raise EmbstoreError(f"vectors of different units cannot be compared: {listed}; bench them one unit at a time")
    if units[0] not in UNITS:
        raise EmbstoreError(choices(units[0], "unit that can be scored", UNITS))
    return str(units[0])


def _shared_units(
    store: Store, question: Question, unit: str, spaces: Sequence[SpaceRow]
) -> tuple[Units, dict[str, Any]]:
    parameters = {"dataset": question.dataset, "label_set": question.label_set, "unit": unit}
    per_space = [rows(store, _task_units_sql(s["digest"]), parameters | {"space": s["digest"]}) for s in spaces]
    common = set.intersection(*({u["id"] for u in units} for units in per_space))
    dropped = {name: len(units) - len(common) for name, units in zip(told_apart(spaces), per_space, strict=True)}
    shared = [u for u in per_space[0] if u["id"] in common]
    return shared, {"not_in_every_space": {name: n for name, n in dropped.items() if n}}


def _task_units_sql(space: str) -> str:
    return sql_text("embstore_bench", "task_units", vectors=embeddings_name(space))


def _count_out(units: Units, left_out: dict[str, Any], why: str, keep: Callable[[dict[str, Any]], bool]) -> Units:
    kept = [u for u in units if keep(u)]
    left_out[why] = len(units) - len(kept)
    return kept


def _classes(units: Units, min_groups: int, hint: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes with enough groups, sorted, and the rest with how many groups each has."""
    groups: dict[str, set[str]] = {}
    for u in units:
        for location in u["locations"]:
            groups.setdefault(location, set()).add(u["group_id"])
    sizes = {location: len(members) for location, members in sorted(groups.items())}
    classes = tuple(c for c, n in sizes.items() if n >= min_groups)
    if len(classes) < 2:
        raise EmbstoreError(_too_few(sizes, min_groups, hint))
    return classes, {c: n for c, n in sizes.items() if n < min_groups}


def _too_few(sizes: Mapping[str, int], min_groups: int, hint: str) -> str:
    listed = ", ".join(f"{c} {n}" for c, n in sorted(sizes.items(), key=lambda item: (-item[1], item[0])))
    second = sorted(sizes.values())[-2] if len(sizes) > 1 else 0
    if hint:
        advice = hint
    elif second >= MIN_FOLDS:
        advice = f"--folds {MIN_FOLDS} would do" if second == MIN_FOLDS else f"--folds {MIN_FOLDS} to {second} would do"
    else:
        advice = f"add labels or images: two classes with at least {MIN_FOLDS} groups each are needed"
    return f"fewer than two classes have at least {min_groups} groups (proteins per class: {listed}); {advice}"


def _in_all(unit: Mapping[str, Any], splits: Sequence[Split]) -> bool:
    return all(split_key(s.by, unit) in s.folds for s in splits)


def _fold_of_units(split: Split, units: Units) -> list[int]:
    folds = [split.folds[split_key(split.by, u)] for u in units]
    empty = sorted(set(range(split.k)) - set(folds))
    if empty:
        raise EmbstoreError(
            f"fold {empty[0]} of split {split.name} holds none of the {len(units)} units that can be scored; "
            "embed the rest of the dataset, or ask for fewer --folds"
        )
    return folds


def _nothing_left(question: Question, spaces: Sequence[SpaceRow], left_out: Mapping[str, Any], hint: str) -> str:
    names = ", ".join(told_apart(spaces))
    why = ", ".join(f"{reason} {n}" for reason, n in left_out.items() if n) or "no vector of this dataset"
    todo = hint or "ingest or label more"
    return f"no unit of {question.dataset} can be scored on {question.name} with {names} ({why}); {todo}"
