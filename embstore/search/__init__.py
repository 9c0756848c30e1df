"""Nearest proteins and cells, and their pictures."""

from embstore.search.cells import cosine, similar_cells
from embstore.search.index import Index, open_index
from embstore.search.neighbours import (
    Neighbours,
    Query,
    SimilarCell,
    SimilarCells,
    SimilarProtein,
    SimilarProteins,
    Vote,
)
from embstore.search.proteins import similar_proteins
from embstore.search.sheet import check_sheet, draw_sheet
from embstore.search.thumbnails import Thumbnails, thumbnails

__all__ = [
    "Index",
    "Neighbours",
    "Query",
    "SimilarCell",
    "SimilarCells",
    "SimilarProtein",
    "SimilarProteins",
    "Thumbnails",
    "Vote",
    "check_sheet",
    "cosine",
    "draw_sheet",
    "open_index",
    "similar_cells",
    "similar_proteins",
    "thumbnails",
]
