"""`pixel-stats`: measurements that a biologist would make by hand, the baseline for every network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from embstore.arrays import Float32s, Float64s
from embstore.backbones.crops import Crops, check_crops
from embstore.backbones.pixel_measures import measure
from embstore.backbones.record import Backbone, Choices, space_of
from embstore.errors import WeightsError
from embstore.ids import digest
from embstore.space import Space

LIMIT = 5.0  # scaled values are clipped to ±5 sd: one outlier must not decide a similarity


@dataclass(frozen=True)
class ReferenceScaling:
    """The frozen scale of each measurement: its centre and spread over simulated cells."""

    names: tuple[str, ...]
    centre: Float64s
    spread: Float64s

    @property
    def sha256(self) -> str:
        """Return the digest of the names, centres and spreads, which takes the place of a network's weights digest."""
        return digest([[n, float(c), float(s)] for n, c, s in zip(self.names, self.centre, self.spread, strict=True)])


@cache
def reference() -> ReferenceScaling:
    """Return the reference scaling that ships with the package (see benchmarks/fit_pixel_stats_reference.py)."""
    text = files("embstore.backbones").joinpath("pixel_stats_reference.json").read_text("utf-8")
    rows: dict[str, list[float]] = json.loads(text)
    values = np.array(list(rows.values()), dtype=np.float64).reshape(-1, 2)
    return ReferenceScaling(tuple(rows), values[:, 0], values[:, 1])


class PixelStats:
    """The encoder of `pixel-stats`: it turns crops into scaled measurements."""

    device = "cpu"

    def __init__(self, backbone: Backbone, choices: Choices) -> None:
        self.backbone = backbone
        self.reference = reference()
        digest = self.reference.sha256
        if digest != backbone.weights_sha256:
            raise WeightsError(
                f"{backbone.name} revision {backbone.revision} has the reference scaling {digest[:12]}, its record "
                f"expects {str(backbone.weights_sha256)[:12]}; install embstore again"
            )
        self.space: Space = space_of(backbone, choices, digest)

    @property
    def dim(self) -> int:
        """Return the number of measurements."""
        return len(self.reference.names)

    def __call__(self, crops: Crops) -> Float32s:
        """Return float32 (n, dim): each measurement in sd from the reference, within ±5.

        Measurements that cannot be made (an absent role, no nucleus) get the space's fill, by default the reference's
        centre.
        """
        check_crops(crops, self.backbone.input_px, self.backbone.slots, self.backbone.name)
        raw = measure(crops)
        table = np.full((len(crops), self.dim), np.nan)
        for column, name in enumerate(self.reference.names):
            if name in raw:
                table[:, column] = raw[name]
        scaled = np.clip((table - self.reference.centre) / self.reference.spread, -LIMIT, LIMIT)
        return np.where(np.isfinite(scaled), scaled, self.space.fill).astype(np.float32)
