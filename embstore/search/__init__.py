"""Nearest proteins and cells, and their pictures."""

from embstore.search.search import Neighbours, cosine, similar_cells, similar_proteins
from embstore.search.sheet import check_sheet, draw_sheet

__all__ = [
    "Neighbours",
    "check_sheet",
    "cosine",
    "draw_sheet",
    "similar_cells",
    "similar_proteins",
]
