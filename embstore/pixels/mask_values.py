"""What the values of a mask mean: whether there is an outside, whether each label is one object, whether it is flat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embstore.arrays import Bools, LabelImage
from embstore.errors import ImageError

FRAGMENT = 0.1  # of a label's largest piece: smaller ones are stray pixels, which most tools leave
MANY_PIECES = 3  # two may be a cell that the border cuts, or the nuclei of a binucleate cell
SCATTERED = 0.25  # the share of labels with many pieces from which on labels are classes or grey values
MOST_OF_BORDER = 0.5
ENCLOSED = 0.01  # of the background's area: objects that lie in it
MAX_COLOURS = 8  # of a drawn mask; a photograph or a resized mask has hundreds
THIN_PX, HOLLOW = 2, 0.5  # a line is gone after so many erosions, and encloses so many times its own area
_SHOWN = 3
_OBJECTS = "export one number for each object and 0 outside (ilastik: Object Identities), or one class as 0 and 1"


@dataclass(frozen=True)
class Meaning:
    """What the labels of a mask (1..n) are: how many pieces each consists of, small fragments left out."""

    pieces: np.ndarray  # int (n,)

    @property
    def scattered(self) -> bool:
        """True if so many labels have many pieces that they are no objects."""
        return int((self.pieces >= MANY_PIECES).sum()) >= SCATTERED * len(self.pieces) > 0

    @property
    def divided(self) -> np.ndarray:
        """Return the labels that consist of more than one piece."""
        return np.flatnonzero(self.pieces > 1) + 1


def meaning(labels: LabelImage) -> Meaning:
    """Return what the labels 1..n of an image (y, x) are; every one of them has a pixel."""
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
    """Raise ImageError where values are no labels: not finite, negative or fractions."""
    if not np.isfinite(values).all():
        found, todo = "NaN or infinite values", "save 0 outside"
    elif values.min() < 0:
        low = values.min()
        found, todo = f"{low:g}", "-1 outside? save 0" if low == -1 else "save labels from 1 up"
    elif (values != np.floor(values)).any():
        fraction = values[values != np.floor(values)][0]
        found, todo = f"fractions such as {fraction:.3g}", "a probability map? apply a threshold, or export labels"
    else:
        return
    raise ImageError(
        f"the mask {name} holds values that are no labels ({found}); wanted whole numbers, 0 outside; {todo}"
    )


def check_objects(name: str, labels: LabelImage, present: np.ndarray) -> str:
    """Return a note on labels (1..n, which are `present` in the file) that consist of several pieces, empty for none.

    Raises ImageError where labels are no objects: a class map (all nuclei under one number), a grey picture, a
    probability map, a mask that was resized with interpolation.
    """
    found = meaning(labels)
    divided = found.divided
    if found.scattered:
        first = int(np.argmax(found.pieces))
        kind = "a class map" if len(present) <= MAX_COLOURS else "a picture, a probability map or a resized mask"
        one = f"value {present[first]:.0f} alone is {found.pieces[first]} pieces"
        raise ImageError(
            f"the mask {name} has {len(present)} values, and {one}: {kind}, wanted one number an object; {_OBJECTS}"
        )
    if (n := _around_others(labels)) >= SCATTERED * len(present) > 0:
        raise ImageError(
            f"the mask {name} has {len(present)} values, {n} of them around others, as classes or distances lie, "
            f"wanted one number an object; {_OBJECTS}"
        )
    if not len(divided):
        return ""
    shown = ", ".join(f"{present[label - 1]:.0f}" for label in divided[:_SHOWN])
    more = ", ..." if len(divided) > _SHOWN else ""
    return f"{len(divided)} labels consist of several pieces each ({shown}{more})"


def _around_others(labels: LabelImage) -> int:
    """Return how many labels enclose other labels of some size in their holes, as no object does."""
    from scipy import ndimage

    n = 0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            own = labels[box] == label
            n += int((labels[box][_holes(own)] > 0).sum() >= FRAGMENT * own.sum())
    return n


def check_outside(name: str, values: np.ndarray) -> str:
    """Return a note where the labels of an image (y, x) leave it open what is outside, empty where 0 is.

    Raises ImageError where a label is the background: it covers most of the border, and there is no 0 or it encloses
    others.
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
    nothing = "no outside (0), and " if everywhere else ""
    raise ImageError(
        f"the mask {name} has {nothing}label {label:.0f} on {share:.0%} of the border: its background, as in a class "
        f"map (ilastik's Simple Segmentation) or an inverted mask, wanted 0 there; {_OBJECTS}"
    )


def surrounds(inside: Bools) -> bool:
    """True if a part of an image (y, x) lies around the rest: on most of the border, with others in its holes."""
    return bool(_border(inside).mean() > MOST_OF_BORDER and _enclosed(inside) >= ENCLOSED * inside.sum())


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def check_filled(name: str, inside: Bools) -> None:
    """Raise ImageError where objects (y, x) are drawn as outlines: thin lines around empty insides."""
    from scipy import ndimage

    area = int(inside.sum())
    if area and _enclosed(inside) >= HOLLOW * area and not ndimage.binary_erosion(inside, iterations=THIN_PX).any():
        raise ImageError(f"the mask {name} shows outlines, wanted filled objects; export labels, one number an object")


def _enclosed(inside: Bools) -> int:
    """Return how many pixels lie in holes of a foreground."""
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
    """Return the colours of a grey + alpha, RGB or RGBA picture (c, y, x) as 1..n; 0 where it is black or transparent.

    A picture whose channels are equal is a grey one (True), whose values are kept.
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
