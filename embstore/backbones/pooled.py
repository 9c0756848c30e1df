"""Networks that pool by themselves: pixels in, one vector each out. timm's convolutional ones, and the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.channels import views_of
from embstore.backbones.crops import Crops, check_crops
from embstore.backbones.record import Backbone
from embstore.space import Space

CPU_PIXELS = 16 * 224 * 224  # shown at once: a ResNet-50's first maps of so many are 50 MB
GPU_PIXELS = 16 * CPU_PIXELS


@dataclass(frozen=True, repr=False)
class PooledEncoder:
    """A network that gives one vector a view; calling it embeds crops, or whole fields as crops.

    `vectors_of` takes float32 (n, slots, y, x), normalised, and returns float32 (n, pass_dim).
    """

    backbone: Backbone
    space: Space
    vectors_of: Callable[[Float32s], Float32s]
    pass_dim: int
    device: str

    def __repr__(self) -> str:
        return f"<PooledEncoder {self.space.label} on {self.device}: {self.dim} numbers>"

    @property
    def dim(self) -> int:
        """Return the length of a vector; under replication the roles follow each other."""
        return self.pass_dim * (len(self.space.roles) if self.space.strategy == "replication" else 1)

    def __call__(self, crops: Crops) -> Float32s:
        """Return float32 (n, dim), in the order of the crops."""
        check_crops(crops, self.space.input_px, self.space.roles, self.backbone.name)
        vectors = [self._embed(part) for part in _parts(crops, CPU_PIXELS if self.device == "cpu" else GPU_PIXELS)]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _embed(self, crops: Crops) -> Float32s:
        views = views_of(crops, self.backbone, self.space)
        return np.concatenate([self.vectors_of(view) for view in views], axis=1)


def _parts(crops: Crops, pixels: int) -> Iterator[Crops]:
    """Yield the crops in parts of so many pixels a channel, at least one crop each."""
    at_once = max(1, pixels // max(1, math.prod(crops.pixels.shape[-2:])))
    for start in range(0, len(crops), at_once):
        part = slice(start, start + at_once)
        yield replace(crops, pixels=crops.pixels[part], nucleus=crops.nucleus[part], cell=crops.cell[part])
