"""The vision transformer in a checkpoint: where it is in the file, its tensors under timm's names, its architecture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from embstore.backbones.weight_files import read_file
from embstore.backbones.weight_names import CONVERTERS, is_dinov2
from embstore.backbones.weights import Tensors
from embstore.errors import WeightsError

HEAD_WIDTH = 64  # of one attention head, in DINO's, DINOv2's and timm's vision transformers alike
SUBCELL_EPS = 1e-12  # of its norms: Hugging Face's ViT has another eps than timm's
NETWORK_MARKS = ("patch_embed.proj.weight", "encoder.embeddings.patch_embeddings.projection.weight")
DEEPEST = 2  # entries within entries that are looked into
TRAINED_BY_DINO = ("teacher", "student")
_SHOWN = 3


class ViTArguments(TypedDict):
    """The arguments of `network.build` for a vision transformer: timm's, and four of embstore's own."""

    img_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: NotRequired[float]
    init_values: NotRequired[float]
    class_token: NotRequired[bool]
    global_pool: NotRequired[str]
    reg_tokens: NotRequired[int]
    no_embed_class: NotRequired[bool]
    norm_eps: NotRequired[float]
    attention_pool: NotRequired[bool]
    dino_positions: NotRequired[bool]
    gated_mlp: NotRequired[bool]


@dataclass(frozen=True)
class FoundNetwork:
    """One vision transformer in a file: where in it, and its tensors by their names below that."""

    entries: tuple[str, ...]  # that it is within
    prefix: str  # of its names in the file, with a dot at its end
    named: Mapping[str, Any]

    @property
    def address(self) -> str:
        """What names it in the file: entries and prefix, joined by dots; "" for a bare state dict."""
        return ".".join([*self.entries, self.prefix]).strip(".")

    @property
    def trained_by_dino(self) -> str:
        """`teacher` or `student`, as main_dino.py saves them; "" for any other network."""
        return self.entries[0] if self.entries and self.entries[0] in TRAINED_BY_DINO else ""

    @property
    def weights_format(self) -> str:
        """The format of the names: dino, dinov2, subcell or timm."""
        if NETWORK_MARKS[1] in self.named:
            return "subcell"
        if is_dinov2(self.named):
            return "dinov2"
        return "dino" if self.trained_by_dino else "timm"


def read_checkpoint(path: str | Path, weights_format: str = "", key: str | None = None) -> tuple[Tensors, str]:
    """Return the tensors of a file's vision transformer, float32 under timm's names, and the format they were in.

    | format | what is taken | what is dropped |
    |---|---|---|
    | `dino` | `teacher`, without `module.` and `backbone.` | its projection head, `head.*` |
    | `dinov2` | the same, or a bare state dict; chunks of blocks are opened | `mask_token` and heads |
    | `subcell` | `encoder.*` and `pool_model.*`; query, key and value joined | the decoder that it was trained with |
    | `timm` | everything | its classifier, `head.*`, and the decoder of a masked autoencoder |

    Wrappers (`model`, `state_dict`, ...) and prefixes (`module.`, `teacher.backbone.`) are taken off where one network
    is in the file. Where several are, `key` names one, and without it a WeightsError lists them; of DINO's own two, the
    teacher is taken. Nothing in the file is run. Raises WeightsError in one line for what is no vision transformer or,
    where `weights_format` is given, not of that format.
    """
    path = Path(path)
    contents = read_file(path)
    network = _chosen(list(_networks(contents)), key, path, contents)
    own_format = network.weights_format
    if weights_format and own_format != weights_format:
        raise WeightsError(f"{path} is in the format {own_format}, wanted {weights_format}")
    check_claims(network.named, path)  # as they are in the file: converted ones may be larger
    return float_arrays(CONVERTERS[own_format](network.named, str(path)), path), own_format


def _networks(contents: Mapping[str, Any], within: tuple[str, ...] = ()) -> Iterator[FoundNetwork]:
    """Yield each vision transformer among a file's entries, and in entries within those."""
    for prefix in _prefixes(contents):
        named = {name.removeprefix(prefix): contents[name] for name in contents if str(name).startswith(prefix)}
        yield FoundNetwork(within, prefix, named)
    if len(within) < DEEPEST:
        for name, entry in contents.items():
            if isinstance(entry, Mapping):
                yield from _networks(entry, (*within, str(name)))


def _prefixes(contents: Mapping[str, Any]) -> list[str]:
    """Return what precedes the names of each network's tensors: "", or an end at a dot."""
    prefixes = (name.removesuffix(mark) for name in map(str, contents) for mark in NETWORK_MARKS if name.endswith(mark))
    return [prefix for prefix in dict.fromkeys(prefixes) if not prefix or prefix.endswith(".")]


def _chosen(networks: Sequence[FoundNetwork], key: str | None, path: Path, contents: Mapping[str, Any]) -> FoundNetwork:
    """Return the network that is meant; a WeightsError that lists what is in the file where that is not one."""
    if not networks:
        raise WeightsError(f"{path} contains {_described(contents)}; wanted a vision transformer")
    matching = [network for network in networks if key is None or _is_part(key, network.address)]
    if key is None and all(network.trained_by_dino for network in matching):  # its authors evaluate the teacher
        matching = [network for network in matching if network.trained_by_dino == TRAINED_BY_DINO[0]] or matching
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(network.address or "(no key)" for network in networks)
    if key is None:
        raise WeightsError(
            f"{path} contains {len(networks)} networks: {listed}", todo="choose one with `embstore backbones add --key`"
        )
    number = f"{len(matching)} of its networks match --key {key}" if matching else f"no network matches --key {key}"
    raise WeightsError(f"{path}: {number}", todo=f"choose from: {listed}")


def _is_part(key: str, address: str) -> bool:
    """True if a key is a run of the parts of an address: `teacher.backbone` of `state_dict.teacher.backbone`."""
    return f".{key.strip('.')}." in f".{address}."


def _described(contents: Mapping[str, Any]) -> str:
    """Return what the entries of a file are, the first few by name."""
    names = sorted(map(str, contents))
    if not names:
        return "nothing"
    line = f"{len(names)} entries such as {', '.join(names[:_SHOWN])}"
    inside = next(((name, entry) for name, entry in contents.items() if isinstance(entry, Mapping) and entry), None)
    return f"{line}, and in {inside[0]} {_described(inside[1])}" if inside else line


def float_arrays(state: Mapping[str, Any], path: Path) -> Tensors:
    """Return tensors as float32 arrays; WeightsError that names the first that is none, or has no floating values."""
    import torch

    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{path}: {name} is a {type(tensor).__name__}, wanted a tensor")
        if not tensor.is_floating_point() or tensor.itemsize < 2:  # quantised ones are numbers of a scale elsewhere
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{path}: {name} is {kind}, wanted float16, bfloat16, float32 or float64")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            kind = "without values" if tensor.device.type == "meta" else "sparse"
            raise WeightsError(f"{path}: {name} is {kind}, wanted a plain tensor")
    return {name: tensor.detach().float().contiguous().numpy() for name, tensor in state.items()}


def check_claims(contents: Mapping[str, Any], path: Path) -> None:
    """Refuse, with a WeightsError, tensors that claim more bytes than the file has: a stride of 0 makes many of one."""
    import torch

    tensors = [tensor for tensor in contents.values() if isinstance(tensor, torch.Tensor)]
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in tensors), path.stat().st_size
    if claimed > size:
        raise WeightsError(f"{path} of {size} bytes claims tensors of {claimed}")


def architecture_of(tensors: Tensors, path: Path, heads: int | None, weights_format: str = "timm") -> ViTArguments:
    """Return what timm's create_model has to be given for these tensors, read from their shapes.

    The number of heads cannot be seen in them: width / 64 unless `heads` says so. How positions are interpolated, and
    whether half of an MLP is a gate, are the habits of a `weights_format`. Raises WeightsError where the shapes are not
    those of a plain vision transformer.
    """
    patch = _shape(tensors, "patch_embed.proj.weight", 4, path)
    width = patch[0]
    heads = heads or max(1, width // HEAD_WIDTH)
    if width % heads:
        raise WeightsError(f"{path} is {width} wide, which {heads} heads cannot share", todo="give --heads N")
    positions = _shape(tensors, "pos_embed", 3, path)[1]
    prefix = ("cls_token" in tensors) + (tensors["reg_token"].shape[1] if "reg_token" in tensors else 0)
    apart = math.isqrt(positions) ** 2 == positions  # the prefix then has no positions of its own
    grid = math.isqrt(positions if apart else positions - prefix)
    if grid**2 not in {positions, positions - prefix}:
        raise WeightsError(f"{path} has {positions} positions, wanted a square and {prefix} more")
    blocks = {int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", name) for name in tensors) if m}
    arguments: ViTArguments = {
        "img_size": grid * patch[2],
        "patch_size": patch[2],
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": heads,
    }
    _add_variants(arguments, tensors, width)
    if apart and prefix:
        arguments["no_embed_class"] = True
    # DINOv2's networks with registers interpolate as timm does (hub/backbones.py: interpolate_offset=0.0)
    if weights_format == "dino" or (weights_format == "dinov2" and "reg_token" not in tensors):
        arguments["dino_positions"] = True
    joined = tensors.get("blocks.0.mlp.fc2.weight")
    if weights_format == "dinov2" and joined is not None and joined.shape != (width, 4 * width):
        arguments["gated_mlp"] = True  # of the giant network alone
    return arguments


def _add_variants(arguments: ViTArguments, tensors: Tensors, width: int) -> None:
    """Add what is not the same in all vision transformers: MLP, layer scale, CLS and register tokens, pooling."""
    if "blocks.0.mlp.fc1.weight" in tensors:
        arguments["mlp_ratio"] = tensors["blocks.0.mlp.fc1.weight"].shape[0] / width
    if "blocks.0.ls1.gamma" in tensors:
        arguments["init_values"] = 1.0  # there are layer scales; their values are the file's
    if "cls_token" not in tensors:
        arguments |= {"class_token": False, "global_pool": "avg"}
    if "reg_token" in tensors:
        arguments["reg_tokens"] = tensors["reg_token"].shape[1]
    if "attention_pool.v.weight" in tensors:
        arguments |= {"norm_eps": SUBCELL_EPS, "attention_pool": True}


def _shape(tensors: Tensors, name: str, axes: int, path: Path) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsError(f"{path} lacks {name}: it is no plain vision transformer")
    if tensors[name].ndim != axes:
        raise WeightsError(f"{path}: {name} is {tensors[name].shape}, wanted {axes} axes")
    return tensors[name].shape
