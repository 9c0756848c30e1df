"""What a search returns: the query and its nearest neighbours, as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import pyarrow as pa

from embstore.store import Vectors
from embstore.tabular import Tabular


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """What every neighbour has; several genes or locations of one are separated by ";"."""

    rank: int  # 1 is nearest
    gene: str  # empty where the protein is not known
    dataset: str
    similarity: float  # cosine, -1 to 1
    locations: str  # of the strictest label set that has any; empty where none has


@dataclass(frozen=True, kw_only=True)
class SimilarProtein(Neighbour):
    """A protein of one dataset, by the mean of its vectors there; `n_cells` is how many these are.

    `percentile` is the share, in per cent, of pairs of proteins of different groups that are less similar. The rank
    would be between `rank_low` and `rank_high` in 95 % of cases if other cells of the query and of the neighbours had
    been measured (see `embstore.search.uncertainty`). None where it cannot be told: no pair, or a single cell.
    """

    protein_id: str  # several, of one antibody, are separated by ";"
    n_cells: int
    percentile: float | None
    rank_low: int | None
    rank_high: int | None


@dataclass(frozen=True, kw_only=True)
class SimilarCell(Neighbour):
    """A cell; in a space of whole images, an image."""

    cell_id: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """What was searched for: its name and locations, and what stands for it in the space."""

    name: str  # as asked for; of a cell its gene, if it has one
    locations: str
    rows: tuple[tuple[str, str], ...]  # of a protein: dataset and protein ids (as `protein_id`) of each row
    cell_id: str = ""  # of a cell


@dataclass(frozen=True)
class Vote:
    """How many neighbours have a location: `count` of `among` that have any; `expected` of as many random proteins."""

    location: str
    count: int
    among: int
    expected: float

    def __str__(self) -> str:
        return f"{self.count} of {self.among} {self.location} (expected {self.expected:.1f})"


N = TypeVar("N", bound=Neighbour)


@dataclass(frozen=True, repr=False, kw_only=True)
class Neighbours(Tabular, Generic[N]):
    """The neighbours of `query` in one space, nearest first; `to_arrow` has the columns that scripts rely on."""

    query: str  # as asked for
    space: str  # NAME:STRATEGY
    digest: str  # of the space
    centred: bool  # whether `centre` is the mean of the searched vectors, else 0
    asked: Query
    vector: Vectors = field(compare=False)  # what was searched for, float32 (dim,)
    centre: Vectors = field(compare=False)  # what is subtracted from it and from all others first, float32 (dim,)
    rows: tuple[N, ...]

    SCHEMA: ClassVar[pa.Schema]

    def to_arrow(self) -> pa.Table:
        """Return a row for each neighbour, nearest first."""
        return pa.Table.from_pylist([vars(row) for row in self.rows], schema=self.SCHEMA)

    @property
    def headline(self) -> str:
        """Return what was asked, in which space, and how it was compared."""
        centred = ", centred" if self.centred else ""
        return f"nearest to {self.query} in {self.space} (cosine similarity{centred})"


@dataclass(frozen=True, repr=False, kw_only=True)
class SimilarProteins(Neighbours[SimilarProtein]):
    """The proteins nearest to one, and the votes of their locations.

    Columns: rank, gene, protein_id, dataset, similarity, n_cells, locations, percentile, rank_low, rank_high.
    """

    votes: tuple[Vote, ...]  # most above what is expected first

    SCHEMA = pa.schema(
        [
            ("rank", pa.int64()),
            ("gene", pa.string()),
            ("protein_id", pa.string()),
            ("dataset", pa.string()),
            ("similarity", pa.float64()),
            ("n_cells", pa.int64()),
            ("locations", pa.string()),
            ("percentile", pa.float64()),
            ("rank_low", pa.int64()),
            ("rank_high", pa.int64()),
        ]
    )


@dataclass(frozen=True, repr=False, kw_only=True)
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
