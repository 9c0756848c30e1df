"""Multi-hot labels: an array with a column for each location, 1 if it is present and 0 if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError


def locations_of_hot(path: Path, name: str, hot: npt.NDArray[Any], names: Sequence[str], rows: int) -> list[list[str]]:
    """Return the locations of each row of `hot` (rows, names); EmbstoreError for another shape or value than 0 and
    1.
    """
    if hot.shape != (rows, len(names)):
        raise EmbstoreError(f"{path}: {name} is {hot.shape}; wanted ({rows}, {len(names)}), a column for each name")
    bad = ~np.isin(hot, (0, 1)) if hot.dtype.kind in "biuf" else np.ones(hot.shape, bool)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        more = f" (and {bad.sum() - 1} more values are neither 0 nor 1)" if bad.sum() > 1 else ""
        raise EmbstoreError(
            f"{path}: {name} is {hot[row, column]:g} for {names[column]} in row {row + 1}{more}; wanted 1 where the "
            "location is present and 0 where it is not: decide, or leave the rows out"
            if hot.dtype.kind in "biuf"
            else f"{path}: {name} is {hot.dtype}; wanted 0 and 1"
        )
    return [[names[column] for column in np.flatnonzero(row).tolist()] for row in hot]
