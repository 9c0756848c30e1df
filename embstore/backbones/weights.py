"""Where weights lie, what they are (a digest that no container format changes), and strict reading of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embstore.backbones.record import Backbone
from embstore.errors import WeightsError

Tensors = Mapping[str, npt.NDArray[np.float32]]

HUB_TIMEOUT_S = 3.0  # for one question to the Hub; its own download call retries for 23 s when there is no network
RANDOM_SEED = "embstore/vit-random/1"
RANDOM_SD = 0.02  # timm's and DINO's for every linear layer; both truncate at ±2, which is 100 sd, so nothing is cut


def weights_folder() -> Path:
    """Return the folder of weights files: EMBSTORE_WEIGHTS, else ~/.cache/embstore/weights."""
    given = os.environ.get("EMBSTORE_WEIGHTS")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "embstore" / "weights"


def local_file(backbone: Backbone) -> Path | None:
    """Return the backbone's weights file on this disk, the weights folder before the Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    ours = weights_folder() / f"{backbone.name}.safetensors"
    if ours.is_file():
        return ours
    cached = try_to_load_from_cache(backbone.hub, backbone.file) if backbone.hub else None
    return Path(cached) if isinstance(cached, str) else None


def missing_line(backbone: Backbone) -> str:
    """Return the one line that says which weights are wanted and how to get them."""
    if backbone.weights_format in {"dino", "subcell"}:
        return (
            f"{backbone.name} needs the file {backbone.file} (published at {backbone.source}), "
            "and this version of embstore cannot load it yet; use imagenet, vit-random or pixel-stats"
        )
    return (
        f"no weights for {backbone.name} on this disk; connect to the internet once, or put {backbone.file} of "
        f"https://huggingface.co/{backbone.hub} at {weights_folder() / backbone.name}.safetensors "
        "(EMBSTORE_WEIGHTS sets the folder)"
    )


def find_or_download(backbone: Backbone) -> Path:
    """Return the backbone's weights file, downloaded to the Hugging Face cache when it is not here yet.

    Raises WeightsError within seconds when the Hub cannot be reached.
    """
    return local_file(backbone) or _download(backbone)


def _download(backbone: Backbone) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its HTTP engine's, which varies
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # lazy exports that its types do not show
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    quiet = are_progress_bars_disabled()
    if not quiet:
        disable_progress_bars()  # a library prints nothing
    try:
        # one question first, without retries: offline it fails at once, where the download call would retry and log
        get_hf_file_metadata(hf_hub_url(backbone.hub, backbone.file), timeout=HUB_TIMEOUT_S)
        return Path(hf_hub_download(backbone.hub, backbone.file, etag_timeout=HUB_TIMEOUT_S))
    except (OSError, HTTPError, RuntimeError) as error:  # RuntimeError is hf_xet's, HTTPError covers timeouts
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{missing_line(backbone)}; the download failed: {reason}") from error
    finally:
        if not quiet:
            enable_progress_bars()


def weights_sha256(tensors: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return the sha256 over tensors by sorted name, dtype, shape and little-endian bytes: the file's format is no
    part of it.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name}|{tensor.dtype.name}|{'x'.join(map(str, tensor.shape))}|".encode())
        total.update(np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<")).data)
    return total.hexdigest()


def read_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the float32 tensors of a safetensors file that holds exactly the names and shapes asked for.

    Raises WeightsError that names the first tensor which is missing, too many, misshaped or not finite: a lenient
    loader leaves random weights without a word.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # the only reader that knows bfloat16

    try:
        found = {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error}); download it again") from error
    check_weights(found, shapes, str(path))
    return found


def check_weights(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse, with a WeightsError that names the first offender, tensors that are not exactly those in `shapes`."""
    todo = "use the file that the backbone's record names"
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing:
        raise WeightsError(f"{where} lacks {missing[0]} ({len(missing)} of {len(shapes)} tensors missing); {todo}")
    if extra:
        raise WeightsError(f"{where} holds {extra[0]} ({len(extra)} tensors too many); {todo}")
    for name in sorted(shapes):
        if tensors[name].shape != tuple(shapes[name]):
            raise WeightsError(f"{where}: {name} is {tensors[name].shape}, wanted {tuple(shapes[name])}; {todo}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{where}: {name} holds NaN or infinity; {todo}")


def random_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.float32]]:
    """Return untrained weights that depend on the tensors' names and shapes alone, not on any engine's version.

    Norm weights are ones, biases zeros, everything else normal with sd RANDOM_SD.
    """
    quantiles = _normal_quantiles()
    return {name: _draw(name, tuple(shape), quantiles) for name, shape in shapes.items()}


def _normal_quantiles() -> npt.NDArray[np.float32]:
    """Return the 65,536 mid-point quantiles of the normal: 16 raw bits pick one.

    Raw PCG64 bits and a rounded table, because numpy promises to keep the bits but not what `standard_normal` makes of
    them, and the last digit of an inverse normal differs between libraries.
    """
    from scipy.special import ndtri

    table: npt.NDArray[np.float64] = np.round(ndtri((np.arange(65536) + 0.5) / 65536) * RANDOM_SD, 9)
    return table.astype(np.float32)


def _draw(name: str, shape: tuple[int, ...], quantiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if "norm" in name:
        return np.ones(shape, np.float32)
    seed = hashlib.sha256(f"{RANDOM_SEED}/{name}".encode()).digest()
    count = int(np.prod(shape))
    raw = np.random.PCG64(int.from_bytes(seed[:16], "big")).random_raw(-(-count // 4)).astype("<u8")
    drawn: npt.NDArray[np.float32] = quantiles[raw.view("<u2")[:count]].reshape(shape)
    return drawn
