"""The files that docs/backbones.md takes for granted: networks in published formats, and a package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from published import dino_weights, dinov2_of
from safetensors.torch import save_file

from .pages import blocks


def write_example_networks(folder: Path) -> None:
    """Write random networks as Lightning, timm and DINOv2 save theirs, under the names that the page uses."""
    weights = dino_weights(width=64, depth=2, patch=8, channels=2, grid=8)
    both = {f"{who}.backbone.{name}": tensor for who in ("teacher", "student") for name, tensor in weights.items()}
    torch.save({"state_dict": both, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, folder / "lightning.ckpt")
    torch.manual_seed(0)
    save_file(timm.create_model("resnet50", pretrained=False).state_dict(), folder / "model.safetensors")
    dinov2 = dinov2_of(dino_weights(width=64, depth=2, patch=14, channels=3, grid=37), registers=4)
    torch.save({name: tensor.half() for name, tensor in dinov2.items()}, folder / "dinov2_vits14_reg4_pretrain.pth")


def install_example_package(text: str, folder: Path, patched: pytest.MonkeyPatch) -> None:
    """Install the package whose code and pyproject.toml a page shows, as pip leaves it."""
    (code,) = (block for block in blocks(text, "python") if "RegisteredBackbone(" in block)
    (project,) = blocks(text, "toml")
    (folder / "cellnet.py").write_text(code)
    metadata = folder / "cellnet-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cellnet\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(project.replace('project.entry-points."', "").replace('"', ""))
    patched.syspath_prepend(folder)
    patched.delitem(sys.modules, "cellnet", raising=False)
