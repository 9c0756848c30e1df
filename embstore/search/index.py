"""One space, opened for many searches: what every search needs is read once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.backbones.registry import embed_advice
from embstore.errors import EmbstoreError, choices
from embstore.search.locations import read_locations
from embstore.search.pooled import PooledVectors, pooled_vectors
from embstore.search.uncertainty import Ranked
from embstore.store import (
    SpaceRow,
    Store,
    Vectors,
    distinguishing_specs,
    embeddings_name,
    find_space,
    list_spaces,
    protein_names,
    read_matrix,
    select_columns,
    sql_text,
)
from embstore.tabular import Tabular

ROWS_PER_BLOCK = 65_536
RowMask = npt.NDArray[np.bool_]


class Index(Tabular):
    """One space of a store as it was when it was opened; `similar_proteins` and `similar_cells` take it as a store.

    Nothing is read before it is needed. Protein searches read the mean vectors of proteins, which are kept beside the
    store. Cell searches read every vector once, as float32, and keep them in memory (4 · dim bytes a cell).
    """

    def __init__(self, store: Store, space: SpaceRow) -> None:
        self.store = store.pinned()  # ids, sums and vectors are of one moment, whatever others write
        self.space = space
        (self.name,) = distinguishing_specs([space], list_spaces(store))
        self._ranked: dict[tuple[str | None, bool], Ranked] = {}

    @property
    def headline(self) -> str:
        """Return which space of which store was opened."""
        return f"index of {self.name} in {self.store.uri}"

    def to_arrow(self) -> pa.Table:
        """Return a row for each protein of each dataset: dataset, gene, protein_ids, n_units."""
        return self.pooled.proteins.select(["dataset", "gene", "protein_ids", "n_units"])

    @property
    def digest(self) -> str:
        """Return the digest of the space."""
        return str(self.space["digest"])

    # -- proteins -------------------------------------------------------------------------------------------------

    @cached_property
    def pooled(self) -> PooledVectors:
        """The vectors of every protein of every dataset, summed."""
        return pooled_vectors(self.store, self.digest)

    @cached_property
    def locations(self) -> list[str]:
        """The published locations of each pooled protein, separated by ";"."""
        return read_locations(self.store, self.pooled.proteins, "first_id")

    @cached_property
    def ids_by_name(self) -> dict[str, list[str]]:
        """The protein ids that a gene, synonym or id in lower case names."""
        return protein_names(self.store)

    @cached_property
    def rows_by_gene(self) -> dict[str, list[int]]:
        """The rows of `pooled` that have a gene, by its symbol in lower case.

        Where an antibody names another number of genes than of protein ids, no id is known to be of any of its genes.
        """
        rows: dict[str, list[int]] = {}
        for row, genes in enumerate(self.pooled.proteins["gene"].to_pylist()):
            for gene in {gene.lower() for gene in (genes or "").split(";") if gene}:
                rows.setdefault(gene, []).append(row)
        return rows

    def rows_of(self, dataset: str | None) -> npt.NDArray[np.intp]:
        """Return the rows (n,) of `pooled` that are of a dataset (None: all); raises EmbstoreError where none is."""
        if dataset is None:
            return np.arange(len(self.pooled))
        datasets = self.pooled.proteins["dataset"]
        rows = np.flatnonzero(pc.equal(datasets, dataset).to_numpy())
        if not len(rows):
            raise EmbstoreError(choices(dataset, "dataset", pc.unique(datasets).to_pylist(), "in this space"))
        return rows

    def ranked(self, dataset: str | None, *, centre: bool) -> Ranked:
        """Return the proteins of a dataset (None: of all), compared by means that are centred on that of all cells."""
        key = (dataset, centre)
        if key not in self._ranked:
            pooled = self.pooled if dataset is None else self.pooled.take(self.rows_of(dataset))
            mean = pooled.sums.sum(axis=(0, 1), dtype=np.float64) / max(1, int(pooled.totals.sum()))
            self._ranked[key] = Ranked(pooled, (mean if centre else 0 * mean).astype(np.float32))
        return self._ranked[key]

    # -- cells ----------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> pa.ChunkedArray:
        """The id of every stored vector, in the order of `matrix`."""
        return self._vectors[0]

    @property
    def matrix(self) -> Vectors:
        """Every stored vector, float32 (n, dim)."""
        return self._vectors[1]

    @cached_property
    def lengths(self) -> Vectors:
        """The length of every stored vector, float32 (n,)."""
        squares = [np.einsum("nd,nd->n", block, block) for block in self.blocks()]
        return np.sqrt(np.concatenate(squares)) if squares else np.empty(0, np.float32)

    def blocks(self) -> Iterator[Vectors]:
        """Yield the matrix (n, dim) in blocks of rows, in order, without a copy."""
        for start in range(0, len(self.matrix), ROWS_PER_BLOCK):
            yield self.matrix[start : start + ROWS_PER_BLOCK]

    def mean(self, searched: RowMask) -> Vectors:
        """Return the mean of some of the vectors, float32 (dim,); those that are `searched` (n,)."""
        starts = range(ROWS_PER_BLOCK, len(self.matrix), ROWS_PER_BLOCK)
        blocks = zip(self.blocks(), np.split(searched, starts), strict=True)
        sums = np.sum([block[chosen].sum(axis=0, dtype=np.float64) for block, chosen in blocks], axis=0)
        mean: Vectors = (sums / max(1, int(searched.sum()))).astype(np.float32)
        return mean

    @cached_property
    def is_current(self) -> RowMask:
        """Whether each stored vector is of a cell, image or profile that the store has now (n,)."""
        units = sql_text("embstore.store", "units_in_space", embeddings=embeddings_name(self.digest))
        sql = sql_text("embstore.search", "stale", units_in_space=units, embeddings=embeddings_name(self.digest))
        stale = select_columns(self.store, sql, {"space": self.digest})["id"]
        mask: RowMask = ~pc.is_in(self.ids, value_set=stale).to_numpy()
        return mask

    @cached_property
    def _vectors(self) -> tuple[pa.ChunkedArray, Vectors]:
        return read_matrix(self.store, self.digest)


def open_index(store: Store, backbone: str | None = None, *, space: str | None = None) -> Index:
    """Return an index of the space that a backbone spec or the start of a digest names; with neither, of the only one.

    It answers as the store was when each part of it was first read; open another to see what came later. Reads only;
    the mean vectors of proteins are kept beside the tables of a store that can be written. EmbstoreError where no space
    or several match.

    >>> index = open_index(store, "hpa")         # doctest: +SKIP
    >>> similar_proteins(index, "ACTB")          # doctest: +SKIP
    """
    return Index(store, find_space(store, backbone, digest=space, advice=embed_advice))


def as_index(store: Store | Index, backbone: str | None, space: str | None) -> Index:
    """Return the index that was given, or one of the space that is named; both at once are an EmbstoreError."""
    if not isinstance(store, Index):
        return open_index(store, backbone, space=space)
    if backbone is not None or space is not None:
        raise EmbstoreError(f"the index is of {store.name} already; leave out backbone and space, or give the store")
    return store
