"""The upper limit: a small vision transformer trained with labels on cells of the phantom atlas."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from timm.models.vision_transformer import Block
from torch import nn

Crops = npt.NDArray[np.uint8]  # (n, 2, y, x)
Scores = npt.NDArray[np.float32]  # (n, classes)

SHOWN_PX, PATCH_PX = 80, 8  # 21 µm of the crops' 25: room to shift them while training
WIDTH, DEPTH, HEADS = 128, 5, 4
BATCH, RATE, DECAY = 64, 1e-3, 0.05


class ConvStem(nn.Module):
    """Strided convolutions instead of the one patch projection (Xiao et al. 2021): it needs fewer cells."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise((2, 32, 64, 128)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(128, WIDTH, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 2, 80, 80) -> tokens (n, 100, width)."""
        return self.layers(x).flatten(2).transpose(1, 2)


class SmallViT(nn.Module):
    """2 channels of 80 px, patches of 8 px, width 128, depth 5, 4 heads; logits from the mean token."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = ConvStem()
        self.place = nn.Parameter(torch.empty(1, (SHOWN_PX // PATCH_PX) ** 2, WIDTH))
        nn.init.trunc_normal_(self.place, std=0.02)
        self.blocks = nn.Sequential(*[Block(WIDTH, HEADS, mlp_ratio=3, qkv_bias=True) for _ in range(DEPTH)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 2, 80, 80) -> logits (n, classes)."""
        return self.head(self.norm(self.blocks(self.stem(x) + self.place)).mean(1))


def trained(
    kept: Path, crops: Crops, labels: npt.NDArray[np.bool_], epochs: int, watched: Callable[[SmallViT], float]
) -> SmallViT:
    """Return the network after `epochs`, continuing from the checkpoint `kept` if it exists.

    Nothing is chosen by `watched`, which is only logged: the last epoch is used.
    """
    torch.manual_seed(0)
    net = SmallViT(labels.shape[1])
    matrices, vectors = ([p for p in net.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, RATE)
    batches = len(crops) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * batches, pct_start=0.1)
    share = torch.from_numpy(labels.mean(0)).float().clamp_min(1 / len(labels))  # a small trial may lack a class
    loss_of = nn.BCEWithLogitsLoss(pos_weight=((1 - share) / share).sqrt())
    parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
    first = _resumed(kept, parts)
    for epoch in range(first, epochs):
        started, total, rng = time.time(), 0.0, np.random.default_rng(epoch)
        net.train()
        order = rng.permutation(len(crops))[: batches * BATCH].reshape(batches, BATCH)
        for pick in np.sort(order, axis=1):
            loss = loss_of(net(_augmented(rng, crops[pick])), torch.from_numpy(labels[pick]).float())
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        torch.save({"epoch": epoch + 1, **{name: part.state_dict() for name, part in parts.items()}}, kept)
        took, validation = time.time() - started, watched(net)
        sys.stderr.write(f"epoch {epoch + 1}: loss {total / batches:.4f}, validation {validation:.3f}, {took:.0f} s\n")
    return net


def _resumed(kept: Path, parts: dict[str, object]) -> int:
    if not kept.exists():
        return 0
    state = torch.load(kept, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])  # type: ignore[attr-defined]
    return int(state["epoch"])


@torch.inference_mode()
def scores(net: SmallViT, crops: Crops) -> Scores:
    """Return the mean sigmoid over a crop and three of its mirror images, (n, classes)."""
    net.eval()
    margin = (crops.shape[2] - SHOWN_PX) // 2
    parts = []
    for start in range(0, len(crops), 256):
        batch = crops[start : start + 256, :, margin : margin + SHOWN_PX, margin : margin + SHOWN_PX]
        shown = torch.from_numpy(batch).float() / 255
        views = (shown, shown.flip(3), shown.flip(2), shown.transpose(2, 3))
        parts.append(torch.stack([torch.sigmoid(net(_standardised(view))) for view in views]).mean(0))
    return torch.cat(parts).numpy()


def _augmented(rng: np.random.Generator, crops: Crops) -> torch.Tensor:
    y, x = rng.integers(0, crops.shape[2] - SHOWN_PX + 1, 2)
    shown = torch.from_numpy(crops[:, :, y : y + SHOWN_PX, x : x + SHOWN_PX]).float() / 255
    shown = torch.rot90(shown, int(rng.integers(4)), (2, 3))
    shown = shown.flip(3) if rng.random() < 0.5 else shown
    gamma = torch.from_numpy(rng.lognormal(0, 0.2, (len(crops), 2, 1, 1)).astype(np.float32))
    return _standardised(shown.clamp_min(1e-4) ** gamma)


def _standardised(shown: torch.Tensor) -> torch.Tensor:
    """Return each channel of each crop with mean 0 and sd 1, its brightest parts compressed logarithmically."""
    off = shown - shown.mean((2, 3), keepdim=True)
    z = off / (off.std((2, 3), keepdim=True) + 1e-3)
    return torch.where(z > 2, 2 + 2 * torch.log(z.clamp_min(2) / 2), z)
