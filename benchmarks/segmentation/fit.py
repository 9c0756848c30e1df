"""Fit the scores by which the segmenter chooses among its candidates, and report how well it carries to other sources.

    EMBSTORE_SAMPLES=.../data python benchmarks/segmentation/fit.py [--write]

Prints F1 at IoU 0.5 of each field by weights that were fitted without any field of its source (leave one source out),
with separate means for real and simulated fields. With --write the weights of all fields are written into the package.
Every field is used at three nuclear diameters, because the diameter of a new field may be estimated wrongly.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from clumps import fields as simulated
from scipy.optimize import minimize
from score import by_hand, count

from embstore.pixels.cover import features
from embstore.pixels.diameter import nuclear_diameter_px
from embstore.pixels.segment import Proposal, chosen, propose
from embstore.pixels.segmentation import SEGMENTER
from embstore.pixels.smoothing import reduced

RECORD = Path(__file__).parents[2] / "embstore/pixels/nuclear_scores.json"
SCALES = (0.85, 1.0, 1.2)  # of the estimated diameter
PENALTY = 1e-3  # times the sum of squared weights, of features scaled to sd 1
NO_MATCH, MATCH = 0.3, 0.85  # IoU with a true nucleus from which a candidate counts at all, and counts fully


@dataclass(frozen=True)
class Example:
    """The candidates of one field at one diameter, and how well each agrees with the true nucleus `match`."""

    field: str
    scale: float
    proposal: Proposal
    features: dict[str, np.ndarray]
    iou: np.ndarray
    match: np.ndarray
    true: int

    @property
    def source(self) -> str:
        """Return whose fields these are; the two cell lines of coelho2009 count as two."""
        folder, name = self.field.split("/")
        return name[:3] if folder == "coelho2009" else folder


def main() -> None:
    """Print the scores, and write the weights where that is asked for."""
    samples = Path(os.environ.get("EMBSTORE_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
    if not samples.is_dir():
        sys.exit(f"there is no folder {samples}; set EMBSTORE_SAMPLES to the folder of sample images")
    drawn = [(field.name, field.nucleus, field.truth) for field in by_hand(samples)]
    examples = [example for field in [*drawn, *simulated()] for example in examples_of(*field)]
    scores = left_out(examples)
    for name, by_scale in scores.items():
        print(f"| {name} | " + " | ".join(f"{f1:.3f}" for f1 in by_scale.values()) + " |")
    for kind, simulation in (("real", False), ("simulated", True)):
        values = np.array([list(s.values()) for n, s in scores.items() if n.startswith("simulated") == simulation])
        mean, low = values.mean(0), values.min(0)
        print(
            f"| **{kind}: mean, lowest** | " + " | ".join(f"{m:.3f}, {x:.3f}" for m, x in zip(mean, low, strict=True))
        )
    if "--write" in sys.argv:
        write(fitted(examples), examples)


def examples_of(name: str, nucleus: np.ndarray, truth: np.ndarray) -> list[Example]:
    """Return a field as an example at each diameter."""
    estimate = nuclear_diameter_px(nucleus, None)
    assert estimate is not None
    examples = []
    for scale in SCALES:
        diameter = estimate * scale
        factor = max(1, round(diameter / SEGMENTER["work_px"]))
        proposal = propose(reduced(nucleus, factor), diameter / factor)
        assert proposal is not None
        iou, match = agreement(proposal, _reduced_labels(truth, factor))
        columns = features(proposal.candidates, proposal.px, proposal.noise)
        examples.append(Example(name, scale, proposal, columns, iou, match, count(truth)))
    return examples


def _reduced_labels(truth: np.ndarray, factor: int) -> np.ndarray:
    _, labels = np.unique(np.concatenate([[0], truth.ravel()]), return_inverse=True)
    labels = labels[1:].reshape(truth.shape)
    if factor == 1:
        return labels
    padded = np.pad(labels, [(0, -n % factor) for n in labels.shape], mode="edge")
    return padded[factor // 2 :: factor, factor // 2 :: factor]


def agreement(proposal: Proposal, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each candidate's IoU with the true nucleus that it agrees with best, and the number of that one."""
    candidates, n = proposal.candidates, int(truth.max()) + 1
    sizes = np.bincount(truth.ravel(), minlength=n)
    iou, match = np.zeros(len(candidates)), np.zeros(len(candidates), np.int64)
    for image, labels in enumerate(candidates.drawn):
        rows = np.flatnonzero(candidates.image == image)
        k = int(labels.max()) + 1
        both = np.bincount((labels.astype(np.int64) * n + truth).ravel(), minlength=k * n).reshape(k, n).astype(float)
        both[0] = 0
        total = both.cumsum(0)
        overlap = total[candidates.last[rows]] - total[candidates.first[rows] - 1]
        ratio = overlap / (candidates.area[rows][:, None] + sizes - overlap)
        ratio[:, 0] = 0
        iou[rows], match[rows] = ratio.max(1), ratio.argmax(1)
    return iou, match


def fitted(examples: list[Example]) -> dict[str, float]:
    """Return logistic weights by which candidates that agree with a true nucleus score high."""
    names = list(examples[0].features)
    X = np.concatenate([np.stack([e.features[name] for name in names], 1) for e in examples])
    y = np.concatenate([((e.iou - NO_MATCH) / (MATCH - NO_MATCH)).clip(0, 1) for e in examples])
    weight = np.concatenate([np.full(len(e.iou), np.sqrt(e.true) / len(e.iou)) for e in examples])
    weight /= weight.sum()
    spread = X.std(0)
    spread[spread == 0] = 1
    Z = X / spread

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = Z @ b
        size = np.concatenate([[0], b[1:]])
        error = (weight * (np.logaddexp(0, z) - y * z)).sum() + PENALTY * (size**2).sum()
        return float(error), Z.T @ (weight * (1 / (1 + np.exp(-z)) - y)) + 2 * PENALTY * size

    best = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return {name: round(float(b), 3) for name, b in zip(names, best / spread, strict=True)}


def left_out(examples: list[Example]) -> dict[str, dict[float, float]]:
    """Return F1 of each field and diameter by weights fitted on the other sources alone."""
    scores: dict[str, dict[float, float]] = {}
    for source in sorted({e.source for e in examples}):
        weights = fitted([e for e in examples if e.source != source])
        for e in examples:
            if e.source == source:
                scores.setdefault(e.field, {})[e.scale] = f1(e, weights)
    return scores


def f1(example: Example, weights: dict[str, float]) -> float:
    """Return F1 at IoU 0.5 of what is chosen among the candidates, at the resolution that is worked at."""
    rows = chosen(example.proposal, weights)
    hits = len(set(example.match[rows][example.iou[rows] > 0.5]))
    return 2 * hits / max(example.true + len(rows), 1)


def write(weights: dict[str, float], examples: list[Example]) -> None:
    """Write the weights into the package, with what they were fitted on."""
    record = {
        "about": "logistic weights of embstore.pixels.cover.features, made by benchmarks/segmentation/fit.py --write",
        "fitted_on": sorted({e.field for e in examples}),
        "weights": weights,
    }
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
