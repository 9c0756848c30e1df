"""What a similarity means, and how far a rank would move if other cells had been measured.

The cells of each protein are dealt into `N_PARTS` parts. Leaving out one part at a time (the delete-a-group jackknife:
Shao and Tu, The Jackknife and Bootstrap, 1995, section 2.3) gives the standard error of a similarity, for the cells
of the query and for those of the other protein. Ranks are then counted in `DRAWS` draws of such errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embstore.search.pooled import PartCounts, PooledVectors
from embstore.store import Vectors

DRAWS = 200
RANK_LEVEL = 0.95
PAIRS = 20_000  # random pairs of proteins, where there are more than that
SEED = 0


@dataclass(frozen=True)
class Ranked:
    """Proteins that are compared by their mean vectors, from which `centre` (dim,) is subtracted first."""

    pooled: PooledVectors
    centre: Vectors

    @cached_property
    def lengths(self) -> Vectors:
        """Return the length of each mean (proteins,); infinite for a zero vector, which is similar to nothing."""
        means = self.pooled.means
        return np.where(means.any(axis=1), _lengths(means - self.centre), np.float32(np.inf))

    @cached_property
    def units(self) -> Vectors:
        """Return the mean vectors at length 1, float32 (proteins, dim)."""
        units: Vectors = (self.pooled.means - self.centre) / self.lengths[:, None]
        return units

    @cached_property
    def pair_similarities(self) -> Vectors:
        """Return the similarities of pairs of proteins of different groups, sorted (pairs,): all or PAIRS random."""
        n = len(self.pooled)
        groups = self.pooled.proteins["group_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        if n * (n - 1) // 2 <= PAIRS:
            left, right = np.triu_indices(n, 1)
        else:
            left, right = np.random.default_rng(SEED).integers(n, size=(2, PAIRS))
        other = groups[left] != groups[right]
        left, right = left[other], right[other]
        similarity: Vectors = np.sort(np.einsum("nd,nd->n", self.units[left], self.units[right]))
        return similarity

    @cached_property
    def _onto_self(self) -> Vectors:
        """Return the length of each part's sum along its protein's mean (proteins, N_PARTS)."""
        onto: Vectors = np.matmul(self.pooled.sums, self.units[:, :, None])[:, :, 0]
        return onto

    def percentiles(self, similarity: Vectors) -> Vectors:
        """Return the per cent of pairs of proteins that are less similar, (n,); NaN where there is no pair."""
        pairs = self.pair_similarities
        if not len(pairs):
            return np.full(len(similarity), np.nan, np.float32)
        return (100 * np.searchsorted(pairs, similarity) / len(pairs)).astype(np.float32)

    def rank_intervals(self, query: PooledVectors, order: npt.NDArray[np.intp], shown: int) -> npt.NDArray[np.int64]:
        """Return the 95 % interval of the ranks of the first `shown` of the proteins `order`, (shown, 2); 1 is nearest.

        `order` are all that are ranked, most similar first. -1 where nothing can be told: the query or the protein has
        fewer than two cells.
        """
        sums, counts = query.sums.sum(axis=0), query.counts.sum(axis=0)
        present = counts > 0
        if present.sum() < 2 or not len(order[:shown]):
            return np.full((len(order[:shown]), 2), -1, np.int64)
        asked = sums.sum(axis=0) / counts.sum() - self.centre
        length = _lengths(asked)
        asked = asked / length
        similarity = self.units @ asked

        moved = _moved(sums[None], counts[None])[0][present]  # (parts, dim)
        by_query = (moved @ self.units.T - np.outer(moved @ asked, similarity)) / length
        by_query -= by_query.mean(axis=0)
        by_query *= np.sqrt(1 - 1 / present.sum())
        rng = np.random.default_rng(SEED)
        drawn = similarity + rng.standard_normal((DRAWS, len(by_query)), np.float32) @ by_query
        drawn += rng.standard_normal(drawn.shape, np.float32) * self._own_errors(asked, similarity)
        drawn = drawn.T[order]  # (ranked, DRAWS)
        ranks = np.stack([1 + np.count_nonzero(drawn > drawn[i], axis=0) for i in range(min(shown, len(order)))])
        tail = (1 - RANK_LEVEL) / 2
        interval = np.quantile(ranks, (tail, 1 - tail), axis=1, method="nearest").T
        known = (self.pooled.counts[order[:shown]] > 0).sum(axis=1) >= 2
        return np.where(known[:, None], interval, -1).astype(np.int64)

    def _own_errors(self, asked: Vectors, similarity: Vectors) -> Vectors:
        """Return the standard error of each similarity that comes of the protein's own cells; 0 where it has one."""
        counts = self.pooled.counts
        sums = self.pooled.sums
        onto_query = (sums.reshape(-1, sums.shape[2]) @ asked).reshape(counts.shape)  # one product, not one a protein
        slopes = onto_query - similarity[:, None] * self._onto_self  # (proteins, N_PARTS)
        moved = _moved(slopes[:, :, None], counts)[:, :, 0] / self.lengths[:, None]
        present = counts > 0
        n_present = present.sum(axis=1)
        moved -= (moved.sum(axis=1, where=present) / n_present)[:, None]
        squares = np.square(moved).sum(axis=1, where=present)
        errors: Vectors = np.sqrt(squares * (1 - 1 / n_present)).astype(np.float32)
        return errors


def _moved(sums: Vectors, counts: PartCounts) -> Vectors:
    """Return how far each mean moves when a part is left out: sums (n, N_PARTS, dim), counts (n, N_PARTS)."""
    totals, whole = counts.sum(axis=1)[:, None], sums.sum(axis=1, keepdims=True)
    rest = np.maximum(totals - counts, 1)  # 1: where all is of one part, nothing is left, and nothing is told
    moved: Vectors = ((counts / totals)[:, :, None] * whole - sums) / rest[:, :, None]
    return moved.astype(np.float32)


def _lengths(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1).astype(np.float32)
    return np.where(lengths > 0, lengths, np.float32(np.inf))
