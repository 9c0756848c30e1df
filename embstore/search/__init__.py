"""Nearest proteins and cells, and their pictures."""

from embstore.search.neighbours import Neighbours, Query, SimilarCell, SimilarCells, SimilarProtein, SimilarProteins
from embstore.search.search import cosine, similar_cells, similar_proteins
from embstore.search.sheet import check_sheet, draw_sheet
from embstore.search.thumbnails import Thumbnails, thumbnails

__all__ = [
    "Neighbours",
    "Query",
    "SimilarCell",
    "SimilarCells",
    "SimilarProtein",
    "SimilarProteins",
    "Thumbnails",
    "check_sheet",
    "cosine",
    "draw_sheet",
    "similar_cells",
    "similar_proteins",
    "thumbnails",
]
