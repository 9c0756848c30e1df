"""Vision transformers by timm: crops or whole fields in, pooled tokens out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from embstore.arrays import Float32s
from embstore.backbones.channels import views_of
from embstore.backbones.crops import Crops, check_crops
from embstore.backbones.device import autocast, choose_device, precision_on
from embstore.backbones.network import load_network
from embstore.backbones.pace import batches, embedded
from embstore.backbones.pooling import check_pooling, pool_tokens
from embstore.backbones.record import POOLINGS, Backbone, Choices, space_of
from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.field import native_field
from embstore.space import Space

MAX_TOKENS = 2**16  # a field of 2048 px at patches of 8: an hour on two cores, and memory that any machine has


@dataclass(frozen=True, repr=False)
class ViT:
    """A loaded transformer with the way it is shown channels; calling it embeds crops, or whole fields as crops."""

    backbone: Backbone
    space: Space
    network: Any
    device: str

    def __repr__(self) -> str:
        return f"<ViT {self.space.label} on {self.device}: {self.dim} numbers>"

    @property
    def dim(self) -> int:
        """Return the length of a vector: pooled parts follow each other, and so do the roles under replication."""
        roles = len(self.space.roles) if self.space.strategy == "replication" else 1
        return int(self.network.embed_dim) * POOLINGS[self.space.pooling] * roles

    def __call__(self, crops: Crops) -> Float32s:
        """Return float32 (n, dim), in the order of the crops; as many go through the network at once as pay.

        In a space of native size, fields may be of any size from one patch up. Raises ImageError for one of more than
        MAX_TOKENS patches.
        """
        check_crops(crops, self.space.input_px, self.space.roles, self.backbone.name)
        tokens = self._tokens(crops.pixels.shape[-2:])
        parts = batches(self.network, self.device, tokens, len(crops))
        vectors = embedded(lambda part: self._embed(_part(crops, part)), parts, self.device, tokens)
        return np.concatenate(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _tokens(self, shape: tuple[int, ...]) -> int:
        patch = self.network.patch_embed.patch_size
        tokens: int = (shape[0] // patch[0]) * (shape[1] // patch[1]) + self.network.num_prefix_tokens
        if tokens > MAX_TOKENS:
            field = f"a field of {shape[1]} x {shape[0]} px is {tokens} tokens to {self.backbone.name}"
            raise ImageError(
                f"{field}, wanted at most {MAX_TOKENS}",
                todo=f"show it smaller: --backbone {self.space.label}:unit=image:input_px=512",
            )
        return tokens

    def _embed(self, crops: Crops) -> Float32s:
        return np.concatenate([self._forward(view) for view in views_of(crops, self.backbone, self.space)], axis=1)

    def _forward(self, view: Float32s) -> Float32s:
        """Return the pooled tokens of what the network is shown, float32 (n, dim of one pass)."""
        if self.space.input_px is None:
            view = np.ascontiguousarray(native_field(view, max(self.network.patch_embed.patch_size)))
        with torch.inference_mode(), autocast(self.device):
            tokens = self.network.forward_features(torch.from_numpy(view).to(self.device))
            if self.space.pooling == "attention":
                pooled = self.network.attention_pool(tokens)
            else:
                pooled = pool_tokens(tokens, self.network.num_prefix_tokens, self.space.pooling)
        vectors: Float32s = pooled.float().cpu().numpy()
        return vectors


def load_vit(backbone: Backbone, choices: Choices, device: str = "auto") -> ViT:
    """Return the loaded network on a device (see `device.choose_device`).

    The CPU computes in float32, a GPU in half precision where that is safe (autocast): another space. Raises
    WeightsError where the weights are not here or not the recorded ones, EmbstoreError where the device is not here or
    the network has no such tokens to pool.
    """
    where = choose_device(device)
    network, weights = load_network(backbone)
    space = space_of(backbone, choices, weights)
    patch = max(network.patch_embed.patch_size)
    if space.input_px and space.input_px % patch:
        raise EmbstoreError(
            f"{space.input_px} px is no multiple of the {patch} px of {backbone.name}'s patches; choose one"
        )
    check_pooling(space.pooling, int(network.num_prefix_tokens), backbone.name)
    return ViT(backbone, precision_on(where, space), network.to(where), where)


def _part(crops: Crops, part: slice) -> Crops:
    return replace(crops, pixels=crops.pixels[part], nucleus=crops.nucleus[part], cell=crops.cell[part])
