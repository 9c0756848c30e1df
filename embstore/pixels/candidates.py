"""Candidate nuclei of an image: the objects above many thresholds, and the parts that a watershed divides them into."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from embstore.arrays import Bools, Float64s, LabelImage

# Columns of `Candidates.sums`. A step is a pair of neighbouring pixels of which one lies outside the object.
AREA, Y, X, YY, XX, YX, LIGHT, BORDER, BORDER_GRADIENT, BORDER_LIGHT, SHARED, SHARED_LIGHT = range(12)


@dataclass(frozen=True)
class Candidates:
    """Candidate nuclei, parents before children: a row of each array per candidate.

    `sums` (n, 12) are sums over the candidate's pixels and over the steps of its border. `parent` is the row of the
    object that contains it, -1 without one; `part` tells pieces of a watershed from objects of a higher threshold.
    A candidate is the labels `first` to `last` of the label image `drawn[image]`.
    """

    sums: Float64s
    parent: np.ndarray
    part: Bools
    threshold: Float64s
    image: np.ndarray
    first: np.ndarray
    last: np.ndarray
    drawn: tuple[LabelImage, ...]

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def area(self) -> Float64s:
        """Return the pixels of each candidate."""
        return self.sums[:, AREA]

    def ellipses(self) -> tuple[Float64s, Float64s]:
        """Return each candidate's area over that of the ellipse of its second moments, and that ellipse's axis ratio.

        The first is 1 for an ellipse and less for anything with waists, holes or corners.
        """
        mean = self.sums[:, [Y, X]] / self.area[:, None]
        yy, xx = (self.sums[:, [YY, XX]] / self.area[:, None] - mean**2 + 1 / 12).T
        yx = self.sums[:, YX] / self.area - mean[:, 0] * mean[:, 1]
        root = np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
        wide, narrow = (yy + xx) / 2 + root, np.maximum((yy + xx) / 2 - root, 1 / 12)
        return self.area / (4 * math.pi * np.sqrt(wide * narrow)), np.sqrt(wide / narrow)

    def at_border(self) -> Bools:
        """True for each candidate that the border of the image cuts."""
        cut: list[Bools] = []
        for labels in self.drawn:
            mask = np.zeros(int(labels.max()) + 2, np.int64)
            mask[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = 1
            mask[0] = 0
            cut.append(np.concatenate([[0], np.cumsum(mask)]))
        rows = range(len(self))
        return np.array([cut[self.image[i]][self.last[i] + 1] > cut[self.image[i]][self.first[i]] for i in rows], bool)
