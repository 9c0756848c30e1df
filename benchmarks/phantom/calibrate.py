"""Is the atlas hard enough? Two scores on 200 fresh proteins, and the F1 of each location.

    python benchmarks/phantom/calibrate.py --work FOLDER

`pixel-stats` with the linear head (the baseline of all networks) and a small ViT trained with the labels (the upper
limit) are trained on the same proteins, choose their settings on the same validation proteins, and are scored once on
the same 200 that neither has seen: macro F1 over cells of grade-3 locations as published, wrong labels included, with a
bootstrap of proteins, paired for the difference. Cells are processed as in `ingest`: written pixels, intensity scaling,
segmentation, crops. Simulated cells and trained weights are kept in the folder, and a second call continues from there.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from supervised_vit import SmallViT, scores, trained

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.ingest import crops_of
from embstore.ingest.cells import cell_rows
from embstore.phantom import atlas_digest
from embstore.phantom.v1.field import draw_field
from embstore.phantom.v1.law import LAYOUTS, LOCATIONS
from embstore.phantom.v1.proteins import plan_proteins
from embstore.pixels.intensity import scale
from embstore.pixels.segment import segment
from embstore_bench.heads.linear import fit_linear
from embstore_bench.heads.recipe import Fold
from embstore_bench.metrics import Counts, f1, group_counts, macro_f1, pool_groups, summarise
from embstore_bench.thresholds import Scores, choose_thresholds

TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 111, 112, 113
CROP_UM, CROP_PX = 25.0, 96


@dataclass(frozen=True)
class Cells:
    """Cells of fresh proteins: crops uint8 (n, 2, 96, 96), their pixel-stats (n, dim), protein (n,), labels (n, c)."""

    crops: npt.NDArray[np.uint8]
    stats: npt.NDArray[np.float32]
    protein: npt.NDArray[np.int64]
    labels: npt.NDArray[np.bool_]


def main() -> None:
    """Simulate, fit, score; a report as JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for crops and weights")
    parser.add_argument("--train", type=int, default=4000, help="proteins to train on, one field each")
    parser.add_argument("--test", type=int, default=200, help="proteins to be scored on, four fields each")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    train = drawn(options.work, TRAIN_SEED, options.train, 1)
    validation = drawn(options.work, VALIDATION_SEED, 240, 2)
    test = drawn(options.work, TEST_SEED, options.test, 4)

    fold = Fold(train.stats, train.labels, validation.stats, validation.labels, validation.protein)
    linear = fit_linear(fold)

    def watched(net: SmallViT) -> float:
        predicted = scores(net, validation.crops)
        return float(macro_f1(_counts(_tuned(validation, predicted), validation, predicted).sum(axis=0)))

    kept = options.work / f"vit-{atlas_digest('v1')[:12]}-s{TRAIN_SEED}-p{options.train}-e{options.epochs}.pt"
    net = trained(kept, train.crops, train.labels, options.epochs, watched)
    vit_thresholds = _tuned(validation, scores(net, validation.crops))
    answers = {
        "pixel-stats linear": (linear.thresholds, linear.scores(test.stats)),
        "supervised ViT": (vit_thresholds, scores(net, test.crops)),
    }
    print(json.dumps(_report(train, test, answers), indent=1))


def drawn(work: Path, seed: int, proteins: int, fields: int, side: int = 260) -> Cells:
    """Return the cells of a seed's first proteins, from the folder if they were simulated before."""
    kept = work / f"cells-{atlas_digest('v1')[:12]}-s{seed}-p{proteins}-f{fields}-{side}.npz"
    if not kept.exists():
        asked = [(seed, start, min(20, proteins - start), fields, side) for start in range(0, proteins, 20)]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool_:
            parts = list(pool_.map(_cells, asked))
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        np.savez(kept, **dict(zip(("crops", "stats", "protein", "labels"), joined, strict=True)))
    with np.load(kept) as arrays:
        return Cells(**{name: arrays[name] for name in ("crops", "stats", "protein", "labels")})


def _cells(asked: tuple[int, int, int, int, int]) -> tuple[npt.NDArray[Any], ...]:
    seed, start, count, fields, side = asked
    encoder = load(BACKBONES["pixel-stats"], Choices())
    um, columns = LAYOUTS["opencell"].pixel_size_um, []
    for protein in plan_proteins(count, seed, start):
        positive = np.array([protein.published.get(name) == 3 for name in LOCATIONS])
        for number in range(fields):
            pixels = draw_field(protein, number, "opencell", side).pixels
            scaled = scale(pixels)
            roles = ("nucleus", "protein")
            cells = cell_rows(
                segment(pixels[0], um),
                pixels=pixels,
                scaled=scaled,
                roles=roles,
                image="",
                segmentation="",
                known_um=um,
            )
            if not cells or not positive.any():
                continue
            crops: Crops = crops_of(cells, scaled, roles, CROP_UM / um, CROP_PX)
            shown = np.round(crops.pixels * 255).astype(np.uint8)
            n = len(cells)
            columns.append((shown, encoder(crops), np.full(n, protein.index), np.tile(positive, (n, 1))))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


def _tuned(cells: Cells, predicted: Scores) -> Scores:
    return choose_thresholds(predicted, cells.labels, cells.protein)


def _counts(thresholds: Scores, cells: Cells, predicted: Scores) -> Counts:
    """Return tp, fp, fn of each protein and class, (proteins, classes, 3)."""
    groups, index = np.unique(cells.protein, return_inverse=True)
    return group_counts(predicted >= thresholds, cells.labels, index, len(groups))


def _report(train: Cells, test: Cells, answers: dict[str, tuple[Scores, Scores]]) -> dict[str, Any]:
    """Return macro F1 of each with its interval, the paired difference, and F1 by class."""
    pooled = {
        name: pool_groups(_counts(thresholds, test, after)[None]) for name, (thresholds, after) in answers.items()
    }
    baseline, ceiling = pooled.values()
    apart = (macro_f1(ceiling.resampled, np.nan) - macro_f1(baseline.resampled, np.nan))[:, 0]
    difference = float((macro_f1(ceiling.observed) - macro_f1(baseline.observed))[0])
    whole = {name: summarise(p, macro_f1)[0] for name, p in pooled.items()}
    by_class = {name: summarise(p, f1) for name, p in pooled.items()}
    positive = [np.unique(test.protein[test.labels[:, i]]).size for i in range(len(LOCATIONS))]
    return {
        "atlas": atlas_digest("v1"),
        "train": {"proteins": np.unique(train.protein).size, "cells": len(train.protein)},
        "test": {"proteins": np.unique(test.protein).size, "cells": len(test.protein)},
        "macro_f1": {name: _rounded(s.mean, s.low, s.high) for name, s in whole.items()},
        "difference": _rounded(difference, *np.percentile(apart, (2.5, 97.5))),
        "classes": {
            location: {"proteins": positive[i]}
            | {n: _rounded(s[i].mean, s[i].low, s[i].high) for n, s in by_class.items()}
            for i, location in enumerate(LOCATIONS)
        },
    }


def _rounded(*values: float) -> list[float]:
    return [round(float(value), 3) for value in values]


if __name__ == "__main__":
    main()
