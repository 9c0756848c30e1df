"""The cells of one image: from a segmentation to rows of `cells`, and from those rows to crops for an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embstore.arrays import Bools, Float32s, LabelImage
from embstore.backbones.crops import Crops
from embstore.ids import cell_id
from embstore.pixels.crop import CellGeometry, crop, crop_mask, geometries, pack_mask, unpack_mask
from embstore.pixels.quality import quality_flags
from embstore.pixels.segmentation import Segmentation
from embstore.pixels.thumbnail import THUMBNAIL_PX, THUMBNAIL_UM, composite, encode_thumbnail
from embstore.store import CellRow


def cell_rows(
    segmented: Segmentation,
    *,
    pixels: npt.NDArray[np.generic],
    scaled: Float32s,
    roles: Sequence[str],
    image: str,
    segmentation: str,
    known_um: float | None,
) -> list[CellRow]:
    """Return the rows of `cells` for one image, in order of label.

    `pixels` (c, y, x) are as in the file, `scaled` the same in [0, 1] for thumbnails; `known_um` is the pixel size if
    it was not estimated.
    """
    pixel_um = segmented.pixel_size_um or 1.0  # without cells, no row uses it
    rows: list[CellRow] = []
    cells = geometries(segmented)
    for cell, flags in zip(cells, quality_flags(segmented, pixels, roles, cells, known_um), strict=True):
        thumbnail = crop(scaled, cell.centroid, THUMBNAIL_UM / pixel_um, THUMBNAIL_PX)
        rows.append(
            {
                "cell_id": cell_id(image, segmentation, cell.label),
                "image_id": image,
                "segmentation": segmentation,
                "label": cell.label,
                "box": list(cell.box),
                "centroid": list(cell.centroid),
                "nucleus_area_um2": cell.nucleus_area_px * pixel_um**2,
                "cell_area_um2": cell.cell_area_px * pixel_um**2,
                "zoom": THUMBNAIL_PX * pixel_um / THUMBNAIL_UM,
                "roles_present": list(roles),
                "flags": list(flags),
                "mask": _packed(segmented.cells, cell),
                "nucleus_mask": _packed(segmented.nuclei, cell),
                "thumbnail": encode_thumbnail(composite(thumbnail, roles)),
            }
        )
    return rows


def crops_of(
    cells: Sequence[CellRow], scaled: Float32s, roles: tuple[str, ...], side_px: float, input_px: int
) -> Crops:
    """Return the crops (n, c, input_px, input_px) around stored cells, in order: squares of `side_px` source pixels."""
    shape = scaled.shape[1:]
    n = len(cells)
    pixels = np.zeros((n, len(roles), input_px, input_px), np.float32)  # (n, c, y, x)
    nucleus, whole = (np.zeros((n, input_px, input_px), bool) for _ in range(2))  # (n, y, x)
    for i, cell in enumerate(cells):
        # rounded as it is stored, so that embedding later cuts the very same crop
        centroid = (float(np.float32(cell["centroid"][0])), float(np.float32(cell["centroid"][1])))
        pixels[i] = crop(scaled, centroid, side_px, input_px)
        for masks, packed in ((whole, cell["mask"]), (nucleus, cell["nucleus_mask"])):
            masks[i] = crop_mask(_unpacked(cell["box"], packed, shape), centroid, side_px, input_px)
    return Crops(pixels, roles, nucleus=nucleus, cell=whole)


def _packed(labels: LabelImage, cell: CellGeometry) -> bytes:
    y0, x0, y1, x1 = cell.box
    return pack_mask(labels[y0:y1, x0:x1] == cell.label)


def _unpacked(box: Sequence[int], packed: bytes, shape: tuple[int, ...]) -> Bools:
    y0, x0, y1, x1 = box
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = unpack_mask(packed, (y1 - y0, x1 - x0))
    return mask
