"""The position and size of each cell of a segmentation, and the crop around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from embstore.errors import ImageError
from embstore.pixels.segmentation import Segmentation

# every choice of `crop` is part of this name, because the name is part of a space's digest
CROP_SPEC = "square/subpixel/triangle-filter/zero-outside/1"
MAX_SIDE_PX = 16384  # larger than any field: such a crop comes from a wrong pixel size


@dataclass(frozen=True)
class CellGeometry:
    """Position and size of one cell: half-open box (y0, x0, y1, x1) and centroid (y, x) in pixels of the image.

    A pixel's position is that of its centre: a cell of the single pixel (0, 0) has box (0, 0, 1, 1), centroid (0, 0).
    """

    label: int
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]
    nucleus_area_px: int
    cell_area_px: int
    touches_edge: bool


def geometries(segmentation: Segmentation) -> list[CellGeometry]:
    """Return the position and size of every cell, in order of label; areas are in pixels."""
    from scipy import ndimage

    cells = segmentation.cells
    boxes = ndimage.find_objects(cells)
    nucleus_areas = np.bincount(segmentation.nuclei.ravel(), minlength=len(boxes) + 1)
    return [
        _geometry(label, box, cells, int(nucleus_areas[label])) for label, box in enumerate(boxes, 1) if box is not None
    ]


def _geometry(label: int, box: tuple[slice, slice], cells: np.ndarray, nucleus_area_px: int) -> CellGeometry:
    rows, columns = np.nonzero(cells[box] == label)
    y0, x0, y1, x1 = box[0].start, box[1].start, box[0].stop, box[1].stop
    return CellGeometry(
        label=label,
        box=(y0, x0, y1, x1),
        centroid=(y0 + float(rows.mean()), x0 + float(columns.mean())),
        nucleus_area_px=nucleus_area_px,
        cell_area_px=len(rows),
        touches_edge=y0 == 0 or x0 == 0 or y1 == cells.shape[0] or x1 == cells.shape[1],
    )


def crop(planes: np.ndarray, centroid: tuple[float, float], side_px: float, output_px: int) -> np.ndarray:
    """Cut out the square of `side_px` source pixels around a centroid and resize it; pixels outside the image are 0.

    `planes` float32 (c, y, x) -> float32 (c, output_px, output_px). The square is placed with sub-pixel precision; a
    triangle filter as wide as the reduction prevents aliasing. Raises ImageError if the square is wider than
    MAX_SIDE_PX.
    """
    _check_side(side_px)
    margin = math.ceil(side_px / output_px) + 2  # how far the filter may reach beyond the square
    y0, x0 = (math.floor(c + 0.5 - side_px / 2) - margin for c in centroid)
    window_px = math.ceil(side_px) + 2 * margin + 1
    top, left = (c + 0.5 - side_px / 2 - start for c, start in zip(centroid, (y0, x0), strict=True))
    box = (left, top, left + side_px, top + side_px)
    window = _window(planes, y0, x0, window_px)
    resized = [
        np.asarray(Image.fromarray(plane).resize((output_px, output_px), Image.Resampling.BILINEAR, box=box))
        for plane in window
    ]
    return np.stack(resized)


def crop_mask(mask: np.ndarray, centroid: tuple[float, float], side_px: float, output_px: int) -> np.ndarray:
    """Cut the same square out of a mask bool (y, x), by nearest neighbour -> bool (output_px, output_px)."""
    _check_side(side_px)
    offsets = (np.arange(output_px) + 0.5) * (side_px / output_px) - side_px / 2
    rows, columns = (np.floor(c + 0.5 + offsets).astype(np.int64) for c in centroid)
    inside_y, inside_x = ((i >= 0) & (i < n) for i, n in zip((rows, columns), mask.shape, strict=True))
    cut = np.zeros((output_px, output_px), bool)
    cut[np.ix_(inside_y, inside_x)] = mask[np.ix_(rows[inside_y], columns[inside_x])]
    return cut


def pack_mask(mask: np.ndarray) -> bytes:
    """Return a mask bool (h, w) packed to one bit per pixel, row by row, the first pixel in the highest bit."""
    return np.packbits(mask).tobytes()


def unpack_mask(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask bool (h, w) that `pack_mask` packed."""
    count = shape[0] * shape[1]
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool).reshape(shape)


def _window(planes: np.ndarray, y0: int, x0: int, side: int) -> np.ndarray:
    """Return the (c, side, side) window that starts at (y0, x0), zero outside the image."""
    window = np.zeros((len(planes), side, side), np.float32)
    height, width = planes.shape[1:]
    top, left = max(0, -y0), max(0, -x0)
    bottom, right = min(side, height - y0), min(side, width - x0)
    if bottom > top and right > left:
        window[:, top:bottom, left:right] = planes[:, y0 + top : y0 + bottom, x0 + left : x0 + right]
    return window


def _check_side(side_px: float) -> None:
    if not 0 < side_px <= MAX_SIDE_PX:
        raise ImageError(
            f"a crop would be {side_px:g} pixels wide, wanted 0 to {MAX_SIDE_PX}; check the image's pixel size"
        )
