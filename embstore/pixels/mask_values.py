"""Check what the values of a mask mean: is there a background, is each label one object, are objects filled?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embstore.arrays import Bools, LabelImage
from embstore.errors import ImageError

FRAGMENT = 0.1  # of a label's largest piece: smaller pieces are stray pixels, which most tools leave
MANY_PIECES = 3  # two pieces may be a cell that the border cuts, or the nuclei of a binucleate cell
SCATTERED = 0.25  # if this share of labels has many pieces, labels are classes or grey values
MOST_OF_BORDER = 0.5
ENCLOSED = 0.01  # of the background's area: the size of the objects enclosed by it
MAX_COLOURS = 8  # of a drawn mask; a photograph or a resized mask has hundreds
THIN_PX, HOLLOW = 2, 0.5  # a line disappears after so many erosions, and encloses so many times its own area
_SHOWN = 3
_OBJECTS = "export one number for each object and 0 outside (ilastik: Object Identities), or one class as 0 and 1"


@dataclass(frozen=True)
class Meaning:
    """How many pieces each label of a mask (1..n) consists of, not counting small fragments."""

    pieces: np.ndarray  # int (n,)

    @property
    def scattered(self) -> bool:
        """True if so many labels have many pieces that they cannot be objects."""
        return int((self.pieces >= MANY_PIECES).sum()) >= SCATTERED * len(self.pieces) > 0

    @property
    def divided(self) -> np.ndarray:
        """Return the labels that consist of more than one piece, int (m,)."""
        return np.flatnonzero(self.pieces > 1) + 1


def meaning(labels: LabelImage) -> Meaning:
    """Return the number of pieces of the labels 1..n of an image (y, x), each of which has at least one pixel."""
    from skimage.measure import label

    parts = label(labels, background=0, connectivity=2)
    areas = np.bincount(parts.ravel())
    owner = np.zeros(len(areas), np.int64)
    owner[parts.ravel()] = labels.ravel()
    largest = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    np.maximum.at(largest, owner[1:], areas[1:])
    whole = areas[1:] >= FRAGMENT * largest[owner[1:]]
    return Meaning(np.bincount(owner[1:][whole], minlength=len(largest))[1:])


def check_numbers(name: str, values: np.ndarray) -> None:
    """Raise ImageError if values, of any shape, cannot be labels: not finite, negative or fractions."""
    if not np.isfinite(values).all():
        problem, todo = "NaN or infinite values", "save 0 outside"
    elif values.min() < 0:
        low = values.min()
        problem, todo = f"{low:g}", "-1 outside? save 0" if low == -1 else "save labels from 1 up"
    elif (values != np.floor(values)).any():
        fraction = values[values != np.floor(values)][0]
        problem, todo = f"fractions such as {fraction:.3g}", "a probability map? apply a threshold, or export labels"
    else:
        return
    raise ImageError(
        f"the mask {name} has values that are not labels ({problem}); wanted whole numbers, 0 outside; {todo}"
    )


def check_objects(name: str, labels: LabelImage, present: np.ndarray) -> str:
    """Return a note on labels 1..n (y, x) that consist of several pieces, "" if none does; `present` (n,) are the
    file's.

    Raises ImageError if labels are not objects: a class map (all nuclei have one number), a grey picture, a probability
    map, or a mask that was resized with interpolation.
    """
    kinds = meaning(labels)
    divided = kinds.divided
    if kinds.scattered:
        first = int(np.argmax(kinds.pieces))
        kind = "a class map" if len(present) <= MAX_COLOURS else "a picture, a probability map or a resized mask"
        one = f"value {present[first]:.0f} alone is {kinds.pieces[first]} pieces"
        raise ImageError(
            f"the mask {name} has {len(present)} values, and {one}: {kind}, wanted one number per object; {_OBJECTS}"
        )
    if (n := _around_others(labels)) >= SCATTERED * len(present) > 0:
        raise ImageError(
            f"the mask {name} has {len(present)} values, {n} of them enclosing others, like classes or distances, "
            f"wanted one number per object; {_OBJECTS}"
        )
    if not len(divided):
        return ""
    shown = ", ".join(f"{present[label - 1]:.0f}" for label in divided[:_SHOWN])
    more = ", ..." if len(divided) > _SHOWN else ""
    return f"{len(divided)} labels consist of several pieces each ({shown}{more})"


def _around_others(labels: LabelImage) -> int:
    """Return how many labels enclose larger labels in their holes, which objects do not."""
    from scipy import ndimage

    n = 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            own = labels[box] == label
            n += int((labels[box][_holes(own)] > 0).sum() >= FRAGMENT * own.sum())
    return n


def check_outside(name: str, values: np.ndarray) -> str:
    """Return a note if the labels of an image (y, x) leave it open what is background, "" if 0 is.

    Raises ImageError if a label is the background: it covers most of the border, and either no pixel is 0 or the label
    encloses others.
    """
    border = _border(values)
    labels, counts = np.unique(border[border > 0], return_counts=True)
    share = counts.max(initial=0) / len(border)
    everywhere = bool((values > 0).all())
    if share <= MOST_OF_BORDER:
        return "no pixel is outside (0)" if everywhere else ""
    label = labels[counts.argmax()]
    inside = values == label
    if not everywhere and not surrounds(inside):
        return f"label {label:.0f} covers {share:.0%} of the border"
    nothing = "no background (0), and " if everywhere else ""
    raise ImageError(
        f"the mask {name} has {nothing}label {label:.0f} on {share:.0%} of the border: its background, as in a class "
        f"map (ilastik's Simple Segmentation) or an inverted mask, wanted 0 there; {_OBJECTS}"
    )


def surrounds(inside: Bools) -> bool:
    """True if a part of an image (y, x) surrounds the rest: it covers most of the border and encloses others."""
    return bool(_border(inside).mean() > MOST_OF_BORDER and _enclosed(inside) >= ENCLOSED * inside.sum())


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def check_filled(name: str, inside: Bools) -> None:
    """Raise ImageError if objects (y, x) are drawn as outlines: thin lines around empty insides."""
    from scipy import ndimage

    area = int(inside.sum())
    if area and _enclosed(inside) >= HOLLOW * area and not ndimage.binary_erosion(inside, iterations=THIN_PX).any():
        raise ImageError(f"the mask {name} shows outlines, wanted filled objects; export labels, one number per object")


def _enclosed(inside: Bools) -> int:
    """Return how many pixels are in holes of a foreground."""
    return int(_holes(inside).sum())


def _holes(inside: Bools) -> Bools:
    from scipy import ndimage

    outside, n = ndimage.label(~inside)
    is_hole = np.ones(n + 1, bool)
    is_hole[_border(outside)] = False
    is_hole[0] = False
    holes: Bools = is_hole[outside]
    return holes


def colour_labels(planes: np.ndarray) -> tuple[LabelImage, bool]:
    """Return the colours of a grey + alpha, RGB or RGBA picture (c, y, x) as labels 1..n, 0 if black or transparent.

    The second value is True if the channels are equal: a grey picture, whose values are kept as labels.
    """
    shown = planes[: 1 if len(planes) == 2 else 3].astype(np.int64)
    opaque = planes[-1] > 0 if len(planes) in (2, 4) else np.ones(planes.shape[1:], bool)
    if (shown == shown[0]).all():
        return np.where(opaque, shown[0], 0), True
    packed = np.zeros(shown.shape[1:], np.int64)
    for plane in shown:
        packed = (packed << 16) + plane
    packed[~opaque] = 0
    present, numbers = np.unique(packed, return_inverse=True)
    return numbers.reshape(packed.shape) + (present[0] > 0), False
