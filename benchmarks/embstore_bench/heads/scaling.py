"""Make vectors comparable before a head sees them; the constants come from the fitted units only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embstore_bench.heads.recipe import Matrix

Scaling = Callable[[Matrix], Matrix]

PREPROCESSING = ("raw", "standardised")  # before vectors are scaled to length 1
TINY = 1e-12
NEARLY_CONSTANT = 1e-6  # of the mean: float32 cannot distinguish such a column from a constant one


def standardised(X_train: Matrix) -> Scaling:
    """Return the function that subtracts the mean of train (n, dim) and divides by its standard deviation, by
    column.
    """
    exact = X_train.astype(np.float64)
    mean, spread = exact.mean(axis=0), exact.std(axis=0)
    spread = np.where(spread > NEARLY_CONSTANT * np.abs(mean), spread, 1)  # else rounding noise would be scaled up

    def scale(X: Matrix) -> Matrix:
        scaled: npt.NDArray[np.float64] = (X - mean) / spread
        return scaled.astype(np.float32)

    return scale


def of_length_one(preprocessing: str, X_train: Matrix) -> Scaling:
    """Return the function that scales vectors (n, dim) to length 1, "raw" or after `standardised`."""
    before = standardised(X_train) if preprocessing == "standardised" else np.asarray

    def scale(X: Matrix) -> Matrix:
        scaled = before(X)
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return np.asarray(scaled / np.maximum(length, TINY), dtype=np.float32)

    return scale
