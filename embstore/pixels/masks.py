"""Nuclei and cells from the label images of another tool, in the form of the built-in segmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embstore.arrays import Bools, LabelImage
from embstore.errors import ImageError
from embstore.pixels.decode import read_planes, read_shape
from embstore.pixels.diameter import estimated_pixel_size_um
from embstore.pixels.mask_values import (
    MAX_COLOURS,
    check_filled,
    check_numbers,
    check_objects,
    check_outside,
    colour_labels,
    meaning,
    surrounds,
)
from embstore.pixels.planes import Planes
from embstore.pixels.segment import expanded, segment
from embstore.pixels.segmentation import SEGMENTER, Segmentation
from embstore.pixels.smoothing import otsu

PLAIN = "cells and nuclei from masks"  # nothing had to be derived
GROWN = "cells grown from the nuclei of a mask"
COMPLETED = "cells from a mask, nuclei from the built-in segmentation"
EMPTY = "the mask has no object"
OF_NUCLEI, OF_CELLS = "nuclei: ", "cells: "  # before the note on one of the masks
INSIDE, BRIGHT = 0.8, 0.4  # share of the bright pixels in a mask that is too wide, and of such a mask that is bright
MAX_LABEL = 1_000_000  # more than the cells of any field: tables by label would take gigabytes


@dataclass(frozen=True)
class Mask:
    """One label image: int32 (y, x), 0 outside, and a note on how the file's own values were changed.

    If `instances` is False, labels are connected components of a foreground, each of which may contain several objects.
    """

    labels: LabelImage
    note: str = ""
    instances: bool = True
    name: str = "of the foreground"  # name of its file


def read_label_image(path: str | Path, shape: tuple[int, ...]) -> Mask:
    """Return a label image from a TIFF or PNG of any integer dtype; labels are kept, so that cell ids contain them.

    A foreground mask (one value, bits, or colours on black or on nothing) shows where objects are but not which: it is
    split into connected components, and the note states so; it also names labels that consist of several pieces. Raises
    ImageError if the values are not labels of objects (a class map, a picture, outlines, no background), or if the
    image's `shape` (y, x) differs.
    """
    path = Path(path)
    check_mask(path, shape)
    read = read_planes(path, labels=True)
    planes = read.pixels
    if read.white_is_zero:
        mask = _of_bits(path.name, planes[0])
    elif len(planes) > 1:
        mask = _of_colours(path.name, read)
    else:
        check_numbers(path.name, planes[0])
        mask = _of_values(path.name, planes[0], "a foreground mask")
    check_filled(path.name, mask.labels > 0)
    return mask


def _of_values(name: str, values: np.ndarray, what: str) -> Mask:
    """Return the objects of a plane of integers: its labels, or the components of its only value."""
    present = np.unique(values)
    present = present[present > 0]
    if len(present) == 1:
        split = _components(name, values > 0, what)
        if split.labels.max() > 1 or present[-1] > MAX_LABEL:
            return split
        return Mask(values.astype(np.int32), instances=False, name=name)  # likely one object, which keeps its number
    numbers = (np.searchsorted(present, values) + (values > 0)).astype(np.int32)  # 1 to n
    notes = [check_outside(name, values), check_objects(name, numbers, present)]
    if len(present) and present[-1] > MAX_LABEL:
        notes.insert(0, f"labels up to {present[-1]:.0f} renumbered")
        values = numbers
    return Mask(values.astype(np.int32), ", ".join(filter(None, notes)), name=name)


def _of_bits(name: str, white: Bools) -> Mask:
    """Return the objects of bits: the pixels that are 0 (white), or the black ones if white surrounds them.

    Python libraries also save an array of True with this photometric interpretation, as 1.
    """
    if not surrounds(white):
        return _of_values(name, white, "a foreground mask")
    mask = _of_values(name, ~white, "a foreground mask")
    note = "bits that are 1, and black by the file's photometric interpretation, taken as the objects"
    return replace(mask, note=f"{mask.note}, {note}" if mask.note else note)


def _of_colours(name: str, planes: Planes) -> Mask:
    """Return the objects of a picture: those of its grey values, else the components of its colours."""
    if not planes.colour:
        raise ImageError(
            f"the mask {name} has {len(planes.pixels)} planes, wanted one label image; save each to its own file"
        )
    labels, grey = colour_labels(planes.pixels)
    n = int(labels.max(initial=0))
    if grey or n < 2:
        return _of_values(name, labels, "a foreground mask" if grey else "a colour mask")
    kinds = meaning(labels)
    if kinds.scattered and n > MAX_COLOURS:
        raise ImageError(
            f"the mask {name} is a picture of {n} colours, wanted labels; export one number per object, 0 outside"
        )
    mask = _components(name, labels > 0, f"a colour mask of {n} colours")
    touching = int(kinds.pieces.sum()) > int(mask.labels.max())
    return replace(mask, note=f"{mask.note} (objects that touch are one: export labels)") if touching else mask


def check_mask(path: Path, shape: tuple[int, ...]) -> None:
    """Raise the ImageError that reading a mask of an image (y, x) would raise, as far as the file's header shows."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise ImageError(f"the mask {path.name} is a JPEG, which blurs labels; save it as PNG or TIFF")
    mask_shape = read_shape(path)[1:]
    if mask_shape != shape:
        raise ImageError(
            f"the mask {path.name} is {mask_shape} and its image {shape}; wanted the same size",
            todo="make a new mask from this image, and run the same command again",
        )


def from_masks(
    nuclei: Mask | None,
    cells: Mask | None,
    nucleus_channel: np.ndarray | None,
    pixel_size_um: float | None,
    assumed_um: float | None = None,
) -> Segmentation:
    """Return the cells that masks show; at least one must be given. Labels are those of cells, else of nuclei.

    Nuclei alone are grown into cells as in the built-in segmentation. For cells alone, the built-in segmentation finds
    the nuclei in `nucleus_channel` (y, x), none without it. A nucleus belongs to the cell that contains most of it, and
    is cut off at its outline; a cell may have no nucleus. A foreground of cells without instances is divided among the
    nuclei of the other mask if there are more of these. The note states what was done. If the pixel size is unknown, it
    is `assumed_um`, else estimated from the median nucleus. Raises ImageError if no mask is given, or if the pixel size
    is unknown and there is no nucleus to estimate it from.
    """
    if nuclei is not None and cells is not None and not cells.instances:
        cells = _divided(cells, nuclei.labels)
    named = ((OF_NUCLEI, nuclei), (OF_CELLS, cells))
    notes = [f"{prefix}{note}" for prefix, mask in named if mask and (note := _note(mask))]
    if nuclei is not None and cells is None:
        whole = expanded(nuclei.labels, SEGMENTER["expand"] * _diameter_px(nuclei.labels))
        segmentation = Segmentation(nuclei.labels, whole, None, "")
        notes.append(GROWN)
        notes += wider_than_nuclei(nuclei.labels > 0, nucleus_channel)
    elif cells is not None:
        inner = nuclei.labels if nuclei is not None else _found(nucleus_channel, cells.labels, pixel_size_um)
        segmentation, unmatched = _joined(inner, cells.labels)
        plain = f"{PLAIN}{unmatched}"
        segmented = f"{COMPLETED}{unmatched}"
        notes.append(plain if nuclei is not None else segmented)
    else:
        raise ImageError("no mask of nuclei or cells was given; wanted at least one")
    if not segmentation.cells.any():
        notes.append(EMPTY)
    estimated_um = estimated_pixel_size_um(segmentation.nuclei) if segmentation.nuclei.any() else None
    um = pixel_size_um or assumed_um or estimated_um
    if um is None and segmentation.cells.any():
        todo = "give it with --pixel-size UM"
        raise ImageError("the pixel size is unknown, and there is no nucleus to estimate it from", todo=todo)
    return Segmentation(segmentation.nuclei, segmentation.cells, um, "; ".join(notes))


def wider_than_nuclei(mask: Bools, channel: np.ndarray | None) -> list[str]:
    """Return a note if a mask of nuclei contains the light of a nucleus channel (both y, x) and far more than that."""
    from scipy import ndimage

    if channel is None or not mask.any() or not np.isfinite(channel).all() or np.ptp(channel) == 0:
        return []
    smooth = np.sqrt(ndimage.gaussian_filter(channel.astype(np.float32), 1) - float(channel.min()) + 1)
    bright = smooth > otsu(smooth)
    within = int((bright & mask).sum())
    if within < INSIDE * bright.sum() or within > BRIGHT * mask.sum():
        return []
    times = mask.sum() / max(within, 1)
    return [
        f"the mask covers {times:.1f} times the area of the nuclei; if it shows cells, end its name in _cells or put "
        "it in a folder called cells"
    ]


def _note(mask: Mask) -> str:
    """Return the note on a mask; ImageError if its foreground is the background (see `check_outside`)."""
    return ", ".join(filter(None, [mask.note, "" if mask.instances else check_outside(mask.name, mask.labels)]))


def _components(name: str, foreground: Bools, what: str) -> Mask:
    from scipy import ndimage

    labels, n = ndimage.label(foreground, np.ones((3, 3)))
    note = f"{what} without instances, split into {n} connected components"
    return Mask(labels.astype(np.int32), note, instances=False, name=name)


def _divided(cells: Mask, nuclei: LabelImage) -> Mask:
    """Divide a foreground with more nuclei than components among them, each pixel to the nearest in its component.

    The labels are then those of the nuclei; a component without a nucleus, which may be several cells, is left out.
    """
    from skimage.segmentation import watershed

    inside = cells.labels > 0
    seeds = np.where(inside, nuclei, 0)
    if len(np.unique(seeds[seeds > 0])) <= len(np.unique(cells.labels[inside])):
        return cells
    labels = watershed(np.zeros(inside.shape, np.uint8), seeds, mask=inside)
    empty = len(np.setdiff1d(cells.labels[inside], cells.labels[labels > 0]))
    dropped = f", {empty} components without a nucleus left out" if empty else ""
    return replace(cells, labels=labels.astype(np.int32), note=f"a foreground mask, divided among its nuclei{dropped}")


def _diameter_px(labels: LabelImage) -> float:
    areas = np.bincount(labels.ravel())[1:]
    return 2 * math.sqrt(float(np.median(areas[areas > 0])) / math.pi) if areas.any() else 0.0


def _found(nucleus_channel: np.ndarray | None, cells: LabelImage, pixel_size_um: float | None) -> LabelImage:
    if nucleus_channel is None:
        return np.zeros_like(cells)
    return segment(nucleus_channel, pixel_size_um).nuclei


def _joined(nuclei: LabelImage, cells: LabelImage) -> tuple[Segmentation, str]:
    """Assign each nucleus to the cell that contains most of its pixels; also return a note on those left alone."""
    inside = nuclei > 0
    n_cells = int(cells.max(initial=0)) + 1
    pairs, counts = np.unique(nuclei[inside].astype(np.int64) * n_cells + cells[inside], return_counts=True)
    order = np.argsort(counts, kind="stable")  # the largest overlap of a nucleus is written last
    owner = np.zeros(int(nuclei.max(initial=0)) + 1, np.int32)
    owner[pairs[order] // n_cells] = pairs[order] % n_cells
    owned = owner[nuclei]
    inner = np.where(owned == cells, owned, 0).astype(np.int32)
    left_out = np.setdiff1d(nuclei[inside], np.flatnonzero(owner))
    partly = len(np.intersect1d(left_out, nuclei[inside & (cells > 0)]))
    notes = (
        (len(left_out) - partly, "nuclei outside every cell left out"),
        (partly, "nuclei mostly outside their cell left out"),
        (len(np.setdiff1d(cells[cells > 0], inner)), "cells without a nucleus"),
    )
    return Segmentation(inner, cells, None, ""), "".join(f", {n} {what}" for n, what in notes if n)
