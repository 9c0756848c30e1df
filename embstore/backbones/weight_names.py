"""The names that published vision transformers give their tensors, made into timm's.

Sources: the repositories facebookresearch/dino (main_dino.py), facebookresearch/dinov2 (models/vision_transformer.py,
layers/swiglu_ffn.py), facebookresearch/mae (models_mae.py), czi-ai/sub-cell-embed (models/vit.py,
models/attention_pooling.py), CellProfiling/SubCellPortable (vit_model.py) and huggingface/pytorch-image-models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from embstore.errors import WeightsError

if TYPE_CHECKING:
    import torch

# beside the network: its classifier, and what it was trained with
TRAINING_PARTS = re.compile(r"head\.|mask_token$|decoder_|decoder\.")
CHUNKED = re.compile(r"blocks\.\d+\.(\d+)\.(.+)")  # blocks.<chunk>.<block>., as DINOv2 keeps them for FSDP


def from_timm(named: Mapping[str, Any], _: str) -> dict[str, Any]:
    """Return tensors that have timm's names (DINO's are the same), without the classifier and a decoder."""
    return {name: tensor for name, tensor in named.items() if not TRAINING_PARTS.match(name)}


def is_dinov2(named: Mapping[str, Any]) -> bool:
    """True if tensors have DINOv2's own names: registers, its flat mask token, chunked blocks or its gated MLP."""
    flat_mask = getattr(named.get("mask_token"), "ndim", 0) == 2 and "blocks.0.ls1.gamma" in named
    return (
        flat_mask
        or "register_tokens" in named
        or any(CHUNKED.fullmatch(name) or name.endswith(".mlp.w12.weight") for name in named)
    )


def from_dinov2(named: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return tensors that have DINOv2's own names.

    Chunks of blocks are opened, the gated MLP gets timm's names, and where there are registers, the CLS token takes
    its position in, since timm then has positions of patches alone. Raises WeightsError where two blocks of different
    chunks have one number.
    """
    state: dict[str, Any] = {}
    for name, tensor in from_timm(named, where).items():
        chunked = CHUNKED.fullmatch(name)
        own = f"blocks.{chunked[1]}.{chunked[2]}" if chunked else name
        own = own.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")
        if own in state:
            raise WeightsError(f"{where} has two tensors for {own}, the second as {name}")
        state[own] = tensor
    if "register_tokens" in state:
        state["reg_token"] = state.pop("register_tokens")
        if {"cls_token", "pos_embed"} <= set(state):
            cls, positions = (
                state["cls_token"].float(),
                state["pos_embed"].float(),
            )  # half precision would round the sum
            state["cls_token"], state["pos_embed"] = cls + positions[:, :1], positions[:, 1:]
    return state


# Hugging Face's ViT and ViTMAE, whose names SubCell keeps, to timm's
BLOCK_NAMES = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
OTHER_NAMES = {
    "encoder.embeddings.cls_token": "cls_token",
    "encoder.embeddings.position_embeddings": "pos_embed",
    "encoder.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "encoder.embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "encoder.layernorm.weight": "norm.weight",
    "encoder.layernorm.bias": "norm.bias",
    # a dropout precedes each of these in training, so that they are the second of their sequence
    "pool_model.attention_v.1.weight": "attention_pool.v.weight",
    "pool_model.attention_v.1.bias": "attention_pool.v.bias",
    "pool_model.attention_u.1.weight": "attention_pool.u.weight",
    "pool_model.attention_u.1.bias": "attention_pool.u.bias",
    "pool_model.attention.weight": "attention_pool.score.weight",
    "pool_model.attention.bias": "attention_pool.score.bias",
}


def from_subcell(named: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return tensors that have SubCell's names: query, key and value joined, without the decoder.

    Raises WeightsError that names a tensor which SubCell does not have, or one of the three that is missing.
    """
    import torch

    state: dict[str, Any] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in named.items():
        block = re.fullmatch(r"encoder\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name)
        if block and (part := re.fullmatch(r"attention\.attention\.(query|key|value)", block[2])):
            joined.setdefault(f"blocks.{block[1]}.attn.qkv.{block[3]}", {})[part[1]] = tensor
        elif block and block[2] in BLOCK_NAMES:
            state[f"blocks.{block[1]}.{BLOCK_NAMES[block[2]]}.{block[3]}"] = tensor
        elif name in OTHER_NAMES:
            state[OTHER_NAMES[name]] = tensor
        elif not name.startswith("decoder."):
            raise WeightsError(f"{where} has {name}, which is no part of SubCell")
    for name, parts in joined.items():
        lacking = {"query", "key", "value"} - set(parts)
        if lacking:
            raise WeightsError(f"{where} lacks the {min(lacking)} of {name}")
        state[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    return state


CONVERTERS: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "dino": from_timm,
    "dinov2": from_dinov2,
    "timm": from_timm,
    "subcell": from_subcell,
}
