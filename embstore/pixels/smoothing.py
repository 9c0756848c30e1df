"""Blurs, local means and thresholds that the segmentation is made of."""

from __future__ import annotations

import math

import numpy as np

from embstore.arrays import Bools
from embstore.pixels.segmentation import SEGMENTER

BINS = 128  # of the histogram that the two thresholds are looked for in


def reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor × factor pixels; an incomplete last block is filled by repeating the edge."""
    image = image.astype(np.float32)
    if factor == 1:
        return image
    missing = [(0, -n % factor) for n in image.shape]
    image = np.pad(image, missing, mode="edge")
    height, width = image.shape
    reduced: np.ndarray = image.reshape(height // factor, factor, width // factor, factor).mean((1, 3))
    return reduced


def wide_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian, or where that is slow by two running means of the same variance."""
    from scipy import ndimage

    if sigma <= SEGMENTER["widest_gaussian_px"]:
        blurred: np.ndarray = ndimage.gaussian_filter(image, sigma, truncate=3)
        return blurred
    width = round(math.sqrt(6 * sigma**2 + 1))  # two means of n pixels have the variance (n² - 1) / 6
    means: np.ndarray = ndimage.uniform_filter(ndimage.uniform_filter(image, width), width)
    return means.clip(0)  # running sums may end a rounding below zero


def local_mean(image: np.ndarray, where: Bools, sigma: float) -> np.ndarray:
    """Return the mean around each pixel over the pixels of a mask only."""
    weight = wide_blur(where.astype(np.float32), sigma)
    total = wide_blur(np.where(where, image, np.float32(0)), sigma)
    overall = float(image[where].mean()) if where.any() else 0.0
    mean: np.ndarray = (total + 1e-3 * overall) / (weight + 1e-3)  # far from the mask, its overall mean
    return mean


def otsu(values: np.ndarray) -> float:
    """Return the threshold that divides values into two classes (Otsu 1979)."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def low_otsu(values: np.ndarray) -> float:
    """Return the lower of the two thresholds that divide values into three classes (Otsu 1979).

    A few nuclei ten times as bright as the others then form a class of their own.
    """
    counts, edges = np.histogram(values, BINS)
    weight = np.concatenate([[0.0], np.cumsum(counts / counts.sum())])
    total = np.concatenate([[0.0], np.cumsum(counts / counts.sum() * (edges[:-1] + edges[1:]) / 2)])
    first, second = np.triu_indices(BINS, 1)

    def between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        share = weight[end] - weight[start]
        variance: np.ndarray = (total[end] - total[start]) ** 2 / np.maximum(share, 1e-12)
        return variance

    ends = np.zeros_like(first), np.full_like(first, BINS)
    best = np.argmax(between(ends[0], first) + between(first, second) + between(second, ends[1]))
    return float(edges[first[best]])
