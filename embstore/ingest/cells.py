"""The cells of one image: from a segmentation to rows of `cells`, and from those rows to crops for an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.backbones.crops import Crops
from embstore.ids import cell_id
from embstore.pixels.crop import CellGeometry, crop, crop_mask, geometries, pack_mask, unpack_mask
from embstore.pixels.quality import quality_flags
from embstore.pixels.segmentation import Segmentation
from embstore.pixels.thumbnail import THUMBNAIL_PX, THUMBNAIL_UM, composite, encode_thumbnail

CellRow = Mapping[str, Any]
Planes = npt.NDArray[np.float32]


def cell_rows(
    found: Segmentation,
    *,
    pixels: npt.NDArray[np.generic],
    scaled: Planes,
    roles: Sequence[str],
    image: str,
    segmentation: str,
    known_um: float | None,
) -> list[dict[str, Any]]:
    """Return the rows of `cells` for one image, in order of label.

    `pixels` (c, y, x) are as the file holds them, `scaled` the same in [0, 1] for pictures; `known_um` is the pixel
    size where it was not estimated.
    """
    pixel_um = found.pixel_size_um or 1.0  # without cells there is no row that it could be wrong in
    common = {
        "image_id": image,
        "segmentation": segmentation,
        "zoom": THUMBNAIL_PX * pixel_um / THUMBNAIL_UM,
        "roles_present": list(roles),
    }
    rows = []
    cells = geometries(found)
    for cell, flags in zip(cells, quality_flags(found, pixels, roles, cells, known_um), strict=True):
        thumbnail = crop(scaled, cell.centroid, THUMBNAIL_UM / pixel_um, THUMBNAIL_PX)
        rows.append(
            common
            | _place(cell, pixel_um)
            | {
                "flags": flags,
                "cell_id": cell_id(image, segmentation, cell.label),
                "mask": _packed(found.cells, cell),
                "nucleus_mask": _packed(found.nuclei, cell),
                "thumbnail": encode_thumbnail(composite(thumbnail, roles)),
            }
        )
    return rows


def crops_of(cells: Sequence[CellRow], scaled: Planes, roles: tuple[str, ...], side_px: float, input_px: int) -> Crops:
    """Return the crops around stored cells, in their order: squares of `side_px` source pixels on `input_px` pixels."""
    shape = scaled.shape[1:]
    masks = {name: np.zeros((len(cells), input_px, input_px), bool) for name in ("mask", "nucleus_mask")}
    pixels = np.zeros((len(cells), len(roles), input_px, input_px), np.float32)  # (n, c, y, x)
    for i, cell in enumerate(cells):
        # rounded as the store keeps it, so that embedding later cuts the very same crop
        centroid = (float(np.float32(cell["centroid"][0])), float(np.float32(cell["centroid"][1])))
        pixels[i] = crop(scaled, centroid, side_px, input_px)
        for name, cut in masks.items():
            cut[i] = crop_mask(_unpacked(cell, name, shape), centroid, side_px, input_px)
    return Crops(pixels, roles, nucleus=masks["nucleus_mask"], cell=masks["mask"])


def _place(cell: CellGeometry, pixel_um: float) -> dict[str, Any]:
    return {
        "label": cell.label,
        "box": list(cell.box),
        "centroid": list(cell.centroid),
        "nucleus_area_um2": cell.nucleus_area_px * pixel_um**2,
        "cell_area_um2": cell.cell_area_px * pixel_um**2,
    }


def _packed(labels: npt.NDArray[np.int32], cell: CellGeometry) -> bytes:
    y0, x0, y1, x1 = cell.box
    return pack_mask(labels[y0:y1, x0:x1] == cell.label)


def _unpacked(cell: CellRow, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    y0, x0, y1, x1 = cell["box"]
    whole = np.zeros(shape, bool)
    whole[y0:y1, x0:x1] = unpack_mask(cell[name], (y1 - y0, x1 - x0))
    return whole
