"""Does pretraining help? `phantom-dino` on fresh proteins, against the same network untrained and against pixel-stats.

    python benchmarks/phantom/pretrained.py --work FOLDER

Proteins that the pretraining did not see (another seed of the atlas) are written, ingested and scored as in `bench`:
5 folds by protein, 3 seeds, linear head, labels as published. The untrained twin is the network with its random initial
weights and the same pooling, under three seeds. Differences are bootstrapped over proteins, paired. The folder keeps
atlas and store, and a second call continues from there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import embstore as es
from embstore.backbones.network import build
from embstore.backbones.registry import find, keep
from embstore.store import Store, list_spaces
from embstore_bench.fitting import fit_all
from embstore_bench.heads import HEADS
from embstore_bench.metrics import Counts, Pooled, group_counts, macro_f1, pool_groups, summarise
from embstore_bench.questions import find_question
from embstore_bench.splits import draw_split
from embstore_bench.tasks import Task, load_task

SEED = 114  # 111 to 113 calibrated the atlas, 211 and 212 were used for pretraining and its trials
TRAINED = "phantom-dino"
UNTRAINED = ("untrained-0", "untrained-1", "untrained-2")


def main() -> None:
    """Write, ingest, fit, compare; a report as JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for atlas, store and untrained weights")
    parser.add_argument("--proteins", type=int, default=200)
    parser.add_argument("--fields", type=int, default=2)
    parser.add_argument("--field-px", type=int, default=400)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--head", default="linear", choices=list(HEADS))
    options = parser.parse_args()
    os.environ["EMBSTORE_WEIGHTS"] = str(options.work / "weights")
    atlas = es.write_phantom(
        options.work / "atlas",
        layout="opencell",
        proteins=options.proteins,
        fields=options.fields,
        seed=SEED,
        field_px=options.field_px,
    )
    for seed, name in enumerate(UNTRAINED):
        keep_untrained(name, seed)
    backbones = ["pixel-stats", TRAINED, *UNTRAINED]
    store = es.open(options.work / "store", create=True)
    es.ingest(store, atlas.images_folder, layout="opencell", labels=atlas.labels, backbones=backbones)
    print(json.dumps(report(store, backbones, options.folds, options.seeds, options.head), indent=1))


def keep_untrained(name: str, seed: int) -> None:
    """Add the trained network's untrained twin: the same record, timm's own initial weights."""
    torch.manual_seed(seed)
    network = build(find(TRAINED))
    record = replace(find(TRAINED), name=name, note="as drawn", origin="user")
    keep(record, {name: tensor.numpy() for name, tensor in network.state_dict().items()})


def report(store: Store, backbones: Sequence[str], folds: int, seeds: int, head: str) -> dict[str, Any]:
    """Return macro F1 of each over cells with its interval, and the differences that were asked for."""
    question = find_question(store, "localization", "opencell")
    splits = [
        draw_split(store, dataset="opencell", label_set=question.label_set, k=folds, seed=seed) for seed in range(seeds)
    ]
    by_name = {space["backbone"]: space for space in list_spaces(store)}
    spaces = [by_name[name] for name in backbones]
    task = load_task(store, question, spaces, splits)
    counts = {
        space["backbone"]: _counts(task, HEADS[head], store.matrix(space["digest"], task.ids)) for space in spaces
    }
    untrained = np.concatenate([counts[name] for name in UNTRAINED])  # (nets x seeds, groups, classes, 3)
    pooled = {name: pool_groups(of_network) for name, of_network in counts.items()}
    pooled["untrained"] = pool_groups(untrained)
    return {
        "head": head,
        "proteins": len(task.groups),
        "cells": len(task.ids),
        "classes": len(task.classes),
        "macro_f1": {name: _summary(p) for name, p in pooled.items()},
        "minus_untrained": _difference(pooled[TRAINED], pooled["untrained"]),
        "minus_each_untrained": [_difference(pooled[TRAINED], pooled[name]) for name in UNTRAINED],
        "minus_pixel_stats": _difference(pooled[TRAINED], pooled["pixel-stats"]),
    }


def _counts(task: Task, head: Any, vectors: npt.NDArray[np.float32]) -> Counts:
    """Return tp, fp, fn of out-of-fold answers, (seeds, groups, classes, 3)."""
    predicted = fit_all(head, vectors, task).predicted
    return np.stack([group_counts(p, task.actual, task.group_index, len(task.groups)) for p in predicted])


def _summary(pooled: Pooled) -> dict[str, float | None]:
    summary = summarise(pooled, macro_f1)[0]
    sd = None if summary.sd is None else round(summary.sd, 4)
    return {"mean": round(summary.mean, 4), "sd": sd, "low": round(summary.low, 4), "high": round(summary.high, 4)}


def _difference(one: Pooled, other: Pooled) -> dict[str, float]:
    """Return the paired difference of macro F1, means over seeds, with its 95 % bootstrap interval over proteins."""
    difference = float(macro_f1(one.observed).mean() - macro_f1(other.observed).mean())
    apart = macro_f1(one.resampled, np.nan).mean(axis=1) - macro_f1(other.resampled, np.nan).mean(axis=1)
    low, high = np.percentile(apart, (2.5, 97.5))
    return {"mean": round(difference, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


if __name__ == "__main__":
    main()
