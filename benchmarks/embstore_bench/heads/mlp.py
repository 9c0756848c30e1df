"""The head `mlp`: two hidden layers with dropout, stopped early."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from embstore_bench.heads.choosing import choose
from embstore_bench.heads.device import fit_device
from embstore_bench.heads.recipe import Candidate, ChosenParams, Classifier, Fold, Head, Matrix, Scorer
from embstore_bench.heads.scaling import standardised
from embstore_bench.metrics import BoolArray
from embstore_bench.thresholds import Scores

if TYPE_CHECKING:
    from torch import Generator, Tensor


class MlpParams(TypedDict):
    """What the results of the MLP head depend on."""

    hidden: list[int]
    dropout: float
    optimiser: str
    learning_rate: float
    batch: int
    max_epochs: int
    patience: int
    loss: list[str]
    scaler: str
    seed: int


# layers and dropout as in the field's heads on frozen embeddings: DESIGN section 6
MLP: MlpParams = {
    "hidden": [512, 256],
    "dropout": 0.5,
    "optimiser": "adam",
    "learning_rate": 1e-3,
    "batch": 256,
    "max_epochs": 200,
    "patience": 10,
    "loss": ["one-vs-rest", "multinomial where every unit has one location"],
    "scaler": "standard",
    "seed": 0,
}


def fit_mlp(fold: Fold) -> Classifier:
    """Return a network of two hidden layers (512, 256) with dropout 0.5 on standardised vectors.

    It is trained until the loss on validation has not fallen for 10 epochs, then again from the start on train and
    validation, for as many epochs as the lowest loss took.
    """
    return choose(_candidates(fold), fold)


def _candidates(fold: Fold) -> Iterator[Candidate]:
    epochs, scores = _stopped_early(fold)

    def refit(X: Matrix, Y: BoolArray) -> tuple[Scorer, ChosenParams]:
        network = _Network(X, Y, exclusive=fold.exclusive)
        for _ in range(epochs):
            network.train_epoch()
        return network.scores, {}

    yield Candidate({"epochs": epochs}, scores, refit)


def _stopped_early(fold: Fold) -> tuple[int, Scores]:
    """Return the number of epochs with the lowest loss on validation, and the scores of validation then."""
    network = _Network(fold.X_train, fold.Y_train, exclusive=fold.exclusive)
    lowest, best, scores = np.inf, 0, np.empty((0, 0), np.float32)
    for epoch in range(1, MLP["max_epochs"] + 1):
        network.train_epoch()
        loss, answer = network.judge(fold.X_validation, fold.Y_validation)
        if loss < lowest:
            lowest, best, scores = loss, epoch, answer
        if epoch - best >= MLP["patience"]:
            break
    return best, scores


class _Network:
    """Weights, their optimiser and a random generator of their own, so that networks can be trained side by side."""

    def __init__(self, X: Matrix, Y: BoolArray, *, exclusive: bool) -> None:
        import torch

        device = fit_device()
        self.scale = standardised(X)
        self.exclusive = exclusive
        self.generator = torch.Generator(device).manual_seed(MLP["seed"])
        self.X = torch.as_tensor(self.scale(X), device=device)
        self.Y = torch.as_tensor(Y, device=device).float()
        sizes = [X.shape[1], *MLP["hidden"], Y.shape[1]]
        self.layers = [self._layer(*pair) for pair in pairwise(sizes)]
        parameters = [tensor for layer in self.layers for tensor in layer]
        self.optimiser = torch.optim.Adam(parameters, lr=MLP["learning_rate"], fused=True)

    def _layer(self, n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
        """Return weights and biases drawn as torch.nn.Linear draws them."""
        bound = n_in**-0.5
        weights, biases = self.X.new_empty(n_out, n_in), self.X.new_empty(n_out)
        for tensor in (weights, biases):
            tensor.uniform_(-bound, bound, generator=self.generator).requires_grad_()
        return weights, biases

    def train_epoch(self) -> None:
        """Show every unit once, in a random order."""
        import torch

        order = torch.randperm(len(self.X), generator=self.generator, device=self.X.device)
        for batch in torch.split(order, MLP["batch"]):
            loss = self._loss(self._logits(self.X[batch], self.generator), self.Y[batch])
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            self.optimiser.step()

    def judge(self, X: Matrix, Y: BoolArray) -> tuple[float, Scores]:
        """Return the mean loss of units, without dropout, and their scores."""
        import torch

        with torch.no_grad():
            logits = self._logits(torch.as_tensor(self.scale(X), device=self.X.device))
            loss = self._loss(logits, torch.as_tensor(Y, device=self.X.device).float())
            return float(loss), self._probabilities(logits)

    def scores(self, X: Matrix) -> Scores:
        """Return the probability of each location, float32 (n, classes)."""
        import torch

        with torch.no_grad():
            return self._probabilities(self._logits(torch.as_tensor(self.scale(X), device=self.X.device)))

    def _logits(self, X: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the outputs, (n, classes); with a generator each hidden number is dropped at random."""
        import torch

        for weights, biases in self.layers[:-1]:
            X = torch.nn.functional.linear(X, weights, biases).relu()
            if generator is not None:
                kept = torch.empty_like(X).bernoulli_(1 - MLP["dropout"], generator=generator)
                X = X * kept / (1 - MLP["dropout"])
        return torch.nn.functional.linear(X, *self.layers[-1])

    def _loss(self, logits: Tensor, Y: Tensor) -> Tensor:
        import torch

        if self.exclusive:
            return torch.nn.functional.cross_entropy(logits, Y)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, Y)

    def _probabilities(self, logits: Tensor) -> Scores:
        return np.asarray((logits.softmax(dim=1) if self.exclusive else logits.sigmoid()).cpu(), dtype=np.float32)


HEAD_MLP = Head("mlp", MLP, fit_mlp, with_torch=True)
