"""A real transformer that is small enough for tests: 32 numbers wide, two blocks, patches of 8 on crops of 32 px."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from embstore.backbones.crops import Crops
from embstore.backbones.record import Backbone
from embstore.backbones.registry import BACKBONES

PX, PATCH, WIDTH = 32, 8, 32
ROLES = ("nucleus", "protein", "er")


def tiny(**changes: Any) -> Backbone:
    """Return vit-random's record with a tiny architecture; weights are drawn from the fixed seed."""
    args = {"img_size": PX, "patch_size": PATCH, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
    small = {"name": "tiny", "architecture_args": args, "input_px": PX, "dim": WIDTH, "weights_sha256": None}
    return replace(BACKBONES["vit-random"], **small | changes)


def drawn_crops(n: int, *, px: tuple[int, int] = (PX, PX), roles: tuple[str, ...] = ROLES, seed: int = 0) -> Crops:
    """Return crops of noise whose cell is the middle and whose nucleus is the middle of that."""
    pixels = np.random.default_rng(seed).uniform(size=(n, len(roles), *px)).astype(np.float32)
    nucleus, cell = (np.zeros((n, *px), bool) for _ in range(2))
    nucleus[:, 12:20, 12:20] = True
    cell[:, 6:26, 6:26] = True
    return Crops(pixels, roles, nucleus=nucleus, cell=cell)
