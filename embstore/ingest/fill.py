"""Missing numbers of external embeddings, filled on request with the mean of their column or with 0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embstore.arrays import Float32s, Float64s, Int64s
from embstore.errors import EmbstoreError
from embstore.sources.vectors import ExternalEmbeddings

FILLS_OF_NAN = ("mean", "0")
_SHOWN = 3


@dataclass(frozen=True, repr=False)
class FilledEmbeddings:
    """External embeddings whose missing numbers are replaced by `values`, one per column; NaN fills nothing."""

    external: ExternalEmbeddings
    how: str | None  # mean, 0, or None
    values: Float32s  # (dim,)
    missing: Int64s  # (dim,) how many numbers each column lacks

    def blocks(self) -> Iterator[Float32s]:
        """Yield all vectors in order, float32 (rows, dim), a few tens of MB at a time."""
        if self.how is None:
            yield from self.external.blocks()
            return
        for block in self.external.blocks():
            yield np.where(np.isnan(block), self.values, block)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return how many numbers were filled with what, and the columns that lack the most; empty if none was."""
        filled = np.where(np.isnan(self.values), 0, self.missing)
        if self.how is None or not filled.any():
            return ()
        what = "0" if self.how == "0" else "the mean of their column"
        most = [int(column) for column in np.argsort(-filled, kind="stable")[:_SHOWN] if filled[column]]
        listed = ", ".join(f"{self._named(column)}: {filled[column]} with {self.values[column]:g}" for column in most)
        more = ", ..." if np.count_nonzero(filled) > len(most) else ""
        n = np.count_nonzero(filled)
        return (f"filled: {filled.sum()} missing numbers in {n} columns with {what} ({listed}{more})",)

    def _named(self, column: int) -> str:
        return self.external.columns[column] if self.external.columns else f"number {column + 1}"


def filled(external: ExternalEmbeddings, how: str | None) -> FilledEmbeddings:
    """Return the embeddings with missing numbers filled: by the `mean` of the column's finite ones, or `0`.

    Raises EmbstoreError for another way.
    """
    if how not in (None, *FILLS_OF_NAN):
        raise EmbstoreError(f"missing numbers cannot be filled with {how!r}; choose mean or 0")
    dim = external.dim
    if how is None:
        return FilledEmbeddings(external, how, np.full(dim, np.nan, np.float32), np.zeros(dim, np.int64))
    total, count, missing = np.zeros(dim), np.zeros(dim, np.int64), np.zeros(dim, np.int64)
    for block in external.blocks():
        finite = np.isfinite(block)
        total += np.where(finite, block, 0).sum(axis=0, dtype=np.float64)
        count += finite.sum(axis=0)
        missing += np.isnan(block).sum(axis=0)
    return FilledEmbeddings(
        external, how, _means(total, count) if how == "mean" else np.zeros(dim, np.float32), missing
    )


def _means(total: Float64s, count: Int64s) -> Float32s:
    """Return the mean of each column (dim,), NaN if it has no number at all."""
    means = np.full(len(total), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means.astype(np.float32)
