"""Published checkpoints, read without running anything in them: DINO's, SubCell's, timm's, safetensors."""

from __future__ import annotations

import argparse
import math
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.backbones.weights import Tensors
from embstore.errors import WeightsError, first_line

if TYPE_CHECKING:
    import torch

HEAD_WIDTH = 64  # of one attention head, in DINO's, DINOv2's and timm's vision transformers alike
SUBCELL_ARGUMENTS = {"norm_eps": 1e-12, "attention_pool": True}  # Hugging Face's ViT has another eps than timm's
AGAIN = "download it again, or name another file"
# whatever torch's and pickle's readers raise on bytes that are no checkpoint
BROKEN = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError,
    AssertionError, ArithmeticError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_checkpoint(path: Path, weights_format: str = "") -> tuple[Tensors, str]:
    """Return a file's tensors, float32 under timm's names, and the format they were in.

    | format | what is taken of the file | what is dropped |
    |---|---|---|
    | `dino` | `teacher`, without `module.` and `backbone.` | its projection head, `head.*` |
    | `subcell` | `encoder.*` and `pool_model.*`; query, key and value joined | the decoder that it was trained with |
    | `timm` | everything | its classifier, `head.*` |

    Without `weights_format` the names of the tensors decide. Nothing in the file is run: pickles may hold tensors and
    one argparse.Namespace. Raises WeightsError in one line for whatever else the file is. Sources of the names: the
    repositories facebookresearch/dino (main_dino.py), czi-ai/sub-cell-embed (models/vit.py, models/
    attention_pooling.py) and CellProfiling/SubCellPortable (vit_model.py), huggingface/pytorch-image-models.
    """
    held = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    found = _format_of(held)
    if weights_format and found != weights_format:
        raise WeightsError(
            f"{path} is {f'in the format {found}' if found else f'no vision transformer ({_named(held)})'}, "
            f"wanted {weights_format}; use the file that the backbone's record names"
        )
    if not found:
        raise WeightsError(
            f"{path} holds {_named(held)}; wanted a vision transformer: DINO's `teacher`, SubCell's `encoder.` and "
            "`pool_model.`, or timm's names such as patch_embed.proj.weight"
        )
    state = CONVERTERS[found](held, path)
    return _arrays(state, path), found


def _is_safetensors(path: Path) -> bool:
    """Tell by the first bytes: eight of the header's length, then the brace of its JSON."""
    try:
        with path.open("rb") as handle:
            head = handle.read(9)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); name a file of weights") from error
    if not head:
        raise WeightsError(f"{path} is empty; {AGAIN}")
    return head[8:9] == b"{" or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # the only reader that knows bfloat16

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, LookupError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({first_line(error)}); {AGAIN}") from error


def _read_pickle(path: Path) -> dict[str, Any]:
    import torch

    try:
        if packed := zipfile.is_zipfile(path):
            _check_zip(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of newer pickles, which it then cannot read
            # mapped, so that DINO's optimizer, student and head, three quarters of its file, are never read
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except BROKEN as error:
        raise WeightsError(f"{path} {_why(error)}; {AGAIN}") from error
    if not isinstance(held, Mapping):
        raise WeightsError(f"{path} holds a {type(held).__name__}, wanted a dictionary of tensors; {AGAIN}")
    return dict(held)


def _check_zip(path: Path) -> None:
    """Refuse an archive that is damaged, or would unpack to more than it is: `torch.save` never compresses."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:
            raise WeightsError(
                f"{path} is a zip file of {size} bytes that unpacks to {claimed}, which no checkpoint does; {AGAIN}"
            )
        if damaged := archive.testzip():  # torch does not look at checksums
            raise WeightsError(f"{path} is damaged: its entry {damaged} has another checksum; {AGAIN}")


def _why(error: BaseException) -> str:
    """Say what is wrong with a pickle; torch's own refusals are paragraphs that advise to trust the file."""
    refused = re.search(r"nsupported (?:global: )?GLOBAL ([\w.]+)", str(error))
    if refused:
        return f"asks to run {refused[1]} when it is read, which is refused: wanted nothing but tensors"
    if isinstance(error, pickle.UnpicklingError):
        return "holds no pickle of tensors (it is of another kind, or damaged)"
    if isinstance(error, LookupError):  # torch's reader met a byte that it has no meaning for: its number says nothing
        return "is not a readable checkpoint (its bytes are of another kind)"
    return f"is not a readable checkpoint ({first_line(error)[:120]})"


def _format_of(held: Mapping[str, Any]) -> str:
    """Return dino, subcell, timm, or nothing where no vision transformer is seen."""
    if isinstance(held.get("teacher"), Mapping):
        return "dino"
    if any(str(name).startswith("encoder.encoder.layer.") for name in held):
        return "subcell"
    return "timm" if "patch_embed.proj.weight" in held else ""


def _named(held: Mapping[str, Any]) -> str:
    names = sorted(map(str, held))
    return f"{len(names)} entries such as {', '.join(names[:3])}" if names else "nothing"


def _from_dino(held: Mapping[str, Any], _: Path) -> dict[str, Any]:
    # prefixes only: the authors' own loader replaces anywhere in a name, and leaves random weights without a word
    bare = {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in held["teacher"].items()}
    return _from_timm(bare, _)


def _from_timm(held: Mapping[str, Any], _: Path) -> dict[str, Any]:
    return {name: tensor for name, tensor in held.items() if not name.startswith("head.")}


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
    # a dropout stands before each of these in training, so that they are the second of their sequence
    "pool_model.attention_v.1.weight": "attention_pool.v.weight",
    "pool_model.attention_v.1.bias": "attention_pool.v.bias",
    "pool_model.attention_u.1.weight": "attention_pool.u.weight",
    "pool_model.attention_u.1.bias": "attention_pool.u.bias",
    "pool_model.attention.weight": "attention_pool.score.weight",
    "pool_model.attention.bias": "attention_pool.score.bias",
}


def _from_subcell(held: Mapping[str, Any], path: Path) -> dict[str, Any]:
    import torch

    state: dict[str, Any] = {}
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in held.items():
        block = re.fullmatch(r"encoder\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name)
        if block and (part := re.fullmatch(r"attention\.attention\.(query|key|value)", block[2])):
            joined.setdefault(f"blocks.{block[1]}.attn.qkv.{block[3]}", {})[part[1]] = tensor
        elif block and block[2] in BLOCK_NAMES:
            state[f"blocks.{block[1]}.{BLOCK_NAMES[block[2]]}.{block[3]}"] = tensor
        elif name in OTHER_NAMES:
            state[OTHER_NAMES[name]] = tensor
        elif not name.startswith("decoder."):
            raise WeightsError(f"{path} holds {name}, which is no part of SubCell; {AGAIN}")
    for name, parts in joined.items():
        lacking = {"query", "key", "value"} - set(parts)
        if lacking:
            raise WeightsError(f"{path} lacks the {min(lacking)} of {name}; {AGAIN}")
        state[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    return state


CONVERTERS: dict[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "dino": _from_dino,
    "timm": _from_timm,
    "subcell": _from_subcell,
}


def _arrays(state: Mapping[str, Any], path: Path) -> Tensors:
    """Return the tensors as float32, after checking that the file is large enough to hold them."""
    import torch

    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{path}: {name} is a {type(tensor).__name__}, wanted a tensor; {AGAIN}")
    claimed, size = sum(t.numel() * t.element_size() for t in state.values()), path.stat().st_size
    if claimed > size:  # a stride of 0 makes a large tensor of one number
        raise WeightsError(f"{path} of {size} bytes claims tensors of {claimed}; {AGAIN}")
    return {name: tensor.detach().float().contiguous().numpy() for name, tensor in state.items()}


def architecture_of(tensors: Tensors, path: Path, heads: int | None) -> dict[str, Any]:
    """Return what timm's create_model has to be given for these tensors, read from their shapes.

    The number of heads cannot be seen in them: width / 64 unless `heads` says so. Raises WeightsError where the shapes
    are not those of a plain vision transformer.
    """
    patch = _shape(tensors, "patch_embed.proj.weight", 4, path)
    width = patch[0]
    heads = heads or max(1, width // HEAD_WIDTH)
    if width % heads:
        raise WeightsError(f"{path} is {width} wide, which {heads} heads cannot share; say --heads N")
    positions = _shape(tensors, "pos_embed", 3, path)[1]
    prefix = ("cls_token" in tensors) + (tensors["reg_token"].shape[1] if "reg_token" in tensors else 0)
    apart = math.isqrt(positions) ** 2 == positions  # the prefix then has no positions of its own
    grid = math.isqrt(positions if apart else positions - prefix)
    if grid**2 not in {positions, positions - prefix}:
        raise WeightsError(f"{path} has {positions} positions, wanted a square and {prefix} more; {AGAIN}")
    blocks = {int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", name) for name in tensors) if m}
    arguments: dict[str, Any] = {
        "img_size": grid * patch[2],
        "patch_size": patch[2],
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": heads,
    }
    if "blocks.0.mlp.fc1.weight" in tensors:
        arguments["mlp_ratio"] = tensors["blocks.0.mlp.fc1.weight"].shape[0] / width
    if "blocks.0.ls1.gamma" in tensors:
        arguments["init_values"] = 1.0  # there are layer scales; their values are the file's
    if "cls_token" not in tensors:
        arguments |= {"class_token": False, "global_pool": "avg"}
    if "reg_token" in tensors:
        arguments["reg_tokens"] = tensors["reg_token"].shape[1]
    if apart and prefix:
        arguments["no_embed_class"] = True
    if "attention_pool.v.weight" in tensors:
        arguments |= SUBCELL_ARGUMENTS
    return arguments


def _shape(tensors: Tensors, name: str, axes: int, path: Path) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != axes:
        found = f"as {tensors[name].shape}" if name in tensors else "not at all"
        raise WeightsError(f"{path} holds {name} {found}, wanted it with {axes} axes; {AGAIN}")
    return tensors[name].shape
