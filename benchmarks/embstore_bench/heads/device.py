"""Where heads are fitted: on a GPU where there is one."""

from __future__ import annotations


def fit_device() -> str:
    """Return torch's name of the device that linear and MLP heads are fitted on: `cuda` or `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
