"""Rows of numbers in a file, read in blocks, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.arrays import Float32s
from embstore.errors import EmbstoreError

BLOCK_BYTES = 32 << 20  # of float32
MAX_DIM = 1 << 20  # more numbers in one vector are a damaged header

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class EmbeddingMatrix:
    """Rows of numbers in a file: `read` yields them in order, at most so many at a time, in the type that is stored."""

    path: Path
    name: str
    shape: tuple[int, int]  # (n, dim)
    read: Callable[[int], Iterator[Numbers]]

    def __repr__(self) -> str:
        rows, dim = self.shape
        return f"<EmbeddingMatrix {self.name}: {rows} rows of {dim} numbers>"

    def blocks(self) -> Iterator[Float32s]:
        """Yield the rows as float32 (rows, dim), a few tens of MB at a time; values beyond float32 become infinite.

        Raises EmbstoreError if the file contains other rows than its header claims.
        """
        n, dim = self.shape
        done = 0
        for block in self.read(rows_per_block(dim)):
            if block.shape[1:] != (dim,):
                raise EmbstoreError(f"{self.path}: {self.name} has a row of {block.shape[1:]} numbers; wanted {dim}")
            done += len(block)
            with np.errstate(over="ignore", invalid="ignore"):
                yield np.ascontiguousarray(block, np.float32)
        if done != n:
            raise EmbstoreError(f"{self.path}: {self.name} has {done} rows and claims {n}; save it again")


def rows_per_block(dim: int) -> int:
    """Return how many rows of so many numbers are read at a time."""
    return max(1, BLOCK_BYTES // (4 * dim))


def checked_shape(path: Path, name: str, shape: Sequence[int], dtype: np.dtype[Any] | None) -> tuple[int, int]:
    """Return (n, dim) of an array of rows of numbers; EmbstoreError if it is something else."""
    what = f"{path}: {name} is {dtype} {tuple(shape)}" if dtype is not None else f"{path}: {name} is {tuple(shape)}"
    if len(shape) != 2 or (dtype is not None and dtype.kind not in "fiu") or not all(size > 0 for size in shape):
        raise EmbstoreError(f"{what}; wanted rows of numbers")
    if shape[1] > MAX_DIM:
        raise EmbstoreError(f"{what}; wanted at most {MAX_DIM} numbers in a row")
    return int(shape[0]), int(shape[1])
