"""Where weights lie, what they are (a digest that no container format changes), and strict checks of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embstore.arrays import Float32s, Float64s
from embstore.backbones.record import Backbone
from embstore.errors import WeightsError, first_line
from embstore.files import whole_file

Tensors = Mapping[str, Float32s]

RANDOM_SEED = "embstore/vit-random/1"
RANDOM_SD = 0.02  # timm's and DINO's for every linear layer; both truncate at ±2, which is 100 sd, so nothing is cut


def weights_folder() -> Path:
    """Return the folder of weights files: EMBSTORE_WEIGHTS, else ~/.cache/embstore/weights."""
    given = os.environ.get("EMBSTORE_WEIGHTS")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "embstore" / "weights"


def weights_path(backbone: Backbone) -> Path:
    """Return the path of the backbone's converted weights; those of `timm:NAME` have a folder apart from users' own."""
    *prefixes, name = backbone.name.split(":")
    return weights_folder().joinpath(*prefixes, f"{name}.safetensors")


def local_file(backbone: Backbone) -> Path | None:
    """Return the backbone's weights file on this disk, the weights folder before the Hugging Face cache, or None."""
    for ours in (weights_path(backbone), *_former_paths(backbone)):
        if ours.is_file():
            return ours
    return cached_file(backbone.hub, backbone.file) if backbone.hub else None


def cached_file(repository: str, name: str) -> Path | None:
    """Return where a repository's file is in the Hub's cache on this disk; None where it is not."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repository, name)
    return Path(cached) if isinstance(cached, str) else None


def _former_paths(backbone: Backbone) -> list[Path]:
    """Return where earlier versions kept the weights of `timm:NAME`, unless a user's `timm_NAME` has its own there."""
    if ":" not in backbone.name:
        return []
    former = weights_folder() / f"{re.sub('[:/]', '_', backbone.name)}.safetensors"
    return [] if weights_origin(former).get("backbone") == former.stem else [former]


def missing(backbone: Backbone) -> tuple[str, str]:
    """Return the line on which weights are wanted and are not here, and how to get them."""
    here = f"no weights for {backbone.name} on this disk"
    if backbone.hub:
        return here, (
            f"connect to the internet once, or put {backbone.file} of https://huggingface.co/{backbone.hub} at "
            f"{weights_path(backbone)} (EMBSTORE_WEIGHTS sets the folder)"
        )
    if backbone.url:
        return here, (
            f"`embstore backbones fetch {backbone.name}` downloads {backbone.file} (see {backbone.source}), and "
            "`--from FILE` takes a copy of it"
        )
    if backbone.origin == "user":
        return f"no weights for {backbone.name} at {weights_path(backbone)}", "add its file again with --replace"
    return f"{backbone.name} has no published file", (
        "pretrain one of your own with `embstore backbones pretrain`, or bring a file with "
        "`embstore backbones add FILE --name NAME --roles nucleus,protein`"
    )


def again(backbone: Backbone) -> str:
    """Return what to do where the file that is kept is not the backbone's."""
    if backbone.origin == "user":
        return f"add its file again: embstore backbones add FILE --name {backbone.name} --replace"
    if backbone.hub or backbone.url:
        return f"move the file away and get it again: embstore backbones fetch {backbone.name}"
    return "use the embstore version that wrote the record"


def how_to_get(backbone: Backbone) -> str:
    """Return the command that gets a backbone's weights."""
    if backbone.hub or backbone.url:
        return f"embstore backbones fetch {backbone.name}"
    if backbone.origin == "user":
        return f"embstore backbones add FILE --name {backbone.name} --replace"
    return "no published file: embstore backbones pretrain, or add"


def weights_sha256(tensors: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return the sha256 over tensors of any shape, by sorted name, dtype, shape and little-endian bytes.

    The file's format is no part of it.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name}|{tensor.dtype.name}|{'x'.join(map(str, tensor.shape))}|".encode())
        total.update(np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).data)
    return total.hexdigest()


def check_weights(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse, with a WeightsError that names the first offender, tensors that are not exactly those in `shapes`.

    A lenient loader leaves random weights without warning.
    """
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing:
        raise WeightsError(f"{where} lacks {missing[0]} ({len(missing)} of {len(shapes)} tensors missing)")
    if extra:
        raise WeightsError(f"{where} contains {extra[0]} ({len(extra)} tensors too many)")
    for name in sorted(shapes):
        if tensors[name].shape != tuple(shapes[name]):
            raise WeightsError(f"{where}: {name} is {tensors[name].shape}, wanted {tuple(shapes[name])}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{where}: {name} contains NaN or infinity")


def write_weights(path: str | Path, tensors: Tensors, origin: Mapping[str, str]) -> None:
    """Write tensors as safetensors, whole or not at all; `origin`, what they are from, is put into its header.

    Raises WeightsError where the file cannot be written.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            save_file(arrays, unfinished, dict(origin))
            unfinished.chmod(0o644)  # it is written for its owner alone, and weights are often shared
    except OSError as error:
        raise WeightsError(f"cannot write {path} ({first_line(error)}); set EMBSTORE_WEIGHTS to a folder") from error


def weights_origin(path: str | Path) -> dict[str, str]:
    """Return what a weights file states that it was made from, nothing where it does not or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def random_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float32s]:
    """Return untrained weights of any shape that depend on the tensors' names and shapes alone, on no engine's version.

    Norm weights are ones, biases zeros, everything else normal with sd RANDOM_SD. Tensors may be of any shape.
    """
    quantiles = _normal_quantiles()
    return {name: _draw(name, tuple(shape), quantiles) for name, shape in shapes.items()}


def _normal_quantiles() -> Float32s:
    """Return the 65,536 mid-point quantiles of the normal: 16 raw bits pick one.

    Raw PCG64 bits and a rounded table, because numpy promises to keep the bits but not what `standard_normal` makes of
    them, and the last digit of an inverse normal differs between libraries.
    """
    from scipy.special import ndtri

    table: Float64s = np.round(ndtri((np.arange(65536) + 0.5) / 65536) * RANDOM_SD, 9)
    return table.astype(np.float32)


def _draw(name: str, shape: tuple[int, ...], quantiles: Float32s) -> Float32s:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if "norm" in name:
        return np.ones(shape, np.float32)
    seed = hashlib.sha256(f"{RANDOM_SEED}/{name}".encode()).digest()
    count = int(np.prod(shape))
    raw = np.random.PCG64(int.from_bytes(seed[:16], "big")).random_raw(-(-count // 4)).astype("<u8")
    drawn: Float32s = quantiles[raw.view("<u2")[:count]].reshape(shape)
    return drawn
