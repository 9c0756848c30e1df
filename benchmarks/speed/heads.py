"""The heads `linear` and `mlp` against the loops that people write: scikit-learn's, and torch's with a DataLoader.

One fold of 6,000 vectors of 768 numbers in 12 classes; every candidate goes through the same grid of C and class
weights, or trains the same network with the same rule for stopping. Seconds are CPU seconds: the machine is shared.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from embstore_bench.heads import linear, mlp
from embstore_bench.heads.choosing import choose
from embstore_bench.heads.recipe import Candidate, Fold
from embstore_bench.heads.scaling import standardised

ROWS, DIM, CLASSES, FOLDS = 6_000, 768, 12, 5
TOLERANCE = 1e-6  # scikit-learn's, at which its probabilities are as near to the optimum as ours
LOADER_EPOCHS = 20
LOADER_BATCH = 256


@dataclass(frozen=True)
class Answer:
    """What a candidate answers for the test fold, (n, classes), and its CPU seconds."""

    predicted: Any
    seconds: float


def main() -> None:
    torch.set_num_threads(1)
    fold, X_test, Y_test = problem()
    grid = list(product(linear.LINEAR["C"], linear.LINEAR["class_weight"]))
    contests: dict[str, dict[str, Callable[[], Any]]] = {
        "linear": {
            "embstore, linear": lambda: linear.fit_linear(fold),
            "a scikit-learn loop": lambda: choose([sklearn_candidate(fold, *point) for point in grid], fold),
            "a DataLoader loop": lambda: choose([loader_candidate(fold, *point) for point in grid], fold),
        },
        "mlp": {
            "embstore, mlp": lambda: mlp.fit_mlp(fold),
            "a DataLoader loop": lambda: choose([loader_mlp(fold)], fold),
        },
    }
    for title, candidates in contests.items():
        answers = {name: answered(fit, X_test) for name, fit in candidates.items()}
        report(title, answers, Y_test)


def problem() -> tuple[Fold, Any, Any]:
    """Return train, validation and test in the proportions of 5 folds: vectors with the spectrum of a network's."""
    rng = np.random.default_rng(0)
    Y = np.eye(CLASSES, dtype=bool)[rng.choice(CLASSES, ROWS, p=rng.dirichlet(np.full(CLASSES, 2.0)))]
    Y |= rng.random(Y.shape) < 0.06
    spectrum = np.arange(1, DIM + 1) ** -0.7
    axes = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    signal = Y @ rng.normal(size=(CLASSES, DIM)) * 0.1
    X = (((signal + rng.normal(size=(ROWS, DIM))) * spectrum) @ axes).astype(np.float32)
    part = np.arange(ROWS) % FOLDS
    train, validation, test = part >= 2, part == 1, part == 0
    groups = np.arange(ROWS)[validation]
    return Fold(X[train], Y[train], X[validation], Y[validation], groups), X[test], Y[test]


def answered(fit: Callable[[], Any], X_test: Any) -> Answer:
    """Fit and answer; the seconds are those of all threads."""
    started = time.process_time()
    fitted = fit()
    scores = fitted.scores(X_test)
    seconds = time.process_time() - started
    return Answer(scores >= (fitted.thresholds if fitted.decision != "0.5" else 0.5), seconds)


def sklearn_candidate(fold: Fold, C: float, weight: str) -> Candidate:
    """Return one point of the grid: a logistic regression for each class."""

    def fit(X: Any, Y: Any) -> Any:
        scale = standardised(X)
        models = []
        for column in Y.T:
            model = LogisticRegression(
                C=C, class_weight=None if weight == "none" else weight, tol=TOLERANCE, max_iter=10_000
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                models.append(model.fit(scale(X), column))
        return lambda X: np.stack([m.predict_proba(scale(X))[:, 1] for m in models], axis=1).astype(np.float32)

    score = fit(fold.X_train, fold.Y_train)
    return Candidate({"C": C, "class_weight": weight}, score(fold.X_validation), lambda X, Y: (fit(X, Y), {}))


def loader_candidate(fold: Fold, C: float, weight: str) -> Candidate:
    """Return one point of the grid: a linear layer trained by Adam on batches of a DataLoader."""

    def fit(X: Any, Y: Any) -> Any:
        scale = standardised(X)
        positive = torch.as_tensor((len(Y) / Y.sum(axis=0) - 1).astype(np.float32)) if weight == "balanced" else None
        net = nn.Linear(X.shape[1], Y.shape[1])
        # |w|^2 / 2C of a sum of losses over n units is 1 / Cn of their mean
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1 / (C * len(X)))
        epochs(net, optimiser, scale(X), Y, nn.BCEWithLogitsLoss(pos_weight=positive), n=LOADER_EPOCHS)
        return scorer(net, scale)

    score = fit(fold.X_train, fold.Y_train)
    return Candidate({"C": C, "class_weight": weight}, score(fold.X_validation), lambda X, Y: (fit(X, Y), {}))


def loader_mlp(fold: Fold) -> Candidate:
    """Return the network of the head `mlp`, trained on batches of a DataLoader and stopped by the same rule."""
    first, second = mlp.MLP["hidden"]

    def network(Y: Any) -> nn.Sequential:
        hidden = [
            nn.Linear(DIM, first),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(0.5),
        ]
        return nn.Sequential(*hidden, nn.Linear(second, Y.shape[1]))

    scale = standardised(fold.X_train)
    net = network(fold.Y_train)
    optimiser = torch.optim.Adam(net.parameters(), lr=mlp.MLP["learning_rate"])
    loss = nn.BCEWithLogitsLoss()
    X_validation, Y_validation = (torch.as_tensor(v).float() for v in (scale(fold.X_validation), fold.Y_validation))
    lowest, best, scores = np.inf, 0, np.empty(0)
    for epoch in range(1, mlp.MLP["max_epochs"] + 1):
        epochs(net, optimiser, scale(fold.X_train), fold.Y_train, loss, n=1)
        net.eval()
        with torch.no_grad():
            logits = net(X_validation)
            value = float(loss(logits, Y_validation))
        if value < lowest:
            lowest, best, scores = value, epoch, logits.sigmoid().numpy()
        if epoch - best >= mlp.MLP["patience"]:
            break

    def refit(X: Any, Y: Any) -> Any:
        again, scale_again = network(Y), standardised(X)
        optimiser = torch.optim.Adam(again.parameters(), lr=mlp.MLP["learning_rate"])
        epochs(again, optimiser, scale_again(X), Y, loss, n=best)
        return scorer(again, scale_again), {}

    return Candidate({"epochs": best}, scores, refit)


def epochs(net: nn.Module, optimiser: Any, X: Any, Y: Any, loss: Any, *, n: int) -> None:
    """Train on batches of a DataLoader."""
    batches = DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(Y).float()), LOADER_BATCH, shuffle=True)
    net.train()
    for _ in range(n):
        for x, y in batches:
            optimiser.zero_grad()
            loss(net(x), y).backward()
            optimiser.step()


def scorer(net: nn.Module, scale: Any) -> Any:
    """Return the function that scores new vectors."""

    def score(X: Any) -> Any:
        net.eval()
        with torch.no_grad():
            return net(torch.as_tensor(scale(X))).sigmoid().numpy()

    return score


def report(title: str, answers: dict[str, Answer], actual: Any) -> None:
    """Print seconds, macro F1 and the share of equal answers, as a table to stderr and a line of JSON to stdout."""
    ours = next(iter(answers.values()))
    record: dict[str, Any] = {"title": title, "work": f"{ROWS} × {DIM}, {CLASSES} classes, one of {FOLDS} folds"}
    record |= {"cores": os.cpu_count(), "machine": platform.machine(), "unit": "CPU seconds", "ratios": {}}
    for name, answer in answers.items():
        macro_f1 = f1_score(actual, answer.predicted, average="macro")
        same = float((answer.predicted == ours.predicted).mean())
        record["ratios"][name] = round(answer.seconds / ours.seconds, 3)
        record[name] = {"seconds": round(answer.seconds, 2), "macro_f1": round(macro_f1, 4), "same": round(same, 5)}
        sys.stderr.write(f"  {name:<24} {record['ratios'][name]:7.2f} ×   {record[name]}\n")
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
