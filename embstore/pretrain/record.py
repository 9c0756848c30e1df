"""Turn a finished training into a backbone: its record in the registry, and a file that documents the training."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embstore.backbones.record import Backbone
from embstore.backbones.registry import keep
from embstore.backbones.weights import weights_folder
from embstore.pretrain.recipe import backbone_of
from embstore.pretrain.run import Pretrained

TRAINING_LIBRARIES = ("embstore", "torch", "timm", "lightly", "numpy")


def keep_pretrained(
    trained: Pretrained, name: str, *, licence: str = "", replaces: bool = False
) -> tuple[Backbone, Path]:
    """Add a trained network to the registry; returns its record and the file that documents the training.

    Writes `<name>.safetensors`, `<name>.toml` and `<name>.pretraining.json` (recipe, digest of the data, log, versions
    of the libraries) into the weights folder. Raises the EmbstoreErrors of `registry.keep`.
    """
    recipe = trained.recipe
    backbone = replace(
        backbone_of(recipe, name),
        licence=licence or "that of the images it was trained on",
        source=f"embstore backbones pretrain, recipe {recipe.digest[:12]}, data {trained.data_digest[:12]}",
        note=f"DINO on {trained.cells:,} cells of {trained.images:,} fields, without labels",
    )
    record = keep(backbone, trained.tensors, replaces=replaces)
    path = weights_folder() / f"{name}.pretraining.json"
    path.write_text(json.dumps(made_of(trained, record), indent=1) + "\n", "utf-8")
    return record, path


def made_of(trained: Pretrained, record: Backbone) -> dict[str, Any]:
    """Return what a reader needs to judge a training, and to repeat it."""
    return {
        "backbone": record.name,
        "revision": record.revision,
        "weights_sha256": record.weights_sha256,
        "recipe": asdict(trained.recipe),
        "recipe_digest": trained.recipe.digest,
        "data": {"cells": trained.cells, "images": trained.images, "digest": trained.data_digest},
        "watched": trained.watched,
        "libraries": {name: version(name) for name in TRAINING_LIBRARIES},
        "log": trained.log,
    }
