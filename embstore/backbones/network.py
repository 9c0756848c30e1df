"""The networks themselves: built by timm, loaded strictly, checked against the weights that the record pins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import SwiGLUPacked
from torch import nn

from embstore.backbones.checkpoints import read_checkpoint
from embstore.backbones.hub import find_or_download
from embstore.backbones.record import Backbone
from embstore.backbones.weights import Tensors, again, check_weights, random_weights, weights_sha256
from embstore.errors import WeightsError, advised

POOL_WIDTH, POOL_HEADS = 512, 2  # SubCell's (int_dim and num_heads of its published configurations)


class AttentionPool(nn.Module):
    """SubCell's pooling: each head weighs all tokens by a gated score, and the heads' means are joined.

    Takes tokens (n, tokens, width), the CLS token among them, and returns (n, heads * width). Source: Ilse et al. 2018
    (arXiv 1802.04712), with the GELU gate of czi-ai/sub-cell-embed, models/attention_pooling.py.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.v = nn.Linear(width, POOL_WIDTH)
        self.u = nn.Linear(width, POOL_WIDTH)
        self.score = nn.Linear(POOL_WIDTH, POOL_HEADS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the heads' weighted means of tokens (n, t, width), joined: (n, heads * width)."""
        gated = torch.tanh(self.v(tokens)) * nn.functional.gelu(self.u(tokens))
        weights = self.score(gated).softmax(dim=1)  # (n, tokens, heads)
        return torch.einsum("nth,ntw->nhw", weights, tokens).flatten(1)


def build(backbone: Backbone, *, grid_px: int | None = None, empty: bool = False) -> Any:
    """Return timm's vision transformer without a classification head, one input channel a slot; weights are not set.

    `forward_features` takes float32 (n, slots, y, x), whose sides are multiples of the patch, and returns the tokens
    after the last norm, (n, tokens, width): CLS and register tokens first (`num_prefix_tokens` of them), then patches
    row by row. Position embeddings are interpolated (bicubic) where the image is not the size that they were learned
    at, which is `grid_px`, else the record's. Four of the record's `architecture_args` are not timm's: `norm_eps`, of
    every norm, `attention_pool`, which adds SubCell's pooling under that name, `dino_positions`, which interpolates as
    DINO's code does, and `gated_mlp`, as in DINOv2's giant network. An `empty` network has shapes and no memory until
    it is filled. Raises WeightsError where timm cannot build it.
    """
    arguments = backbone.architecture_args | ({"img_size": grid_px} if grid_px else {})
    eps, pools = arguments.pop("norm_eps", None), arguments.pop("attention_pool", False)
    as_dino = arguments.pop("dino_positions", False)
    if eps is not None:
        arguments["norm_layer"] = partial(nn.LayerNorm, eps=eps)
    if arguments.pop("gated_mlp", False):
        arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    arguments |= {"in_chans": len(backbone.slots), "dynamic_img_size": True}
    try:
        with torch.device("meta" if empty else "cpu"):
            network = timm.create_model(backbone.architecture, pretrained=False, num_classes=0, **arguments)
            if pools:
                network.attention_pool = AttentionPool(network.embed_dim)
            if as_dino:
                network._pos_embed = partial(_dino_positions, network)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise WeightsError(
            f"timm cannot build {backbone.architecture} with {backbone.architecture_args} ({error}); correct the record"
        ) from error
    return network


def _dino_positions(network: Any, patches: torch.Tensor) -> torch.Tensor:
    """Return CLS and patches (n, rows, columns, width) as tokens, with positions, as DINO was trained and read.

    Another interpolation than timm's: no antialiasing, and a scale that is a tenth of a patch larger (facebookresearch/
    dino, vision_transformer.py, `interpolate_pos_encoding`, which the code of DINO4Cells keeps).
    """
    count, rows, columns, width = patches.shape
    cls, own = network.pos_embed[:, :1], network.pos_embed[:, 1:]
    grid = network.patch_embed.grid_size
    if (rows, columns) != grid:
        square = own.reshape(1, *grid, width).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / grid[0], (columns + 0.1) / grid[1])
        own = nn.functional.interpolate(square, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
    tokens = torch.cat([network.cls_token.expand(count, -1, -1), patches.reshape(count, -1, width)], dim=1)
    return tokens + torch.cat([cls, own], dim=1)


def load_network(backbone: Backbone) -> tuple[Any, str]:
    """Return the network with its weights, ready to be called on the CPU, and the sha256 of those weights.

    Raises WeightsError where the weights are not here, are not exactly the network's tensors, or are not the ones that
    the record pins.
    """
    tensors: Tensors
    if backbone.weights_format == "drawn":
        network = build(backbone, empty=True)
        tensors = random_weights(shapes_of(network))
        fill(network, tensors)
    else:
        with advised(again(backbone)), _file(backbone) as path:
            tensors = read_checkpoint(path, "timm")[0]
            network = fitting(backbone, tensors, str(path))
    sha256 = weights_sha256(tensors)
    if backbone.weights_sha256 not in (None, sha256):
        raise WeightsError(
            f"{backbone.name} revision {backbone.revision} has weights {sha256[:12]}, "
            f"its record pins {str(backbone.weights_sha256)[:12]}",
            todo=again(backbone),
        )
    return network.eval(), sha256


def fitting(backbone: Backbone, tensors: Tensors, where: str) -> Any:
    """Return the backbone's network filled with exactly these tensors; `where` they are from is named in errors.

    Position embeddings may be for another square of patches than the record's: the network then is built for that one.
    Raises WeightsError that names the first tensor which is missing, too many, misshaped or not finite.
    """
    network = build(backbone, empty=True)
    wanted = shapes_of(network)
    positions = tensors["pos_embed"].shape if "pos_embed" in tensors else ()
    if positions and positions != wanted.get("pos_embed"):
        apart = 0 if network.no_embed_class else network.num_prefix_tokens
        grid = math.isqrt(max(positions[1] - apart, 0)) if len(positions) == 3 else 0
        if grid and grid**2 + apart == positions[1]:
            network = build(backbone, grid_px=grid * network.patch_embed.patch_size[0], empty=True)
    check_weights(tensors, shapes_of(network), where)
    fill(network, tensors)
    return network


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network by its name."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def fill(network: Any, tensors: Tensors) -> None:
    """Set the network's weights to tensors that are exactly its own; they are taken, not copied."""
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)


@contextmanager
def _file(backbone: Backbone) -> Iterator[Path]:
    """Give the backbone's file, that of the package or one on this disk, downloading it where that is possible."""
    if backbone.weights_format == "shipped":
        name = f"{backbone.name.replace('-', '_')}.safetensors"
        with as_file(files("embstore.backbones").joinpath(name)) as shipped:
            yield shipped
    else:
        yield find_or_download(backbone)
