"""Canaries: golden crops whose vectors a space stores, so that an encoder that drifted cannot add vectors to it."""

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
MIN_SIMILARITY = 0.9999  # cosine; half precision on another GPU, or another batch, differs by up to 1e-4
# Of what is computed in float32, as a fraction of a vector's length: rounding (another processor, kernel or thread
# count) makes 1e-6, and a constant of pixel-stats or an input that is 0.5 % off makes 6e-4 to 4e-3.
MAX_DRIFT = 1e-4


def canary_vectors(encoder: CropEncoder) -> Float32s:
    """Return the encoder's vectors of the golden crops, float32 (2, dim).

    They show GOLDEN_ROLES, or the encoder's own roles if it uses none of these.
    """
    shown = encoder.space.roles
    roles = GOLDEN_ROLES if set(GOLDEN_ROLES) & set(shown) else shown
    return encoder(golden_crops(encoder.space.input_px or 224, roles))


def is_recorded(store: Store, encoder: CropEncoder, vectors: Float32s) -> bool:
    """Return whether an encoder's space is recorded; EmbstoreError if it is, with other golden vectors, (n, dim)."""
    space = encoder.space
    if all(known["digest"] != space.digest for known in list_spaces(store)):
        return False
    stored = store.read("spaces", ["canary"], pc.field("digest") == space.digest)["canary"][0].as_py()
    check_canary(space.label, stored, vectors, half="autocast" in space.precision)
    _log.info("space %s %s exists, and its golden vectors agree", space.label, short(space.digest))
    return True


def record_space(store: Store, encoder: CropEncoder, vectors: Float32s) -> None:
    """Record an encoder's new space with its golden vectors, (n, dim) (writes)."""
    space = encoder.space
    record = asdict(space) | {"digest": space.digest, "roles": list(space.roles)}
    add_space(store, record, encoder.dim, half=space.precision.startswith("float16"), canary=vectors.ravel().tolist())
    _log.info("space %s %s is new: %d numbers per vector", space.label, short(space.digest), encoder.dim)


def golden_crops(px: int, roles: Sequence[str] = GOLDEN_ROLES) -> Crops:
    """Return two drawn cells in some roles, not random: a centred one and a small one off centre."""
    y, x = np.mgrid[0:px, 0:px].astype(np.float32) / px  # (y, x) in [0, 1)
    cells = [(0.5, 0.5, 0.2), (0.4, 0.6, 0.12)]
    radii = [np.hypot(y - cy, (x - cx) * 1.2) / r for cy, cx, r in cells]  # 1 at the nuclear edge
    pixels = np.stack([_draw(radius, y, x) for radius in radii]).astype(np.float32)  # (n, c, y, x)
    planes = [number % len(GOLDEN_ROLES) for number in range(len(roles))]  # other roles show the same four pictures
    return Crops(
        pixels[:, planes],
        tuple(roles),
        nucleus=np.stack([r < 1 for r in radii]),
        cell=np.stack([r < 1.8 for r in radii]),
    )


def check_canary(label: str, stored: Sequence[float], vectors: Float32s, *, half: bool = False) -> None:
    """Raise EmbstoreError if an encoder's golden vectors, (n, dim), are not those that the space was made with.

    They may differ by MAX_DRIFT; those computed in `half` precision must have a cosine of at least MIN_SIMILARITY.
    """
    kept = np.asarray(stored, np.float32).reshape(vectors.shape)
    length = np.linalg.norm(kept, axis=1)
    lowest = float(((kept * vectors).sum(axis=1) / (length * np.linalg.norm(vectors, axis=1))).min())
    drift = float((np.linalg.norm(kept - vectors, axis=1) / length).max())
    if not (lowest >= MIN_SIMILARITY and (half or drift <= MAX_DRIFT)):
        wanted = f"cosine {MIN_SIMILARITY} at least" if half else f"{MAX_DRIFT:g} at most"
        raise EmbstoreError(
            f"{label} gives other vectors than the store contains: golden crops agree to cosine {lowest:.6f} and "
            f"differ by {drift:.1e} of their length, wanted {wanted}; use the versions of embstore, torch and "
            "timm that the space was made with (the table ingests names them)"
        )


def _draw(radius: Float32s, y: Float32s, x: Float32s) -> np.ndarray:
    cytoplasm = np.clip(1.8 - radius, 0, 0.8) * (radius > 1)
    stripes = 0.5 + 0.5 * np.sin(60 * x + 25 * y)
    return np.stack(
        [np.clip(1.1 - radius, 0, 1), np.exp(-((radius - 1) ** 2) / 0.02), cytoplasm * stripes, cytoplasm]
    )  # (c, y, x)
