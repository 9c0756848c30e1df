"""Writing an entry: what it rests on, its runs, figures and predictions; the entry itself last (DESIGN §6)."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from embstore.store import TABLES, Store, code_version, now
from embstore_bench.fitting import Outcome, Result
from embstore_bench.tasks import Task

LIBRARIES = ("numpy", "scipy", "scikit-learn", "pyarrow", "duckdb", "lancedb", "pylance")


def write_entry(store: Store, row: Mapping[str, Any], outcome: Outcome, results: Sequence[Result], task: Task) -> None:
    """Write runs, results and predictions, then the entry: a kill in between leaves no entry, a rerun completes it.

    The predictions of floors are not stored: they hang on ids and train alone, so that a refit gives them again.
    """
    entry = row["entry"]
    store.upsert("runs", [_run_row(entry, run) for run in outcome.runs])
    store.upsert("results", [_result_row(entry, result) for result in results])
    if not row["floor"]:
        seeds = range(len(task.seeds))
        store.upsert("predictions", pa.concat_tables([predictions_table(entry, s, outcome, task) for s in seeds]))
    store.upsert("entries", [dict(row) | provenance() | {"created": now()}])


def provenance() -> dict[str, Any]:
    """Return code version, library versions and device, as an entry records them."""
    libraries = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    return {
        "code_version": code_version(),
        "libraries": json.dumps(libraries, sort_keys=True),
        "device": f"cpu ({platform.machine()})",
    }


def predictions_table(entry: str, s: int, outcome: Outcome, task: Task) -> pa.Table:
    """Return the predictions of one split seed (the s-th) as the store's table takes them, one row a unit."""
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


def _lists(values: Any) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))


def _run_row(entry: str, run: Any) -> dict[str, Any]:
    row = {name: getattr(run, name) for name in ("seed", "fold", "n_train", "n_validation", "n_test", "elapsed_s")}
    return row | {"entry": entry, "chosen": json.dumps(run.chosen), "thresholds": run.thresholds.tolist()}


def _result_row(entry: str, result: Result) -> dict[str, Any]:
    row = {name: getattr(result, name) for name in ("metric", "level", "location", "support")}
    row |= {name: getattr(result.summary, name) for name in ("mean", "sd", "low", "high")}
    return row | {"entry": entry}
