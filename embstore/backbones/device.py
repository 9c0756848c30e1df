"""The device on which torch computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embstore.errors import EmbstoreError, choices
from embstore.space import Space

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TorchDevices:
    """Torch's version, how many threads it uses, and the names of the GPUs that it sees."""

    torch: str
    threads: int
    gpus: tuple[str, ...]


def find_device() -> TorchDevices:
    """Return torch's version, threads and GPUs; imports torch, which takes seconds."""
    import torch

    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return TorchDevices(torch.__version__, torch.get_num_threads(), gpus)


def choose_device(wanted: str) -> str:
    """Return `cpu` or `cuda`; `auto` is the GPU if torch sees one.

    Raises EmbstoreError for another name, and for `cuda` if there is no GPU.
    """
    import torch

    if wanted not in DEVICES:
        raise EmbstoreError(choices(wanted, "device", DEVICES))
    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise EmbstoreError(
            f"torch {torch.__version__} sees no GPU here, which --device cuda asks for; use --device cpu"
        )
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"


def autocast_dtype() -> torch.dtype:
    """Return the type in which a GPU multiplies: bfloat16, which cannot overflow, if it supports it, else float16."""
    import torch

    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: str) -> AbstractContextManager[Any]:
    """Return the context in which a network computes on a device: as it is on the CPU, in half precision on a GPU."""
    import torch

    return nullcontext() if device == "cpu" else torch.autocast(device, autocast_dtype())


def precision_on(device: str, space: Space) -> Space:
    """Return the space of what a device computes: on a GPU, networks compute in half precision, which is another."""
    if device == "cpu":
        return space
    return replace(space, precision=f"float16-stored/{str(autocast_dtype()).removeprefix('torch.')}-autocast")
