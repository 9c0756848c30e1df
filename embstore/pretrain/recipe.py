"""The recipe of a self-supervised training: everything besides the images that determines its weights."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from embstore.backbones.record import POOLINGS, Backbone
from embstore.errors import EmbstoreError, choices
from embstore.ids import digest

VIEW_SOURCES = ("field", "cell")
# width, depth, heads: the published sizes of vision transformers (arXiv 2010.11929, 2104.14294), and one for 2 cores
VIT_SIZES = {"micro": (128, 6, 2), "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
ARCHITECTURE = "vit_small_patch16_224"  # timm's name of the code that builds the networks; their sizes are the recipe's
POOLING = "cls+mean"
CUT_WIDER = 1.25  # crops are cut wider than the network sees them, so that rotated and shifted views stay inside


@dataclass(frozen=True)
class Recipe:
    """The settings of DINO self-distillation; everything else is as published (arXiv 2104.14294).

    `views` is the source of the two halves of a batch's views: `cell`, both from one cell, or `field`, from two cells
    of one field of view, which show one protein. The network is trained on two large views of `global_px` and on
    `local_views` small ones of `local_px`; scales are fractions of `crop_um`, the side that the trained network sees.
    """

    size: str = "small"
    patch_px: int = 16
    roles: tuple[str, ...] = ("nucleus", "protein")
    input_px: int = 224
    crop_um: float = 25.0  # a whole HEK293T, A-431 or U-2 OS cell and a little of its neighbours
    intensity: str = "percentile"
    views: str = "field"
    epochs: int = 100
    batch: int = 32
    seed: int = 0
    learning_rate: float = 1e-3
    warm_up: float = 0.15  # fraction of all steps
    frozen_last_layer: float = 0.1
    weight_decay: tuple[float, float] = (0.04, 0.04)  # at the beginning and at the end, following a cosine
    momentum: tuple[float, float] = (0.99, 1.0)
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    clip: float = 3.0
    spread: float = 0.1  # weight of KoLeo, which spreads a batch's cells (arXiv 1806.03198, 2304.07193)
    global_px: int = 160
    local_px: int = 80
    local_views: int = 2
    global_scale: tuple[float, float] = (0.6, 0.95)
    local_scale: tuple[float, float] = (0.25, 0.5)
    gamma: float = 0.25  # sd of the logarithm
    blur: float = 0.8  # probabilities that a view's channel is blurred, and that it gets noise: high, because two cells
    noise: float = 0.8  # of one field share its focus and noise, by which the network could match them without biology
    head: tuple[int, int, int] = (512, 128, 1024)  # hidden, bottleneck, prototypes

    @property
    def architecture_args(self) -> dict[str, Any]:
        """Return the arguments with which ARCHITECTURE is built, instead of its own sizes."""
        width, depth, heads = VIT_SIZES[self.size]
        return {
            "img_size": self.input_px,
            "patch_size": self.patch_px,
            "embed_dim": width,
            "depth": depth,
            "num_heads": heads,
        }

    @property
    def digest(self) -> str:
        """Return the sha256 (64 hex) of all settings."""
        return digest(asdict(self))


def parse_arch(arch: str) -> tuple[str, int]:
    """Return (size, patch in pixels) of a name such as `vit_small_patch16`; EmbstoreError lists the known sizes."""
    match = re.fullmatch(r"vit_([a-z]+)_patch(\d+)", arch)
    if match is None or match[1] not in VIT_SIZES:
        names = [f"vit_{size}_patch16" for size in VIT_SIZES]
        raise EmbstoreError(choices(arch, "architecture", names) + "; any patch size may follow")
    return match[1], int(match[2])


def check_recipe(recipe: Recipe) -> None:
    """Raise an EmbstoreError for settings that cannot be trained with."""
    if recipe.views not in VIEW_SOURCES:
        raise EmbstoreError(choices(recipe.views, "source of views", VIEW_SOURCES))
    if not recipe.roles or len(set(recipe.roles)) != len(recipe.roles):
        raise EmbstoreError(f"the roles are {', '.join(recipe.roles) or 'none'}; name each role once")
    for name in ("input_px", "global_px", "local_px"):
        if (side := getattr(recipe, name)) % recipe.patch_px or side < recipe.patch_px:
            raise EmbstoreError(
                f"{name} is {side}, which patches of {recipe.patch_px} px do not fill; wanted a multiple of that"
            )
    for name in ("epochs", "batch", "crop_um"):
        if getattr(recipe, name) < (2 if name == "batch" else 1):
            raise EmbstoreError(f"{name} is {getattr(recipe, name)}; wanted at least {2 if name == 'batch' else 1}")


def view_sizes(input_px: int, patch_px: int) -> tuple[int, int]:
    """Return the sides of large and small views in pixels: whole patches near 3/4 and 3/8 of the final input.

    A pixel of a view is therefore about as many µm as a pixel of a crop that is embedded.
    """
    large, small = (max(1, round(share * input_px / patch_px)) * patch_px for share in (0.75, 0.375))
    return large, small


def backbone_of(recipe: Recipe, name: str) -> Backbone:
    """Return the record of a network that the recipe trains, before its weights are known."""
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
        dim=VIT_SIZES[recipe.size][0] * POOLINGS[POOLING],
        licence="",
        source="",
        note="",
        weights_format="safetensors",
        citation="DINO: arXiv 2104.14294",
        init="random",
    )
