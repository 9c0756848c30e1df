"""Many penalised logistic regressions on the same vectors, solved together to a certified optimum.

The objective is scikit-learn's: sum(weight x loss) + |w|^2 / 2C, without a penalty on the intercept. L-BFGS (Nocedal
1980) runs on all problems at once, so that each step is two matrix products. Vectors are first rotated to their
principal axes: the penalty does not change, and there the Hessian is nearly diagonal, which gives a good first estimate
of its inverse. Without that, C = 100 on 768 numbers takes over 1,000 steps instead of 40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embstore_bench.heads.device import fit_device
from embstore_bench.heads.recipe import Matrix

if TYPE_CHECKING:
    from torch import Tensor

# The optimum counts as reached if no fit can be nearer to it than this, root mean square over the probabilities of
# train: for a convex loss with penalty p, f(w) - f* <= |gradient|^2 / 2p, and f(w) - f* >= sum of 2 (probability -
# optimal)^2.
PROBABILITY_RMS = 2.5e-4
MAX_STEPS = 2000
MEMORY = 8  # steps that L-BFGS remembers
LINE_STEPS = 5
ENOUGH = 0.1  # relative change of the step length that ends its search
STEP_LENGTHS = (0.05, 4.0)
SMALLEST_CURVATURE = 1e-6
NUMBERS_AT_ONCE = 2**24  # outputs x units that are solved together: 64 MB per array


@dataclass(frozen=True)
class Problems:
    """Logistic regressions on the same n units, `targets` (problems, outputs, n) with 0 or 1.

    One output is a yes or no (sigmoid), several outputs exclude each other (softmax). `weights` (problems, n) are those
    of units, `C` (problems,) is scikit-learn's.
    """

    targets: npt.NDArray[np.bool_]
    weights: Matrix
    C: Matrix


@dataclass(frozen=True)
class Fits:
    """The optimum of each problem: coefficients (problems, outputs, dim), intercepts (problems, outputs).

    `converged` (problems,) is False if the optimum was not reached within the tolerance.
    """

    coefficients: Matrix
    intercepts: Matrix
    converged: npt.NDArray[np.bool_]


def fit_logistic(X: Matrix, problems: Problems) -> Fits:
    """Return the optimum of each problem on vectors X (n, dim), which should be standardised."""
    import torch

    vectors = torch.as_tensor(X, device=fit_device())
    axes = torch.linalg.eigh(vectors.T @ vectors)[1]
    rotated = vectors @ axes
    outputs, units = problems.targets.shape[1:]
    at_once = max(1, NUMBERS_AT_ONCE // (outputs * units))
    parts = [
        _solve(rotated, _tensors(problems, slice(start, start + at_once), fit_device()))
        for start in range(0, len(problems.C), at_once)
    ]
    coefficients, intercepts, converged = (torch.cat(values) for values in zip(*parts, strict=True))
    return Fits((coefficients @ axes.T).cpu().numpy(), intercepts.cpu().numpy(), converged.cpu().numpy())


@dataclass
class _Batch:
    """The problems that are not solved yet: the position of each, and the steps that led to it."""

    targets: Tensor  # (problems, outputs, n)
    weights: Tensor  # (problems, 1, n)
    penalty: Tensor  # (problems, 1, 1)
    coefficients: Tensor  # (problems, outputs, dim)
    intercepts: Tensor  # (problems, outputs, 1)
    logits: Tensor  # (problems, outputs, n)

    def keep(self, mask: Tensor) -> None:
        """Drop the problems for which the mask (problems,) is false."""
        for name, values in vars(self).items():
            setattr(self, name, values[mask])


Pair = tuple["Tensor", "Tensor"]  # coefficients and intercepts, or their gradients
Step = tuple[Pair, Pair, "Tensor"]  # the step, the change of the gradient, 1 / their product


def _tensors(problems: Problems, part: slice, device: str) -> _Batch:
    import torch

    targets = torch.as_tensor(problems.targets[part], device=device).float()
    return _Batch(
        targets,
        torch.as_tensor(problems.weights[part], device=device)[:, None, :],
        1 / torch.as_tensor(problems.C[part], device=device)[:, None, None],
        torch.empty(0),
        torch.zeros_like(targets[..., :1]),
        torch.zeros_like(targets),
    )


def _solve(X: Tensor, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return coefficients (problems, outputs, dim), intercepts (problems, outputs) and which converged (problems,)."""
    import torch

    n_problems, outputs, _ = batch.targets.shape
    batch.coefficients = X.new_zeros(n_problems, outputs, X.shape[1])
    solved = (torch.empty_like(batch.coefficients), X.new_empty(n_problems, outputs))
    converged = torch.zeros(n_problems, dtype=torch.bool, device=X.device)
    live = torch.arange(n_problems, device=X.device)
    squares = (X * X).mean(dim=0)
    history: list[Step] = []
    step: Pair | None = None
    before: Pair | None = None
    for n_steps in range(MAX_STEPS + 1):
        probabilities = _probabilities(batch.logits)
        gradient = _gradient(X, batch, probabilities)
        near = _near_optimum(batch, probabilities, gradient, X.shape[0])
        stop = near if n_steps < MAX_STEPS else torch.ones_like(near)
        if stop.any():
            solved[0][live[stop]], solved[1][live[stop]] = batch.coefficients[stop], batch.intercepts[stop, :, 0]
            converged[live[stop]] = near[stop]
            live = live[~stop]
            if not len(live):
                break
            probabilities, gradient = probabilities[~stop], _kept(gradient, ~stop)
            batch.keep(~stop)
            history = [(_kept(s, ~stop), _kept(y, ~stop), scale[~stop]) for s, y, scale in history]
            step, before = (None if pair is None else _kept(pair, ~stop) for pair in (step, before))
        if step is not None and before is not None:
            change = (gradient[0] - before[0], gradient[1] - before[1])
            history = [*history, (step, change, _scale(step, change, batch.penalty))][-MEMORY:]
        direction = _direction(batch, probabilities, gradient, history, squares)
        step, before = _moved(X, batch, direction), gradient
    return *solved, converged


def _kept(pair: Pair, mask: Tensor) -> Pair:
    return pair[0][mask], pair[1][mask]


def _product(one: Pair, other: Pair) -> Tensor:
    """Return the inner product of each problem, (problems, 1, 1)."""
    return (one[0] * other[0]).sum((1, 2), keepdim=True) + (one[1] * other[1]).sum((1, 2), keepdim=True)


def _scale(step: Pair, change: Pair, penalty: Tensor) -> Tensor:
    """Return 1 / the product of a step and its change, 0 where rounding hides the curvature that the penalty gives."""
    import torch

    product = _product(step, change)
    least = 0.5 * penalty * (step[0] * step[0]).sum((1, 2), keepdim=True)
    return torch.where((product > least) & (least > 0), 1 / product, torch.zeros_like(product))


def _probabilities(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def _gradient(X: Tensor, batch: _Batch, probabilities: Tensor) -> Pair:
    residual = (probabilities - batch.targets) * batch.weights
    of_vectors = (residual.reshape(-1, X.shape[0]) @ X).view_as(batch.coefficients)
    return of_vectors + batch.penalty * batch.coefficients, residual.sum(dim=2, keepdim=True)


def _near_optimum(batch: _Batch, probabilities: Tensor, gradient: Pair, n: int) -> Tensor:
    """Return which problems are within the tolerance, (problems,); the intercept counts with its own curvature."""
    curvature = (batch.weights * probabilities * (1 - probabilities)).sum(dim=2, keepdim=True)
    scaled = (gradient[0] / batch.penalty, gradient[1] / curvature.clamp_min(SMALLEST_CURVATURE))
    return _product(gradient, scaled).flatten() <= 4 * n * PROBABILITY_RMS**2


def _direction(batch: _Batch, probabilities: Tensor, gradient: Pair, history: list[Step], squares: Tensor) -> Pair:
    """Return the two-loop recursion of L-BFGS: minus the estimated inverse Hessian times the gradient."""
    rest = gradient
    factors = []
    for step, change, scale in reversed(history):
        factor = scale * _product(step, rest)
        factors.append(factor)
        rest = (rest[0] - factor * change[0], rest[1] - factor * change[1])
    rest = _by_first_guess(batch, probabilities, rest, squares)
    for (step, change, scale), factor in zip(history, reversed(factors), strict=True):
        left = factor - scale * _product(change, rest)
        rest = (rest[0] + left * step[0], rest[1] + left * step[1])
    return -rest[0], -rest[1]


def _by_first_guess(batch: _Batch, probabilities: Tensor, pair: Pair, squares: Tensor) -> Pair:
    """Return `pair` divided by the Hessian, as if all units had the mean curvature of the outputs.

    That is (outputs x outputs) times squares of the principal axes, so the division uses the outputs' eigenvectors.
    """
    import torch

    weighted = probabilities * batch.weights
    curvature = -weighted @ probabilities.transpose(1, 2)
    curvature += torch.diag_embed(weighted.sum(dim=2))
    if curvature.shape[1] == 1:
        curvature = curvature.clamp_min(SMALLEST_CURVATURE)
        return pair[0] / (curvature * squares + batch.penalty), pair[1] / curvature
    values, vectors = torch.linalg.eigh(curvature)
    # adding the same to every output changes nothing, so one value is 0
    values = values.clamp_min(SMALLEST_CURVATURE)[:, :, None]
    coefficients = (vectors.transpose(1, 2) @ pair[0]) / (values * squares + batch.penalty)
    intercepts = (vectors.transpose(1, 2) @ pair[1]) / values.clamp_min(1e-3)
    return vectors @ coefficients, vectors @ intercepts


def _moved(X: Tensor, batch: _Batch, direction: Pair) -> Pair:
    """Move each problem along its direction to the smallest loss there, in place; return the step."""
    logits = (direction[0].reshape(-1, X.shape[1]) @ X.T).view_as(batch.logits) + direction[1]
    length = _step_length(batch, direction[0], logits)
    step = (length * direction[0], length * direction[1])
    batch.coefficients = batch.coefficients + step[0]
    batch.intercepts = batch.intercepts + step[1]
    batch.logits = batch.logits + length * logits
    return step


def _step_length(batch: _Batch, direction: Tensor, logits: Tensor) -> Tensor:
    """Return the length of each step, (problems, 1, 1), by Newton's method, without products with the vectors."""
    import torch

    along = (batch.coefficients * direction).sum((1, 2), keepdim=True)
    square = (direction * direction).sum((1, 2), keepdim=True)
    length = torch.ones_like(along)
    for _ in range(LINE_STEPS):
        probabilities = _probabilities(batch.logits + length * logits)
        slope = ((probabilities - batch.targets) * logits * batch.weights).sum((1, 2), keepdim=True)
        slope += batch.penalty * (along + length * square)
        moved = probabilities * logits
        spread = (moved * logits).sum(dim=1, keepdim=True) - (
            moved * moved if logits.shape[1] == 1 else moved.sum(dim=1, keepdim=True) ** 2
        )
        change = slope / ((spread * batch.weights).sum((1, 2), keepdim=True) + batch.penalty * square)
        length = (length - change).clamp(*STEP_LENGTHS)
        if (change.abs() < ENOUGH * length).all():
            break
    return length
