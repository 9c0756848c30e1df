"""Random weights in the published formats, and what a vision transformer makes of them by the papers' equations.

Written without timm and without embstore: plain products, sums and softmax (Vaswani et al. 2017, Dosovitskiy et al.
2021, Ilse et al. 2018), on tensors under the names that the published files have.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch

Weights = dict[str, torch.Tensor]
MLP_RATIO = 4


def dino_weights(*, width: int, depth: int, patch: int, channels: int, grid: int, seed: int = 0) -> Weights:
    """Weights under DINO's names (facebookresearch/dino, vision_transformer.py), far from their starting values."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, sd: float = 0.08) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * sd

    weights = {
        "cls_token": normal(1, 1, width, sd=1.0),
        "pos_embed": normal(1, grid * grid + 1, width, sd=1.0),
        "patch_embed.proj.weight": normal(width, channels, patch, patch),
        "patch_embed.proj.bias": normal(width),
        "norm.weight": 1 + normal(width),
        "norm.bias": normal(width),
    }
    for i in range(depth):
        for name, shape in {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (MLP_RATIO * width, width),
            "mlp.fc1.bias": (MLP_RATIO * width,),
            "mlp.fc2.weight": (width, MLP_RATIO * width),
            "mlp.fc2.bias": (width,),
        }.items():
            weights[f"blocks.{i}.{name}"] = normal(*shape) + (1.0 if "norm" in name and "weight" in name else 0.0)
    return weights


def write_dino(path: Path, weights: Weights, *, prefix: str = "backbone.", head: bool = True, **changes: Any) -> Path:
    """Write a checkpoint as main_dino.py does: both networks, the optimizer, and the options as argparse.Namespace."""
    width = weights["norm.weight"].shape[0]
    teacher = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    if head:
        of_head = {
            "mlp.0.weight": torch.ones(8, width),
            "mlp.0.bias": torch.zeros(8),
            "last_layer.weight_g": torch.ones(8, 1),
        }
        teacher |= {f"{prefix.removesuffix('backbone.')}head.{name}": tensor for name, tensor in of_head.items()}
    whole = {
        "student": {"module.backbone.cls_token": torch.full((1, 1, width), 7.0)},
        "teacher": teacher,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_base", patch_size=16, lr=0.0005, saveckp_freq=20, output_dir="/somewhere"),
        "dino_loss": {"center": torch.zeros(1, 8)},
    }
    torch.save(whole | changes, path)
    return path


def subcell_of(weights: Weights, *, pool_width: int = 512, pool_heads: int = 2, seed: int = 1) -> Weights:
    """The same transformer under SubCell's names, with its pooling (CellProfiling/SubCellPortable, vit_model.py)."""
    generator = torch.Generator().manual_seed(seed)
    width = weights["norm.weight"].shape[0]
    published = {
        "encoder.embeddings.cls_token": weights["cls_token"],
        "encoder.embeddings.position_embeddings": weights["pos_embed"],
        "encoder.embeddings.patch_embeddings.projection.weight": weights["patch_embed.proj.weight"],
        "encoder.embeddings.patch_embeddings.projection.bias": weights["patch_embed.proj.bias"],
        "encoder.layernorm.weight": weights["norm.weight"],
        "encoder.layernorm.bias": weights["norm.bias"],
        "pool_model.attention_v.1.weight": torch.randn(pool_width, width, generator=generator) * 0.2,
        "pool_model.attention_v.1.bias": torch.randn(pool_width, generator=generator) * 0.2,
        "pool_model.attention_u.1.weight": torch.randn(pool_width, width, generator=generator) * 0.2,
        "pool_model.attention_u.1.bias": torch.randn(pool_width, generator=generator) * 0.2,
        "pool_model.attention.weight": torch.randn(pool_heads, pool_width, generator=generator) * 0.2,
        "pool_model.attention.bias": torch.randn(pool_heads, generator=generator) * 0.2,
    }
    names = {
        "norm1": "layernorm_before",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for i in range(depth_of(weights)):
        for kind in ("weight", "bias"):
            layer = f"encoder.encoder.layer.{i}"
            parts = weights[f"blocks.{i}.attn.qkv.{kind}"].chunk(3)
            for part, tensor in zip(("query", "key", "value"), parts, strict=True):
                published[f"{layer}.attention.attention.{part}.{kind}"] = tensor.clone()
            for ours, theirs in names.items():
                published[f"{layer}.{theirs}.{kind}"] = weights[f"blocks.{i}.{ours}.{kind}"]
    return published


def dinov2_of(weights: Weights, *, registers: int = 0, chunks: int = 0, gated: bool = False, seed: int = 2) -> Weights:
    """The same transformer under DINOv2's names (facebookresearch/dinov2, models/vision_transformer.py).

    It has layer scales and a mask token, and where they are asked for registers, chunks of blocks and the giant's MLP.
    """
    generator = torch.Generator().manual_seed(seed)
    width, depth = weights["norm.weight"].shape[0], depth_of(weights)
    published = dict(weights) | {"mask_token": torch.randn(1, width, generator=generator)}
    if registers:
        published["register_tokens"] = torch.randn(1, registers, width, generator=generator)
    for i in range(depth):
        for name in ("ls1.gamma", "ls2.gamma"):
            published[f"blocks.{i}.{name}"] = 0.3 + torch.rand(width, generator=generator)
        if gated:
            hidden = width * 2
            for kind in ("fc1", "fc2"):
                del published[f"blocks.{i}.mlp.{kind}.weight"], published[f"blocks.{i}.mlp.{kind}.bias"]
            published[f"blocks.{i}.mlp.w12.weight"] = torch.randn(2 * hidden, width, generator=generator) * 0.1
            published[f"blocks.{i}.mlp.w12.bias"] = torch.randn(2 * hidden, generator=generator) * 0.1
            published[f"blocks.{i}.mlp.w3.weight"] = torch.randn(width, hidden, generator=generator) * 0.1
            published[f"blocks.{i}.mlp.w3.bias"] = torch.randn(width, generator=generator) * 0.1
    return chunked(published, chunks) if chunks else published


def chunked(weights: Weights, chunks: int) -> Weights:
    """The same weights with blocks in chunks, as `blocks.<chunk>.<block>.`: a block keeps its number among all."""
    size = depth_of(weights) // chunks
    renamed = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        renamed[".".join(["blocks", str(int(parts[1]) // size), *parts[1:]]) if parts[0] == "blocks" else name] = tensor
    return renamed


def depth_of(weights: Weights) -> int:
    return 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))


def tokens(
    weights: Weights, images: torch.Tensor, *, heads: int, eps: float = 1e-6, as_dino: bool = False
) -> torch.Tensor:
    """Return the tokens after the last norm, CLS first, in float64; positions are interpolated as by timm or DINO."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    x = _patches(w, images.double(), as_dino=as_dino)
    if "register_tokens" in w:  # after CLS, without positions
        x = torch.cat([x[:, :1], w["register_tokens"].expand(len(x), -1, -1), x[:, 1:]], dim=1)
    one = torch.ones(1, dtype=torch.float64)
    for i in range(depth_of(w)):
        scale1, scale2 = (w.get(f"blocks.{i}.{name}.gamma", one) for name in ("ls1", "ls2"))
        x = x + scale1 * _attention(w, f"blocks.{i}.attn", _norm(w, f"blocks.{i}.norm1", x, eps), heads)
        x = x + scale2 * _mlp(w, f"blocks.{i}.mlp", _norm(w, f"blocks.{i}.norm2", x, eps))
    return _norm(w, "norm", x, eps)


def _mlp(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    if f"{name}.w12.weight" in w:  # Shazeer 2020, arXiv 2002.05202: SwiGLU
        gate, value = _linear(w, f"{name}.w12", x).chunk(2, dim=-1)
        return _linear(w, f"{name}.w3", gate / (1 + torch.exp(-gate)) * value)
    hidden = _linear(w, f"{name}.fc1", x)
    return _linear(w, f"{name}.fc2", hidden * (1 + torch.erf(hidden / 2**0.5)) / 2)


def attention_pooled(published: Weights, x: torch.Tensor) -> torch.Tensor:
    """Return SubCell's pooling of tokens (n, t, width): each head's weighted mean, one after the other."""
    w = {name.removeprefix("pool_model."): tensor.double() for name, tensor in published.items()}
    u = _linear(w, "attention_u.1", x)
    gated = torch.tanh(_linear(w, "attention_v.1", x)) * u * (1 + torch.erf(u / 2**0.5)) / 2
    scores = _linear(w, "attention", gated)  # (n, t, heads)
    shares = torch.exp(scores) / torch.exp(scores).sum(dim=1, keepdim=True)
    return torch.cat([(shares[:, :, [h]] * x).sum(dim=1) for h in range(scores.shape[2])], dim=1)


def _patches(w: Weights, images: torch.Tensor, *, as_dino: bool) -> torch.Tensor:
    kernel = w["patch_embed.proj.weight"]
    side = kernel.shape[-1]
    squares = images.unfold(2, side, side).unfold(3, side, side)  # (n, c, rows, columns, side, side)
    x = torch.einsum("ncrsij,wcij->nrsw", squares, kernel) + w["patch_embed.proj.bias"]
    rows, columns, width = x.shape[1:]
    own = w["pos_embed"][:, 1:]
    grid = round(own.shape[1] ** 0.5)
    square = own.reshape(1, grid, grid, width).permute(0, 3, 1, 2)
    if (rows, columns) != (grid, grid) and as_dino:
        down, right = (_cubic(grid, count) for count in (rows, columns))
        square = torch.einsum("ncyx,ry,sx->ncrs", square, down, right)
    elif (rows, columns) != (grid, grid):
        square = torch.nn.functional.interpolate(square, (rows, columns), mode="bicubic", antialias=True)
    x = x.reshape(len(x), rows * columns, width) + square.flatten(2).transpose(1, 2)
    cls = (w["cls_token"] + w["pos_embed"][:, :1]).expand(len(x), 1, width)
    return torch.cat([cls, x], dim=1)


def _cubic(grid: int, count: int) -> torch.Tensor:
    """Return weights (count, grid) of cubic convolution (Keys 1981, a = -0.75), edges repeated, scaled as by DINO."""
    weights = torch.zeros(count, grid, dtype=torch.float64)
    for row in range(count):
        at = (row + 0.5) * grid / (count + 0.1) - 0.5
        for tap in range(math.floor(at) - 1, math.floor(at) + 3):
            d, a = abs(at - tap), -0.75
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[row, min(max(tap, 0), grid - 1)] += near if d <= 1 else far if d < 2 else 0.0
    return weights


def _linear(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(w: Weights, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    off = x - x.mean(dim=-1, keepdim=True)
    return off / torch.sqrt((off**2).mean(dim=-1, keepdim=True) + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _attention(w: Weights, name: str, x: torch.Tensor, heads: int) -> torch.Tensor:
    width = x.shape[-1] // heads
    q, k, v = _linear(w, f"{name}.qkv", x).chunk(3, dim=-1)
    result = []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / width**0.5
        result.append(torch.softmax(scores, dim=-1) @ v[..., own])
    return _linear(w, f"{name}.proj", torch.cat(result, dim=-1))
