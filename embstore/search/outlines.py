"""Outlines of cells in the coordinates of their thumbnails."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.pixels.crop import unpack_mask
from embstore.pixels.thumbnail import THUMBNAIL_PX
from embstore.store import Store

Outline = npt.NDArray[np.float64]  # (points, 2): x, y in pixels of the thumbnail


def outlines(store: Store, cell_ids: Iterable[str]) -> dict[str, list[Outline]]:
    """Return the outlines of cells by their ids, each as one or more closed lines. Reads only."""
    wanted = pa.array(sorted(set(cell_ids)), pa.string())
    columns = ["cell_id", "box", "centroid", "zoom", "mask"]
    cells = store.read("cells", columns, pc.field("cell_id").isin(wanted)).to_pydict()
    return {
        cell_id: _lines(mask, box, centroid, zoom)
        for cell_id, box, centroid, zoom, mask in zip(*(cells[name] for name in columns), strict=True)
        if mask
    }


def _lines(mask: bytes, box: list[int], centroid: list[float], zoom: float) -> list[Outline]:
    from skimage.measure import find_contours

    top, left, bottom, right = box
    padded = np.pad(unpack_mask(mask, (bottom - top, right - left)), 1).astype(np.float32)
    lines = []
    for line in find_contours(padded, 0.5):
        y, x = (line - 1 + (top, left) - centroid).T * zoom + THUMBNAIL_PX / 2
        lines.append(np.stack([x, y], axis=1))
    return lines
