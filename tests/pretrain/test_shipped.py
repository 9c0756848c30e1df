"""`phantom-dino` as it is shipped: the record, the weights and the recipe agree."""

from __future__ import annotations

import json
from importlib.resources import files

from embstore.backbones.network import load_network
from embstore.backbones.registry import find
from embstore.pretrain.recipe import Recipe

MADE = json.loads(files("embstore.backbones").joinpath("phantom_dino.json").read_text("utf-8"))


def test_the_shipped_weights_are_those_that_the_record_and_the_recipe_pin() -> None:
    """The file loads strictly, and its digest is in records.toml and next to the recipe."""
    _, result = load_network(find("phantom-dino"))
    assert result == MADE["weights_sha256"] == find("phantom-dino").weights_sha256


def test_the_shipped_recipe_is_one_that_can_be_run_again() -> None:
    """Its settings are those of Recipe, with the digest that was written then, and the record follows from them."""
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in MADE["recipe"].items()}
    recipe = Recipe(**settings)
    assert recipe.digest == MADE["recipe_digest"]
    backbone = find("phantom-dino")
    assert (backbone.slots, backbone.input_px, backbone.crop_um) == (recipe.roles, recipe.input_px, recipe.crop_um)
    assert backbone.architecture_args == recipe.architecture_args
    assert [row["epoch"] for row in MADE["log"]] == list(range(recipe.epochs + 1))
