"""Which cells of an answer are drawn: whole ones before those that the image's border cuts, one of each image first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from embstore.errors import EmbstoreError
from embstore.pixels.thumbnail import THUMBNAIL_PX
from embstore.search.cells import cosine
from embstore.search.neighbours import Neighbours, SimilarProteins
from embstore.store import Store, embeddings_name, select_columns, sql_text

KEY_SEPARATOR = "\x1f"  # that no id contains


def pictured_cells(store: Store, neighbours: Neighbours[Any], most: int) -> list[list[str]]:
    """Return the ids of the cells that are drawn for the query and for each neighbour, `most` of each. Reads only.

    Of a protein, cells whose picture lies within the image come before others, and whole ones before cut ones; then
    one of each image before its second; then the most similar to the query. EmbstoreError where
    the space has no vectors of cells.
    """
    if not isinstance(neighbours, SimilarProteins):
        return [[neighbours.asked.cell_id], *([row.cell_id] for row in neighbours.rows)]
    asked = [KEY_SEPARATOR.join(row) for row in neighbours.asked.rows]
    keys = [asked, *([KEY_SEPARATOR.join((row.dataset, row.protein_id))] for row in neighbours.rows)]
    cells = _ordered(store, neighbours, sorted({key for row in keys for key in row}))
    if not cells.num_rows:
        raise EmbstoreError(
            f"{neighbours.space} has no vectors of cells, and only cells have pictures; leave out --sheet"
        )
    by_key: dict[str, list[str]] = {}
    for key, cell in zip(cells["key"].to_pylist(), cells["cell_id"].to_pylist(), strict=True):
        by_key.setdefault(key, []).append(cell)
    return [_first(row, by_key, most) for row in keys]


def _first(keys: Sequence[str], by_key: dict[str, list[str]], most: int) -> list[str]:
    """Return the first cells of a row of the sheet; those of its datasets take turns."""
    lists = [by_key.get(key, []) for key in keys]
    turns = [cells[turn] for turn in range(most) for cells in lists if turn < len(cells)]
    return turns[:most]


def _ordered(store: Store, neighbours: SimilarProteins, keys: Sequence[str]) -> pa.Table:
    """Return the cells of some proteins, in the order in which those of one protein are drawn."""
    name = embeddings_name(neighbours.digest)
    sql = sql_text(
        "embstore.search", "pictured", embeddings=name, separator=KEY_SEPARATOR, thumbnail_px=str(THUMBNAIL_PX)
    )
    cells = select_columns(store, sql, {"keys": list(keys)})
    vectors = store.matrix(neighbours.digest, cells["cell_id"].to_pylist())
    similarity = cosine(vectors - neighbours.centre, neighbours.vector - neighbours.centre)
    cells = cells.append_column("far", pa.array(-similarity))
    cells = cells.sort_by([("rest", "ascending"), ("far", "ascending"), ("cell_id", "ascending")])
    seen: dict[tuple[str, int], int] = {}
    turns = []
    for image, rest in zip(cells["image_id"].to_pylist(), cells["rest"].to_pylist(), strict=True):
        turns.append(seen.get((image, rest), 0))
        seen[image, rest] = turns[-1] + 1
    by = [("rest", "ascending"), ("turn", "ascending"), ("far", "ascending"), ("cell_id", "ascending")]
    return cells.append_column("turn", pa.array(turns, pa.int64())).sort_by(by)
