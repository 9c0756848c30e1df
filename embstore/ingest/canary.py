"""Canaries: a few golden crops whose vectors a space keeps, so that a drifting encoder cannot append to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow.compute as pc

from embstore.arrays import Float32s
from embstore.backbones.crops import CropEncoder, Crops
from embstore.errors import EmbstoreError
from embstore.ids import short
from embstore.store import Store, add_space, list_spaces

_log = logging.getLogger(__name__)

GOLDEN_ROLES = ("nucleus", "protein", "microtubules", "er")
# the same weights on another processor or thread count agree to 1e-6; another normalisation differs by 1e-2
MIN_SIMILARITY = 0.9999


def canary_vectors(encoder: CropEncoder) -> Float32s:
    """Return what the encoder makes of the golden crops, float32 (2, dim)."""
    return encoder(golden_crops(encoder.space.input_px or 224))


def open_space(store: Store, encoder: CropEncoder) -> None:
    """Record an encoder's space, or, if it is recorded, check that the encoder still gives its golden vectors."""
    space = encoder.space
    vectors = canary_vectors(encoder)
    if any(known["digest"] == space.digest for known in list_spaces(store)):
        stored = store.read("spaces", ["canary"], pc.field("digest") == space.digest)["canary"][0].as_py()
        check_canary(space.label, stored, vectors)
        _log.info("space %s %s is known, and its golden crops agree", space.label, short(space.digest))
        return
    record = asdict(space) | {"digest": space.digest, "roles": list(space.roles)}
    add_space(store, record, encoder.dim, half=space.precision.startswith("float16"), canary=vectors.ravel().tolist())
    _log.info("space %s %s is new: %d numbers a vector", space.label, short(space.digest), encoder.dim)


def golden_crops(px: int) -> Crops:
    """Return two drawn cells in all roles, without any randomness: a centred one and a small one off centre."""
    y, x = np.mgrid[0:px, 0:px].astype(np.float32) / px  # (y, x) in [0, 1)
    cells = [(0.5, 0.5, 0.2), (0.4, 0.6, 0.12)]
    radii = [np.hypot(y - cy, (x - cx) * 1.2) / r for cy, cx, r in cells]  # 1 at the nuclear edge
    pixels = np.stack([_draw(radius, y, x) for radius in radii]).astype(np.float32)  # (n, c, y, x)
    return Crops(
        pixels, GOLDEN_ROLES, nucleus=np.stack([r < 1 for r in radii]), cell=np.stack([r < 1.8 for r in radii])
    )


def check_canary(label: str, stored: Sequence[float], vectors: Float32s) -> None:
    """Refuse an encoder whose golden vectors left those that the space was made with (EmbstoreError with the drift)."""
    kept = np.asarray(stored, np.float32).reshape(vectors.shape)
    norms = np.linalg.norm(kept, axis=1) * np.linalg.norm(vectors, axis=1)
    lowest = float(((kept * vectors).sum(axis=1) / norms).min())
    if not lowest >= MIN_SIMILARITY:
        raise EmbstoreError(
            f"{label} gives other vectors than the store holds: golden crops agree to cosine {lowest:.6f}, "
            f"wanted at least {MIN_SIMILARITY}; use the versions of torch and timm that the space was made with"
        )


def _draw(radius: Float32s, y: Float32s, x: Float32s) -> np.ndarray:
    cytoplasm = np.clip(1.8 - radius, 0, 0.8) * (radius > 1)
    stripes = 0.5 + 0.5 * np.sin(60 * x + 25 * y)
    return np.stack(
        [np.clip(1.1 - radius, 0, 1), np.exp(-((radius - 1) ** 2) / 0.02), cytoplasm * stripes, cytoplasm]
    )  # (c, y, x)
