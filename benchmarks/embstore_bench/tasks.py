"""The units, groups, classes and labels of one localization task (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import EmbstoreError, choices
from embstore.sources.suspects import CORRECT, suspects
from embstore.store import SpaceRow, Store, distinguishing_specs, embeddings_name, label, select, sql_text
from embstore_bench.metrics import BoolArray, GroupIndex
from embstore_bench.splits import MIN_FOLDS, PROTEIN, Split, late_units_hint

SCORED_UNITS = ("cell", "image", "protein")
# what task_units.sql reads, besides the vectors of a space
TASK_TABLES = ("images", "cells", "ingested", "profiles", "proteins", "labels", "spaces")


@dataclass(frozen=True)
class TaskQuestion:
    """The label set of a dataset that a task asks for; `name` is `TASK:SCHEME`, `version` the task's."""

    name: str
    dataset: str
    label_set: str
    version: int = 1


@dataclass(frozen=True)
class LeftOut:
    """How many units were not scored, by reason, and the protein groups of each class that was left out."""

    not_in_every_space: Mapping[str, int]  # space -> its units that another space lacks
    no_protein: int = 0
    no_label: int = 0
    group_not_in_split: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    no_class_left: int = 0


@dataclass(frozen=True)
class Task:
    """The units that are scored, in order of id, with everything that is known before any vector is read.

    `actual[i, c]` is true if unit i has the location `classes[c]`; `group_index[i]` is the index of its protein group
    in `groups`.
    """

    question: TaskQuestion
    unit: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # sorted
    group_index: GroupIndex  # (n,)
    seeds: tuple[int, ...]  # of the splits
    k: int  # folds of a split
    folds: npt.NDArray[np.int64]  # (seeds, n): the fold of each unit in each split
    classes: tuple[str, ...]  # sorted
    actual: BoolArray  # (n, classes)
    left_out: LeftOut
    grouping: str = PROTEIN  # what a group is: a protein, or a well or image if no protein is known

    @property
    def exclusive(self) -> bool:
        """True if every unit has exactly one location."""
        return bool((self.actual.sum(axis=1) == 1).all())


def load_task(
    store: Store,
    question: TaskQuestion,
    spaces: Sequence[SpaceRow],
    splits: Sequence[Split],
    *,
    min_groups: int | None = None,
) -> Task:
    """Return the units that are in all `spaces` and all `splits`, with their classes.

    A class needs `min_groups` protein groups (default: the number of folds). Left out and counted are units that a
    space lacks, units without a protein, without any label of the set (unknown is not negative), or of a group that a
    split lacks, and those whose labels were all of classes left out (they would count as negative without having been
    annotated). If no protein is known, a group is a well or an image. Raises EmbstoreError if fewer than two classes
    are left.
    """
    unit = _common_unit(spaces)
    units, missing = _shared_units(store, question, unit, spaces)
    units = units.set_column(units.schema.get_field_index("group_id"), "group_id", _groups(units, splits[0].grouping))
    units, no_protein = _keep(units, pc.is_valid(units["group_id"]))
    units, no_label = _keep(units, pc.fill_null(pc.greater(pc.list_value_length(units["locations"]), 0), False))
    units, late = _keep(units, _in_all(units, splits))
    left_out = LeftOut(missing, no_protein, no_label, late)
    hint = late_units_hint(store, splits, late) if late else ""
    if not units.num_rows:
        raise EmbstoreError(_nothing_left(question, spaces, left_out, hint))
    classes, too_rare = _classes(units, min_groups or splits[0].k, splits[0].grouping, hint)
    units, no_class_left = _keep(units, _membership(units, classes).any(axis=1))
    groups = tuple(sorted(pc.unique(units["group_id"]).to_pylist()))
    return Task(
        question=question,
        unit=unit,
        ids=tuple(units["id"].to_pylist()),
        groups=groups,
        group_index=_places(units["group_id"], groups),
        seeds=tuple(s.seed for s in splits),
        k=splits[0].k,
        folds=np.stack([_fold_of_units(s, units) for s in splits]),
        classes=classes,
        actual=_membership(units, classes),
        left_out=replace(left_out, classes=too_rare, no_class_left=no_class_left),
        grouping=splits[0].grouping,
    )


def _common_unit(spaces: Sequence[SpaceRow]) -> str:
    units = sorted({s["unit"] for s in spaces})
    if len(units) > 1:
        listed = ", ".join(f"{label(s)} ({s['unit']})" for s in spaces)
        raise EmbstoreError(f"vectors of different units cannot be compared: {listed}; bench them one unit at a time")
    if units[0] not in SCORED_UNITS:
        raise EmbstoreError(choices(units[0], "unit that can be scored", SCORED_UNITS))
    return units[0]


def _shared_units(
    store: Store, question: TaskQuestion, unit: str, spaces: Sequence[SpaceRow]
) -> tuple[pa.Table, dict[str, int]]:
    """Return the units that every space contains, and how many units of each space another one lacks."""
    per_space = [_units_of(store, question, unit, space["digest"]) for space in spaces]
    shared = per_space[0]
    for units in per_space[1:]:
        shared = shared.filter(pc.is_in(shared["id"], value_set=units["id"]))
    specs = distinguishing_specs(spaces)
    missing = {name: units.num_rows - shared.num_rows for name, units in zip(specs, per_space, strict=True)}
    return shared, {name: n for name, n in missing.items() if n}


def _units_of(store: Store, question: TaskQuestion, unit: str, space: str) -> pa.Table:
    """Return the units of one space, in order of id: id, group_id, image_id, well, locations."""
    parameters = {"dataset": question.dataset, "label_set": question.label_set, "unit": unit, "space": space}
    vectors = embeddings_name(space)
    sql = sql_text("embstore_bench", "task_units", vectors=vectors)
    return select(store, sql, parameters, tables=(*TASK_TABLES, vectors)).combine_chunks()


def _keep(units: pa.Table, mask: Any) -> tuple[pa.Table, int]:
    """Return the units for which the mask is true, and how many are left out."""
    kept = units.filter(mask).combine_chunks()
    return kept, units.num_rows - kept.num_rows


def _places(values: Any, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the index of each value in `names`, -1 if it is missing."""
    places = pc.index_in(values, value_set=pa.array(names, pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(), dtype=np.int64)


def _located(units: pa.Table) -> tuple[npt.NDArray[np.int64], Any]:
    """Return one pair for each unit and location: the unit's index, and the location."""
    locations = units["locations"].combine_chunks()
    return np.asarray(pc.list_parent_indices(locations).to_numpy(), dtype=np.int64), pc.list_flatten(locations)


def _membership(units: pa.Table, classes: Sequence[str]) -> BoolArray:
    """Return which unit has which class, (n, classes)."""
    unit, location = _located(units)
    column = _places(location, classes)
    member = np.zeros((units.num_rows, len(classes)), dtype=bool)
    member[unit[column >= 0], column[column >= 0]] = True
    return member


def _classes(units: pa.Table, min_groups: int, grouping: str, hint: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the classes with enough groups, sorted, and the others with their numbers of groups."""
    unit, location = _located(units)
    pairs = pa.table({"location": location, "group_id": units["group_id"].take(pa.array(unit))})
    counted = pairs.group_by("location").aggregate([("group_id", "count_distinct")])
    sizes = dict(
        sorted(zip(counted["location"].to_pylist(), counted["group_id_count_distinct"].to_pylist(), strict=True))
    )
    classes = tuple(c for c, n in sizes.items() if n >= min_groups)
    if len(classes) < 2:
        raise EmbstoreError(_too_few(sizes, min_groups, grouping, hint))
    return classes, {c: n for c, n in sizes.items() if n < min_groups}


def _too_few(sizes: Mapping[str, int], min_groups: int, grouping: str, hint: str) -> str:
    listed = ", ".join(f"{c} {n}" for c, n in sorted(sizes.items(), key=lambda item: (-item[1], item[0])))
    second = sorted(sizes.values())[-2] if len(sizes) > 1 else 0
    if hint:
        advice = hint
    elif second >= MIN_FOLDS:
        advice = f"--folds {MIN_FOLDS} would do" if second == MIN_FOLDS else f"--folds {MIN_FOLDS} to {second} would do"
    else:
        advice = f"add labels or images: two classes with at least {MIN_FOLDS} groups each are needed"
    suspected = "".join(f"; {note}" for note in suspects(sizes, unknown=False))
    short = f"fewer than two classes have at least {min_groups} groups ({grouping}s per class: {listed}); {advice}"
    return f"{short}{suspected}; {CORRECT}" if suspected else short


def _groups(units: pa.Table, grouping: str) -> Any:
    """Return the name of each unit's group: its protein group, its well, or its image (or itself if it has none)."""
    if grouping == PROTEIN:
        return units["group_id"]
    return units["well"] if grouping == "well" else pc.coalesce(units["image_id"], units["id"])


def _split_groups(split: Split, units: pa.Table) -> Any:
    """Return the name of each unit's part in a split: the unit itself by cell; by image its image, or its well."""
    if split.by == "image" and split.grouping != PROTEIN:
        return _groups(units, split.grouping)
    return units[{PROTEIN: "group_id", "image": "image_id", "cell": "id"}[split.by]]


def _in_all(units: pa.Table, splits: Sequence[Split]) -> BoolArray:
    known = np.ones(units.num_rows, dtype=bool)
    for split in splits:
        known &= _places(_split_groups(split, units), list(split.folds)) >= 0
    return known


def _fold_of_units(split: Split, units: pa.Table) -> npt.NDArray[np.int64]:
    places = _places(_split_groups(split, units), list(split.folds))
    folds = np.array(list(split.folds.values()), dtype=np.int64)[places]
    empty = sorted(set(range(split.k)) - set(np.unique(folds).tolist()))
    if empty:
        raise EmbstoreError(
            f"fold {empty[0]} of split {split.name} has none of the {units.num_rows} units that can be scored; "
            "embed the rest of the dataset, or use fewer --folds"
        )
    return folds


def _nothing_left(question: TaskQuestion, spaces: Sequence[SpaceRow], left_out: LeftOut, hint: str) -> str:
    names = ", ".join(distinguishing_specs(spaces))
    why = ", ".join(f"{reason} {n}" for reason, n in asdict(left_out).items() if n) or "no vector of this dataset"
    todo = hint or "ingest or label more"
    return f"no unit of {question.dataset} can be scored on {question.name} with {names} ({why}); {todo}"
