"""The device on which heads are fitted: a GPU if there is one."""

from __future__ import annotations


def fit_device() -> str:
    """Return torch's name of the device on which linear and MLP heads are fitted: `cuda` or `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
