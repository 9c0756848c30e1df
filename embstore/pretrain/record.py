"""A finished training becomes a backbone: its record in the registry, and beside it what it is made of."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embstore.backbones.record import Backbone
from embstore.backbones.registry import keep
from embstore.backbones.weights import weights_folder
from embstore.pretrain.recipe import ARCHITECTURE, SIZES
from embstore.pretrain.run import Pretrained

POOLING = "cls+mean"
LIBRARIES = ("embstore", "torch", "timm", "lightly", "numpy")


def keep_pretrained(
    trained: Pretrained, name: str, *, licence: str = "", note: str = "", replaces: bool = False
) -> tuple[Backbone, Path]:
    """Add a trained network to the registry; returns its record and the file that says how it was made.

    Writes `<name>.safetensors`, `<name>.toml` and `<name>.pretraining.json` (recipe, digest of the data, log, versions
    of the libraries) into the weights folder. Raises EmbstoreError as `registry.keep` does.
    """
    record = keep(backbone_of(trained, name, licence=licence, note=note), trained.tensors, replaces=replaces)
    path = weights_folder() / f"{name}.pretraining.json"
    path.write_text(json.dumps(made_of(trained, record), indent=1) + "\n", "utf-8")
    return record, path


def backbone_of(trained: Pretrained, name: str, *, licence: str = "", note: str = "") -> Backbone:
    """Return the record of a trained network; the registry gives it its revision and pins its weights."""
    recipe = trained.recipe
    return Backbone(
        name=name,
        revision=1,
        kind="vit",
        architecture=ARCHITECTURE,
        architecture_args=recipe.architecture_args,
        slots=recipe.roles,
        input_px=recipe.input_px,
        crop_um=recipe.crop_um,
        normalisation="bright-log",
        pooling=POOLING,
        dim=2 * SIZES[recipe.size][0],
        licence=licence or "that of the images it was trained on",
        source=f"embstore backbones pretrain, recipe {recipe.digest[:12]}, data {trained.data_digest[:12]}",
        note=note or f"DINO on {trained.cells:,} cells of {trained.images:,} fields, without labels",
        weights_format="safetensors",
        citation="DINO: arXiv 2104.14294",
    )


def made_of(trained: Pretrained, record: Backbone) -> dict[str, Any]:
    """Return what a reader needs to judge a training, and to do it again."""
    return {
        "backbone": record.name,
        "revision": record.revision,
        "weights_sha256": record.weights_sha256,
        "recipe": asdict(trained.recipe),
        "recipe_digest": trained.recipe.digest,
        "data": {"cells": trained.cells, "images": trained.images, "digest": trained.data_digest},
        "watched": trained.watched,
        "libraries": {name: version(name) for name in LIBRARIES},
        "log": trained.log,
    }
