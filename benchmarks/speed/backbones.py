"""Crops per second of each backbone on the CPU: embstore's encoder and the bare forward pass of the same network.

The bare pass gets a tensor that is already normalised and in its slots, in batches of 16 crops. Weights are random: a
network's speed does not depend on them. `pixel-stats` has no bare pass and is compared with that of ViT-S/16. Whole
fields of 512 px through a ViT-B/8 are 4,097 tokens each; the peak memory is printed. `--quick`: fewer crops.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from harness import compare, report

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Backbone, Choices
from embstore.backbones.registry import BACKBONES

ROLES = ("microtubules", "protein", "nucleus")
QUICK = "--quick" in sys.argv[1:]
NETWORKS = {"ViT-S/16": ("vit_small_patch16_224.dino", 384, 32), "ViT-B/16": ("vit_base_patch16_224.dino", 768, 16)}
NETWORKS["ViT-B/8"] = ("vit_base_patch8_224.dino", 768, 4)


def main() -> None:
    rounds = 2 if QUICK else 5
    for name, (architecture, dim, n) in NETWORKS.items():
        network = drawn(architecture, dim)
        crops = crops_of(max(2, n // 4) if QUICK else n, 224)
        candidates = {"bare forward pass": bare(network, crops), "embstore": embstore(network, crops)}
        if name == "ViT-S/16":
            small = crops_of(len(crops), BACKBONES["pixel-stats"].input_px)
            candidates["pixel-stats"] = embstore(BACKBONES["pixel-stats"], small)
        timings = compare(candidates, baseline="bare forward pass", rounds=rounds)
        rates = ", ".join(f"{t.name} {len(crops) / t.median_s:.1f}/s" for t in timings)
        report(f"{name} at 224 px", timings, work=f"{len(crops)} crops, {torch.get_num_threads()} threads; {rates}")
    whole(drawn(*NETWORKS["ViT-B/8"][:2]))


def drawn(architecture: str, dim: int) -> Backbone:
    """Return vit-random's record with another network, whose weights are random and not pinned."""
    return replace(BACKBONES["vit-random"], name=architecture, architecture=architecture, dim=dim, weights_sha256=None)


def crops_of(n: int, px: int) -> Crops:
    """Return n round cells with noise, (n, c, y, x)."""
    y, x = np.mgrid[:px, :px] / px - 0.5
    cell, nucleus = (np.repeat((np.hypot(y, x) < radius)[None], n, axis=0) for radius in (0.4, 0.2))
    pixels = np.random.default_rng(0).uniform(size=(n, len(ROLES), px, px)).astype(np.float32)
    return Crops(pixels * (0.2 + 0.8 * cell[:, None]).astype(np.float32), ROLES, nucleus=nucleus, cell=cell)


def bare(backbone: Backbone, crops: Crops) -> Callable[[], object]:
    """Return timm's own forward pass over the network's input."""
    network = load(backbone, Choices(), "cpu").network  # type: ignore[attr-defined]  # a ViT
    shown = torch.from_numpy(crops.pixels)

    def run() -> None:
        with torch.inference_mode():
            for batch in shown.split(16):
                network(batch)

    return run


def embstore(backbone: Backbone, crops: Crops) -> Callable[[], object]:
    """Return embstore's encoder over the same crops."""
    encoder = load(backbone, Choices(), "cpu")
    return lambda: encoder(crops)


def whole(backbone: Backbone) -> None:
    """Print the time of fields of 512 px, and the peak memory."""
    fields = crops_of(1 if QUICK else 2, 512)
    before = peak_mb()
    encoder = load(backbone, Choices(unit="image", input_px=512), "cpu")
    timings = compare({"embstore": lambda: encoder(fields)}, baseline="embstore", rounds=1)
    a_field = timings[0].median_s / len(fields)
    report("ViT-B/8 on fields of 512 px", timings, work=f"{a_field:.1f} s per field, peak {before} -> {peak_mb()} MB")


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
