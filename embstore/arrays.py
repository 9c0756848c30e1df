"""Names for array types: one name for each dtype. Shapes are given in docstrings and at the ends of lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]
LabelImage = npt.NDArray[np.int32]  # (y, x): 0 outside, else the number of the object
