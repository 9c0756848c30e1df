"""What torch computes on here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Torch's version, how many threads it uses, and the names of the GPUs that it sees."""

    torch: str
    threads: int
    gpus: tuple[str, ...]


def find_device() -> Device:
    """Return what torch finds on this machine; imports it, which takes seconds."""
    import torch

    gpus = tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Device(torch.__version__, torch.get_num_threads(), gpus)
