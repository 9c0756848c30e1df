"""A checkpoint of the user's own becomes a backbone: its architecture is read from its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embstore.backbones.checkpoints import architecture_of, read_checkpoint
from embstore.backbones.network import fitting
from embstore.backbones.record import POOLINGS, Backbone, check_crop_um
from embstore.backbones.registry import keep
from embstore.backbones.timm_names import CROP_UM
from embstore.backbones.weight_files import IN_PYTHON
from embstore.backbones.weights import Tensors
from embstore.errors import EmbstoreError, advised, choices
from embstore.files import file_sha256

# torchvision's constants for ImageNet-1k
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOT_A_VIT = f"name a checkpoint of a vision transformer as DINO, DINOv2, SubCell or timm save it, or {IN_PYTHON}"


@dataclass(frozen=True)
class Description:
    """What a file of weights does not state about itself; None takes the default.

    `roles` are what each input channel was trained on, in order. Defaults: `input_px` as the position embeddings are,
    `pooling` the CLS token (or the mean where there is none, or SubCell's attention where the file has it), `heads`
    width / 64. `fixed` normalisation is with ImageNet's mean and sd, of three channels. `key` names one of several
    networks in the file, `init` what the weights were before training (see `Backbone`).
    """

    roles: tuple[str, ...]
    crop_um: float = CROP_UM
    input_px: int | None = None
    normalisation: str = "zscore"
    pooling: str | None = None
    masked: bool = False
    heads: int | None = None
    key: str | None = None
    init: str = ""
    licence: str = "not stated"
    citation: str = ""


def add_backbone(path: str | Path, name: str, described: Description, *, replaces: bool = False) -> Backbone:
    """Make a backbone of the user's own from a checkpoint, and return its record.

    Writes `<name>.safetensors` and `<name>.toml` in the weights folder. Raises EmbstoreError in one line, and then
    writes nothing, for a file that is no vision transformer, for roles that do not count its channels, and for a name
    that is taken.
    """
    path = Path(path)
    with advised(NOT_A_VIT):
        tensors, weights_format = read_checkpoint(path, key=described.key)
        arguments = architecture_of(tensors, path, described.heads, weights_format)
    _check(described, path, tensors["patch_embed.proj.weight"].shape[1], arguments["patch_size"])
    pooling = _pooling(described.pooling, path, tensors)
    fixed = described.normalisation == "fixed"
    backbone = Backbone(
        name=name,
        revision=1,
        kind="vit",
        architecture="vit_base_patch16_224",
        architecture_args=dict(arguments),
        slots=described.roles,
        input_px=described.input_px or arguments["img_size"],
        crop_um=described.crop_um,
        normalisation=described.normalisation,
        mean=IMAGENET_MEAN if fixed else (),
        std=IMAGENET_STD if fixed else (),
        pooling=pooling,
        masked=described.masked,
        dim=arguments["embed_dim"] * POOLINGS[pooling],
        licence=described.licence,
        source=str(path.resolve()),
        note=f"a file of your own, in the format {weights_format}"
        + (f", its {described.key}" if described.key else ""),
        weights_format=weights_format,  # `keep` makes it safetensors
        file=path.name,
        file_sha256=file_sha256(path),
        citation=described.citation,
        init=described.init,
        origin="user",
    )
    with advised(NOT_A_VIT):
        fitting(backbone, tensors, str(path))
    return keep(backbone, tensors, replaces=replaces)


def _check(described: Description, path: Path, channels: int, patch_px: int) -> None:
    """Refuse a description that does not fit the tensors."""
    if len(described.roles) != channels:
        raise EmbstoreError(
            f"{path} takes {channels} channels and {len(described.roles)} roles were named "
            f"({', '.join(described.roles)}); name what each channel shows, in order: --roles nucleus,protein"
        )
    if described.normalisation == "fixed" and channels != len(IMAGENET_MEAN):
        raise EmbstoreError(
            f"fixed normalisation is by ImageNet's mean and sd of three channels, {path} takes {channels}; choose "
            "zscore, minmax or minmax-joint"
        )
    if described.input_px is not None and (described.input_px < 1 or described.input_px % patch_px):
        raise EmbstoreError(
            f"an input of {described.input_px} px is no multiple of the {patch_px} px of its patches; choose --input-px"
        )
    check_crop_um(described.crop_um)


def _pooling(asked: str | None, path: Path, tensors: Tensors) -> str:
    """Return the pooling that was asked for, else the file's own, if its tensors have what that pools."""
    has = ["attention"] if "attention_pool.v.weight" in tensors else []
    has += [pooling for pooling in ("cls", "cls+mean", "cls+mean+std+max") if "cls_token" in tensors]
    has.append("mean")
    if asked not in (None, *has):
        raise EmbstoreError(choices(str(asked), f"pooling of {path.name}", has))
    return asked or has[0]
