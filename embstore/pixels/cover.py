"""Which candidates are the nuclei of an image: the set of disjoint ones that scores best."""

from __future__ import annotations

import math

import numpy as np

from embstore.arrays import Float64s, Int64s
from embstore.pixels.candidates import (
    BORDER,
    BORDER_GRADIENT,
    BORDER_LIGHT,
    LIGHT,
    SHARED,
    SHARED_LIGHT,
    Candidates,
)


def features(candidates: Candidates, px: float, noise: float) -> dict[str, Float64s]:
    """Return what tells a nucleus among the candidates, (n,) per name, for nuclei about `px` pixels wide.

    All are ratios: to a typical nucleus, to the candidate's own light, or to the noise of the background.
    """
    sums, area = candidates.sums, candidates.area
    steps = np.maximum(sums[:, BORDER], 1)
    light = np.maximum(sums[:, LIGHT] / area, 1e-9)
    elliptical, axes = candidates.ellipses()
    size = np.log(area / (math.pi / 4 * px**2)).clip(-3, 3)
    whole = elliptical.clip(0.3, 1.02) - 0.9
    long = np.log(axes).clip(0, 1.5)
    gradient = (sums[:, BORDER_GRADIENT] / steps * px / light).clip(0, 8) / 4
    rim = (sums[:, BORDER_LIGHT] / steps / light).clip(-0.2, 1.2) - 0.5
    level = (candidates.threshold / light).clip(0, 1.2) - 0.5
    contrast = np.log(light / max(noise, 1e-9)).clip(0, 6) / 3
    among = np.log(light / _usual(candidates, light, elliptical, px)).clip(-3, 3)
    rough = ((sums[:, BORDER] + sums[:, SHARED]) / np.sqrt(16 * area)).clip(0.5, 2.5) - 1
    part = candidates.part.astype(np.float64)
    shared = sums[:, SHARED] / np.maximum(sums[:, SHARED] + sums[:, BORDER], 1)
    seam = (sums[:, SHARED_LIGHT] / np.maximum(sums[:, SHARED], 1) / light).clip(0, 1.3)
    parent = np.maximum(candidates.parent, 0)
    grown = np.where((candidates.parent < 0) | candidates.part, 0.7, np.log(area[parent] / area).clip(0, 1.5))
    cut = candidates.at_border().astype(np.float64)
    return {
        "one": np.ones(len(area)),
        **{"size": size, "size²": size**2, "excess": np.maximum(size, 0)},
        **{"elliptical": whole, "elliptical²": whole**2, "elliptical size": whole * size},
        **{"long": long, "long²": long**2},
        **{"gradient": gradient, "gradient²": gradient**2, "gradient elliptical": gradient * whole},
        **{"rim": rim, "rim²": rim**2, "level": level, "level²": level**2},
        **{"contrast": contrast, "contrast²": contrast**2, "among": among, "among²": among**2},
        **{"rough": rough, "rough²": rough**2, "grown": grown, "grown²": grown**2},
        **{"cut": cut, "cut size": cut * size},
        **{"part": part, "part size": part * size, "part elliptical": part * whole},
        **{"shared": shared, "shared²": shared**2},
        **{"seam": seam, "seam²": seam**2, "shared seam": shared * seam},
    }


def _usual(candidates: Candidates, light: Float64s, elliptical: Float64s, px: float) -> float:
    """Return the median light of the candidates that look most like nuclei, those of steep borders counting more."""
    area = candidates.area / (math.pi / 4 * px**2)
    likely = (elliptical > 0.9) & (area > 0.4) & (area < 2) & ~candidates.part
    if not likely.any():
        likely = np.ones(len(area), bool)
    steep = candidates.sums[:, BORDER_GRADIENT] / np.maximum(candidates.sums[:, BORDER], 1) / light
    return weighted_median(light[likely], steep[likely] + 1e-9)


def weighted_median(values: Float64s, weights: Float64s) -> float:
    """Return the smallest value up to which half of the weight lies."""
    order = np.argsort(values, kind="stable")
    weight = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(weight, weight[-1] / 2)])


def best_cover(candidates: Candidates, scores: Float64s) -> Int64s:
    """Return the rows of the disjoint candidates whose scores have the largest sum; none has a score below 0."""
    n = len(candidates)
    values = np.zeros((n, 3))  # of the candidate itself, of the objects and of the parts within it
    values[:, 0] = np.maximum(scores, 0)
    kind = np.where(candidates.part, 2, 1)
    for row in range(n - 1, -1, -1):
        if (parent := candidates.parent[row]) >= 0:
            values[parent, kind[row]] += values[row].max()
    choice = values.argmax(1)
    wanted = np.ones(n, bool)
    for row in range(n):
        if (parent := candidates.parent[row]) >= 0:
            wanted[row] = wanted[parent] and choice[parent] == kind[row]
    return np.flatnonzero(wanted & (choice == 0) & (scores > 0))
