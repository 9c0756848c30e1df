"""`bench`: from backbones and a task to entries of the leaderboard; fits only what is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embstore.errors import EmbstoreError, choices
from embstore.ids import digest, short
from embstore.store import SpaceRow, Store, embeddings_name, find_space, label, matches, rows, sql_text, told_apart
from embstore_bench.contestants import Contestant, contestants
from embstore_bench.fitting import fit_all, results_of
from embstore_bench.heads import HEADS, Head
from embstore_bench.recording import write_entry
from embstore_bench.results import leaderboard, per_class
from embstore_bench.splits import Split, draw_split, keep_split, late_units_hint
from embstore_bench.tasks import LOCALIZATION, TASK_VERSION, Question, Task, find_question, load_task

PROTOCOL = 1  # raised when the meaning of a number changes; part of every entry's identity
MIN_SCORED_GROUPS = 50
MAX_SEEDS = 100  # more is a seed that was meant by name
SPLIT_TABLES = ("splits", "split_groups")
TABLES_READ = ("images", "cells", "ingested", "profiles", "proteins", "labels", "spaces", *SPLIT_TABLES)
UNPOOLED = {None, "", "none", "as brought"}  # of hand-made measurements and brought vectors

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class BenchReport:
    """What one `bench` shows: the headline rows, the best first, and all that is needed to judge them.

    `entries` are macro F1 over units, with columns as `leaderboard` gives them; `metrics` every other figure over all
    classes (protein level, weighted, at 0.5, micro); `per_class` the F1 of each class; `names` tells the spaces apart,
    by digest; `audit` per split and entity.
    """

    entries: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    per_class: list[dict[str, Any]]
    names: dict[str, str]
    left_out: dict[str, Any]
    notes: list[str]
    audit: dict[str, dict[str, dict[str, Any]]]
    made: int
    reused: int


@dataclass(frozen=True)
class Setting:
    """What every entry of one `bench` has in common."""

    question: Question
    spaces: tuple[SpaceRow, ...]
    task: Task
    splits: tuple[Split, ...]
    versions: Mapping[str, int]
    notes: tuple[str, ...]
    tag: str = ""


def bench(
    store: Store,
    *,
    backbones: Sequence[str],
    task: str = LOCALIZATION,
    dataset: str | None = None,
    heads: Sequence[str] = ("linear",),
    folds: int = 5,
    seeds: int | Sequence[int] = 3,
    by: str = "protein",
    space: str | Sequence[str] = (),
    unit: str | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Score how well each backbone's vectors tell locations, on the same units, splits and floors; record what is new.

    `seeds` is how many split seeds, from 0, or which. `space` is one digest or several, each of one of `backbones`,
    which then stands for these alone; `unit` is what the vectors are of (cell, image or protein). An entry that is
    there is shown as it was recorded, not fitted again. `progress(done, of, what)` is called after every fit. Never
    embeds: a missing space is an EmbstoreError with the line that makes it. Writes splits, runs, results, predictions,
    entries and one tag over the tables read; nothing when there is nothing to score.
    """
    chosen_heads = _heads(heads)
    spaces = _spaces(store, backbones, [space] if isinstance(space, str) else space, unit)
    question = find_question(store, task, dataset)
    before = store.versions()
    drawn = [
        draw_split(store, dataset=question.dataset, label_set=question.label_set, by=by, k=folds, seed=seed)
        for seed in _seeds(seeds)
    ]
    setting = _setting(store, question, spaces, drawn, before)
    planned = {
        _entry_id(setting, c): c for c in contestants(store, spaces, chosen_heads, setting.task, setting.versions)
    }
    existing = {r["entry"] for r in rows(store, "SELECT entry FROM entries ORDER BY entry")}
    missing = {entry: c for entry, c in planned.items() if entry not in existing}
    if missing:
        setting = replace(setting, tag="bench-" + short(digest([sorted(missing), dict(setting.versions)])))
        store.tag(setting.tag, setting.versions)  # before the first fit: an entry never names a tag that is not there
        _fit_missing(store, setting, missing, progress)
    return _report(store, setting, list(planned), made=len(missing))


def _heads(names: Sequence[str]) -> list[Head]:
    unknown = [name for name in names if name not in HEADS]
    if unknown:
        raise EmbstoreError(choices(unknown[0], "head", HEADS))
    if not names:
        raise EmbstoreError(f"no head named; choose from: {', '.join(sorted(HEADS))}")
    return [HEADS[name] for name in dict.fromkeys(names)]


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    found = seeds if isinstance(seeds, int) else len(set(seeds))
    if not 1 <= found <= MAX_SEEDS:
        raise EmbstoreError(f"found {found} split seeds, wanted 1 to {MAX_SEEDS}; one seed by name is `--seeds 7,`")
    return list(range(seeds)) if isinstance(seeds, int) else sorted(set(seeds))


def _spaces(store: Store, backbones: Sequence[str], digests: Sequence[str], unit: str | None) -> list[SpaceRow]:
    """Return the spaces meant, once each; a backbone that has none is an error with the line that makes it."""
    named = [find_space(store, digest=d, unit=unit) for d in digests]
    for space in named:
        if backbones and not any(matches(space, spec, None) for spec in backbones):
            listed = ", ".join(backbones)
            raise EmbstoreError(f"space {short(space['digest'])} is of {label(space)}, which is none of {listed}")
    rest = [spec for spec in backbones if not any(matches(space, spec, None) for space in named)]
    specs: list[str | None] = [*rest] if backbones or named else [None]
    how = f" --unit {unit}" if unit == "image" else ""
    todo = "make it with `embstore embed --backbone {}{}`"
    found = [find_space(store, spec, unit=unit, todo=todo.format(spec, how) if spec else "") for spec in specs]
    return list({s["digest"]: s for s in [*named, *found]}.values())


def _setting(
    store: Store,
    question: Question,
    spaces: Sequence[SpaceRow],
    drawn: Sequence[Split],
    before: Mapping[str, int],
) -> Setting:
    task = load_task(store, question, spaces, drawn)  # what cannot be scored fails here, and leaves no split behind
    splits = tuple(keep_split(store, split) for split in drawn)
    names = [*TABLES_READ, *(embeddings_name(s["digest"]) for s in spaces)]
    versions = {name: version for name, version in store.versions().items() if name in names}
    if any(before[name] != version for name, version in versions.items() if name not in SPLIT_TABLES):
        raise EmbstoreError("the store changed while it was being read; run the same command again")
    return Setting(question, tuple(spaces), task, splits, versions, tuple(_notes(store, question, task, splits[0].by)))


def _notes(store: Store, question: Question, task: Task, by: str) -> list[str]:
    notes = []
    licences = rows(store, sql_text("embstore_bench", "licences"), {"dataset": question.dataset})
    if any(r["licence"] == "phantom" for r in licences):
        notes.append("phantom images: this score shows that the machine works, not biology")
    if len(task.groups) < MIN_SCORED_GROUPS:
        notes.append(f"{len(task.groups)} proteins in {len(task.classes)} classes: plumbing, not a score")
    if by != "protein":
        notes.append(f"split by {by}: a protein's units are on both sides of the folds; this score shows the leak")
    return notes


def _entry_id(setting: Setting, contestant: Contestant) -> str:
    """Return the digest (12 hex) of everything that the entry's numbers depend on."""
    record = {
        "task": setting.question.name,
        "task_version": TASK_VERSION,
        "dataset": setting.question.dataset,
        "splits": [s.digest for s in setting.splits],
        "unit": setting.task.unit,
        "space": contestant.space,
        "floor": contestant.backbone if contestant.floor else "",
        "head": contestant.head.name,
        "params": contestant.head.params,
        "protocol": PROTOCOL,
        "content": contestant.content_digest,
    }
    return short(digest(record))


def _fit_missing(store: Store, setting: Setting, missing: Mapping[str, Contestant], progress: Progress | None) -> None:
    total, done = len(missing) * len(setting.splits) * setting.task.k, 0
    for entry, contestant in missing.items():

        def after_run(what: str = contestant.label) -> None:
            nonlocal done
            done += 1
            if progress:
                progress(done, total, what)

        started = time.perf_counter()
        outcome = fit_all(contestant.head, contestant.vectors(), setting.task, after_run)
        results = results_of(outcome, setting.task)
        row = _entry_row(setting, entry, contestant) | {"elapsed_s": time.perf_counter() - started}
        write_entry(store, row, outcome, results, setting.task)


def _entry_row(setting: Setting, entry: str, contestant: Contestant) -> dict[str, Any]:
    question, task, splits = setting.question, setting.task, setting.splits
    return {
        "entry": entry,
        "task": question.name,
        "task_version": TASK_VERSION,
        "dataset": question.dataset,
        "label_set": question.label_set,
        "split": _split_label(splits),
        "split_digest": ",".join(s.digest for s in splits),  # each by itself: stored_split.sql looks for one
        "backbone": contestant.backbone,
        "strategy": contestant.strategy,
        "space": contestant.space,
        "unit": task.unit,
        "head": contestant.head.name,
        "params": json.dumps(contestant.head.params),
        "floor": contestant.floor,
        "protocol": PROTOCOL,
        "classes": list(task.classes),
        "left_out": json.dumps(task.left_out),
        "n_folds": splits[0].k,
        "n_seeds": len(splits),
        "n_units": len(task.ids),
        "n_groups": len(task.groups),
        "table_versions": json.dumps(dict(setting.versions), sort_keys=True),
        "content_digest": contestant.content_digest,
        "tag": setting.tag,
        "note": "; ".join(setting.notes),
    }


def _split_label(splits: Sequence[Split]) -> str:
    """Return the splits' name, with every seed: `opencell/grade3/protein-k5-s0,1,2`."""
    return splits[0].name + "".join(f",{s.seed}" for s in splits[1:])


def _report(store: Store, setting: Setting, entries: list[str], *, made: int) -> BenchReport:
    figures = leaderboard(store, metric=None, level=None, entries=entries).to_pylist()
    headline = [r for r in figures if (r["metric"], r["level"]) == ("macro_f1", "unit")]
    return BenchReport(
        entries=headline,
        metrics=[r for r in figures if (r["metric"], r["level"]) != ("macro_f1", "unit")],
        per_class=per_class(store, entries=entries).to_pylist(),
        names={s["digest"]: name for s, name in zip(setting.spaces, told_apart(setting.spaces), strict=True)},
        left_out=setting.task.left_out,
        notes=_report_notes(store, setting),
        audit={s.name: s.audit for s in setting.splits},
        made=made,
        reused=len(entries) - made,
    )


def _report_notes(store: Store, setting: Setting) -> list[str]:
    """Return the entries' notes and a hint for every kind of unit that the user can get back."""
    notes = [*setting.notes]
    pooled = sorted({s["pooling"] for s in setting.spaces} - UNPOOLED)
    if len(pooled) > 1:
        notes.append(
            f"the vectors are pooled in {len(pooled)} ways ({', '.join(pooled)}): compare networks at one pooling"
        )
    if late := setting.task.left_out["group_not_in_split"]:
        notes.append(late_units_hint(store, setting.splits, late))
    return notes
