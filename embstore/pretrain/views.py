"""Random views of crops: rotated, flipped, scaled and shifted in one resampling, then dimmed, blurred, made noisy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from embstore.backbones.normalise import BRIGHT_EPS, BRIGHT_KNEE

if TYPE_CHECKING:
    import torch

    from embstore.pretrain.recipe import Recipe

NOISE_SD = 0.5  # the largest sd of added noise, relative to a channel


def random_views(
    crops: torch.Tensor, recipe: Recipe, scale: tuple[float, float], side_px: int, random: torch.Generator
) -> torch.Tensor:
    """Return one view of each crop at the network's scale, float32 (n, roles, side_px, side_px).

    `crops` are uint8 (n, roles, y, x), CUT_WIDER times as wide as the network's final input; `scale` is the range of a
    view's side as a fraction of that input. Intensities vary by role, because microscopes set each channel separately.
    """
    shown = _sampled(crops, scale, side_px, random)
    shown = shown.clamp_min(1e-4) ** _normal(crops, random).mul(recipe.gamma).exp()
    shown = _blurred(shown, _chosen(crops, recipe.blur, random))
    spread = shown.std((2, 3), keepdim=True)
    level = _chosen(crops, recipe.noise, random) * NOISE_SD * spread
    return bright_log(shown + level * _like(shown, random))


def bright_log(shown: torch.Tensor) -> torch.Tensor:
    """Return crops (n, roles, y, x) normalised like `normalise` with `bright-log`, on the tensor's device.

    Each channel of each crop has mean 0 and sd 1; values above 2 sd are compressed logarithmically.
    """
    import torch

    knee = float(BRIGHT_KNEE)
    off = shown - shown.mean((2, 3), keepdim=True)
    z = off / (off.std((2, 3), keepdim=True, unbiased=False) + float(BRIGHT_EPS))
    return torch.where(z > knee, knee + knee * torch.log(z.clamp_min(knee) / knee), z)


def _sampled(crops: torch.Tensor, scale: tuple[float, float], side_px: int, random: torch.Generator) -> torch.Tensor:
    import torch
    from torch.nn import functional

    from embstore.pretrain.recipe import CUT_WIDER

    n = len(crops)
    draws = torch.rand((5, n), generator=random)
    side = (scale[0] + (scale[1] - scale[0]) * draws[0]) / CUT_WIDER  # fractions of the cut side
    angle, flip = 2 * math.pi * draws[1], torch.where(draws[2] < 0.5, -1.0, 1.0)
    # a small view is anywhere on the cell, a large one around its centre
    dy, dx = ((2 * d - 1) * (1 / CUT_WIDER - side).clamp_min(0.08) for d in draws[3:])
    sin, cos = angle.sin() * side, angle.cos() * side
    matrix = torch.stack([torch.stack([cos * flip, -sin, dx], 1), torch.stack([sin * flip, cos, dy], 1)], 1)
    grid = functional.affine_grid(matrix.to(crops.device), [n, 1, side_px, side_px], align_corners=False)
    pixels = crops.to(torch.float32) / 255
    return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _blurred(shown: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Return each channel mixed with its own blur by 3 x 3 Gaussian weights; strength (n, c, 1, 1) is in [0, 1]."""
    from torch.nn import functional

    channels = shown.shape[1]
    line = shown.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(channels, 1, 3, 3)
    soft = functional.conv2d(functional.pad(shown, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    return shown + strength * (soft - shown)


def _chosen(crops: torch.Tensor, chance: float, random: torch.Generator) -> torch.Tensor:
    """Return a strength in [0, 1] for each channel (n, c, 1, 1); it is 0 except for a fraction `chance` of them."""
    import torch

    draws = torch.rand((2, *crops.shape[:2], 1, 1), generator=random)
    return (draws[0] * (draws[1] < chance)).to(crops.device)


def _normal(crops: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    import torch

    return torch.randn((*crops.shape[:2], 1, 1), generator=random).to(crops.device)


def _like(shown: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    import torch

    return torch.randn(shown.shape, generator=random).to(shown.device)
