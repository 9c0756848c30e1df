"""Write an entry: what it depends on, its runs, figures and predictions; the entry itself last (DESIGN §6)."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from embstore.store import TABLES, EntryRow, ResultRow, RunRow, Store, code_version, now
from embstore_bench.contestants import Contestant
from embstore_bench.fitting import Outcome, Result, Run
from embstore_bench.questions import PROTOCOL
from embstore_bench.setting import Setting
from embstore_bench.splits import Split
from embstore_bench.tasks import Task

ENTRY_LIBRARIES = ("numpy", "scipy", "torch", "pyarrow", "duckdb", "lancedb", "pylance")


def write_entry(store: Store, row: EntryRow, outcome: Outcome, results: Sequence[Result], task: Task) -> int:
    """Write runs, results and predictions, then the entry (writes); return the new version of `entries`.

    If this is interrupted, there is no entry, and the next bench fits it again. The predictions of baselines are not
    stored: they depend only on ids and train, so that fitting again gives the same.
    """
    entry = row["entry"]
    store.upsert("runs", [_run_row(entry, run) for run in outcome.runs])
    store.upsert("results", [_result_row(entry, result) for result in results])
    if not row["floor"]:
        seeds = range(len(task.seeds))
        store.upsert("predictions", pa.concat_tables([predictions_table(entry, s, outcome, task) for s in seeds]))
    return store.upsert("entries", [row])


def entry_row(setting: Setting, entry: str, contestant: Contestant, elapsed_s: float) -> EntryRow:
    """Return an entry as a row: the question, the contestant, the data, the code, and the seconds that it took."""
    question, task, splits = setting.question, setting.task, setting.splits
    return EntryRow(
        entry=entry,
        task=question.name,
        task_version=question.version,
        dataset=question.dataset,
        label_set=question.label_set,
        split=_split_label(splits),
        split_digest=",".join(s.digest for s in splits),  # separated, since stored_split.sql searches for single ones
        backbone=contestant.backbone,
        strategy=contestant.strategy,
        space=contestant.space,
        unit=task.unit,
        head=contestant.head.name,
        params=json.dumps(contestant.head.params),
        floor=contestant.baseline,
        protocol=PROTOCOL,
        classes=list(task.classes),
        left_out=json.dumps(asdict(task.left_out)),
        n_folds=splits[0].k,
        n_seeds=len(splits),
        n_units=len(task.ids),
        n_groups=len(task.groups),
        table_versions=json.dumps(dict(setting.versions), sort_keys=True),
        content_digest=contestant.content_digest,
        elapsed_s=elapsed_s,
        tag=setting.tag,
        note="; ".join(setting.notes),
        created=now(),
        **provenance(),
    )


class Provenance(TypedDict):
    """The columns of an entry that name the code and the machine."""

    code_version: str
    libraries: str
    device: str


def provenance() -> Provenance:
    """Return code version, library versions and device, as an entry records them."""
    libraries = {name: version(name) for name in ENTRY_LIBRARIES} | {"python": platform.python_version()}
    return {
        "code_version": code_version(),
        "libraries": json.dumps(libraries, sort_keys=True),
        "device": f"cpu ({platform.machine()})",
    }


def predictions_table(entry: str, s: int, outcome: Outcome, task: Task) -> pa.Table:
    """Return the predictions of one split seed (the s-th) as rows of the store's table, one for each unit."""
    n = len(task.ids)
    columns = {
        "entry": pa.array([entry] * n),
        "seed": pa.array(np.full(n, task.seeds[s], dtype=np.int32)),
        "id": pa.array(task.ids),
        "fold": pa.array(task.folds[s].astype(np.int32)),
        "scores": _lists(outcome.scores[s]),
        "predicted": _lists(outcome.predicted[s]),
        "actual": _lists(task.actual),
    }
    schema = TABLES["predictions"].schema
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _split_label(splits: Sequence[Split]) -> str:
    """Return the splits' name, with every seed: `opencell/grade3/protein-k5-s0,1,2`."""
    return splits[0].name + "".join(f",{s.seed}" for s in splits[1:])


def _lists(values: Any) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))


def _run_row(entry: str, run: Run) -> RunRow:
    return RunRow(
        entry=entry,
        seed=run.seed,
        fold=run.fold,
        chosen=json.dumps(run.chosen),
        thresholds=run.thresholds.tolist(),
        n_train=run.n_train,
        n_validation=run.n_validation,
        n_test=run.n_test,
        elapsed_s=run.elapsed_s,
    )


def _result_row(entry: str, result: Result) -> ResultRow:
    return ResultRow(
        entry=entry,
        metric=result.metric,
        level=result.level,
        location=result.location,
        mean=result.summary.mean,
        sd=result.summary.sd,
        low=result.summary.low,
        high=result.summary.high,
        support=result.support,
    )
