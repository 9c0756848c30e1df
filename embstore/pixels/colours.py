"""Colour pictures: which of their planes carry light, and which are grey."""

from __future__ import annotations

import numpy as np

COLOUR_OF_SAMPLES = {2: "LA", 3: "RGB", 4: "RGBA"}


def light(planes: np.ndarray, colour: str) -> tuple[np.ndarray, str]:
    """Return the planes (c, y, x) of a picture that carry information, and what they are.

    An opaque alpha channel is dropped; three colours that are equal everywhere become one grey plane, unless they are
    as blank as an empty channel.
    """
    if colour.endswith("A") and _is_opaque(planes[-1]):
        planes, colour = planes[:-1], colour[:-1]
    if colour == "RGB" and _is_grey(planes):
        planes, colour = planes[:1], ""
    return planes, "" if colour == "L" else colour


def brightest(planes: np.ndarray, colour: str) -> np.ndarray:
    """Return the one channel (y, x) that a grey or pseudo-coloured picture shows, without its alpha."""
    channel: np.ndarray = planes[: 1 if colour == "LA" else 3].max(axis=0)
    return channel


def _is_opaque(alpha: np.ndarray) -> bool:
    largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return bool((alpha == largest).all())


def _is_grey(planes: np.ndarray) -> bool:
    first = planes[0]
    return bool(np.ptp(first) > 0 and (planes[1] == first).all() and (planes[2] == first).all())
