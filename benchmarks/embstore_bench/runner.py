"""`bench`: from backbones and a task to entries of the leaderboard; fits only what is missing."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from embstore.errors import EmbstoreError, choices
from embstore.ids import digest, short
from embstore.progress import Progress, tell
from embstore.store import Store, rows
from embstore_bench.contestants import Contestant, contestants
from embstore_bench.fitting import fit_all, results_of
from embstore_bench.heads import HEADS
from embstore_bench.heads.recipe import Head
from embstore_bench.questions import LOCALIZATION, find_question
from embstore_bench.recording import entry_row, write_entry
from embstore_bench.report import BenchReport, make_report
from embstore_bench.setting import Setting, entry_id, find_spaces, make_setting

_log = logging.getLogger("embstore.bench")

MAX_SEEDS = 100  # larger numbers are probably single seeds


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
    progress: Progress | None = None,
) -> BenchReport:
    """Score how well each backbone's vectors predict locations, on the same units, splits and baselines (writes).

    `backbones` are specs such as `hpa:crop_um=40`; parts that a spec omits match anything. `seeds` is the number of
    split seeds, from 0, or a list of them. `space` is one digest or several, each of one of `backbones`, and replaces
    its spec. An entry that is stored already is reported as recorded, not fitted again. `progress("fits", done, total)`
    is called before the first fit of each entry, whose name it gets if it accepts details, and after every fit. Never
    embeds: a missing space is an EmbstoreError with the command that computes it. Writes splits, runs, results,
    predictions, entries and one tag over the tables read; nothing if there is nothing to score. All tables are read at
    the versions of the start, so that others may write to the store meanwhile. Returns the report on all entries, new
    and recorded.
    """
    chosen_heads = _heads(heads)
    pinned = store.pinned()  # so that others may write while this reads
    spaces = find_spaces(pinned, backbones, [space] if isinstance(space, str) else space)
    question = find_question(pinned, task, dataset)
    setting = make_setting(store, pinned, question, spaces, by=by, k=folds, seeds=_seeds(seeds))
    planned = {
        entry_id(setting, c): c for c in contestants(pinned, spaces, chosen_heads, setting.task, setting.versions)
    }
    existing = {r["entry"] for r in rows(store, "SELECT entry FROM entries ORDER BY entry")}
    missing = {entry: c for entry, c in planned.items() if entry not in existing}
    n_existing = len(planned) - len(missing)
    _log.info("bench of %s: %d entries to fit, %d exist", question.label_set, len(missing), n_existing)
    if missing:
        setting = replace(setting, tag="bench-" + short(digest([sorted(missing), dict(setting.versions)])))
        store.tag(setting.tag, setting.versions)  # before the first fit, so that an entry never names a missing tag
        _fit_missing(store, setting, missing, progress)
    return make_report(store, setting, list(planned), made=len(missing))


def _heads(names: Sequence[str]) -> list[Head]:
    unknown = [name for name in names if name not in HEADS]
    if unknown:
        raise EmbstoreError(choices(unknown[0], "head", HEADS))
    if not names:
        raise EmbstoreError(f"no head was named; choose from: {', '.join(sorted(HEADS))}")
    return [HEADS[name] for name in dict.fromkeys(names)]


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    n_seeds = seeds if isinstance(seeds, int) else len(set(seeds))
    if not 1 <= n_seeds <= MAX_SEEDS:
        raise EmbstoreError(f"found {n_seeds} split seeds, wanted 1 to {MAX_SEEDS}; a single seed is `--seeds 7,`")
    return list(range(seeds)) if isinstance(seeds, int) else sorted(set(seeds))


def _fit_missing(store: Store, setting: Setting, missing: Mapping[str, Contestant], progress: Progress | None) -> None:
    total, done = len(missing) * len(setting.splits) * setting.task.k, 0

    def after_run() -> None:
        nonlocal done
        done += 1
        tell(progress, "fits", done, total, item=contestant.name)

    for entry, contestant in missing.items():
        tell(progress, "fits", done, total, item=contestant.name)
        started = time.perf_counter()
        outcome = fit_all(contestant.head, contestant.vectors(), setting.task, after_run)
        results = results_of(outcome, setting.task)
        row = entry_row(setting, entry, contestant, time.perf_counter() - started)
        write_entry(store, row, outcome, results, setting.task)
        _log.info("fitted %s on %s in %.1f s: entry %s", contestant.name, row["split"], row["elapsed_s"], entry)
