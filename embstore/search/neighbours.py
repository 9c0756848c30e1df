"""What a search returns: the query and its nearest neighbours, as records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import pyarrow as pa

from embstore.tabular import Tabular


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The columns that every neighbour has; several genes or locations are separated by ";".

    `nearest` are the ids of at most six of the neighbour's own vectors, nearest to the query first: its cells, or its
    images or profiles if the space describes these.
    """

    rank: int  # 1 is nearest
    gene: str  # empty if the protein is unknown
    dataset: str
    similarity: float  # cosine, -1 to 1
    locations: str  # from the strictest label set that has any; empty if none has
    nearest: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SimilarProtein(Neighbour):
    """A protein of one dataset, represented by the mean of its vectors there; `n_cells` is their number."""

    protein_id: str  # several, of one antibody, are separated by ";"
    n_cells: int


@dataclass(frozen=True, kw_only=True)
class SimilarCell(Neighbour):
    """A cell; in a space of whole images, an image."""

    cell_id: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """What was searched for; `locations` and `nearest` are as in a `Neighbour`."""

    name: str  # as typed; for a cell, its gene if it has one
    locations: str
    nearest: tuple[str, ...]


N = TypeVar("N", bound=Neighbour)


@dataclass(frozen=True, repr=False)
class Neighbours(Tabular, Generic[N]):
    """The neighbours of `query` in one space, nearest first; `to_arrow` returns the columns that scripts rely on."""

    query: str  # as typed
    space: str  # NAME:STRATEGY
    centred: bool  # True if the mean of the searched vectors was subtracted first
    asked: Query
    rows: tuple[N, ...]

    SCHEMA: ClassVar[pa.Schema]

    def to_arrow(self) -> pa.Table:
        """Return a row for each neighbour, nearest first."""
        return pa.Table.from_pylist([vars(row) for row in self.rows], schema=self.SCHEMA)

    @property
    def headline(self) -> str:
        """Return what was searched for, and in which space."""
        return f"nearest to {self.query} in {self.space} (cosine similarity)"


class SimilarProteins(Neighbours[SimilarProtein]):
    """The proteins nearest to one: rank, gene, protein_id, dataset, similarity, n_cells, locations."""

    SCHEMA = pa.schema(
        [
            ("rank", pa.int64()),
            ("gene", pa.string()),
            ("protein_id", pa.string()),
            ("dataset", pa.string()),
            ("similarity", pa.float64()),
            ("n_cells", pa.int64()),
            ("locations", pa.string()),
        ]
    )


class SimilarCells(Neighbours[SimilarCell]):
    """The cells nearest to one: rank, cell_id, gene, similarity, dataset, locations."""

    SCHEMA = pa.schema(
        [
            ("rank", pa.int64()),
            ("cell_id", pa.string()),
            ("gene", pa.string()),
            ("similarity", pa.float64()),
            ("dataset", pa.string()),
            ("locations", pa.string()),
        ]
    )
