"""The backbones that embstore knows by name, and whether they can be used here (no torch, no network)."""

from __future__ import annotations

from dataclasses import replace

from embstore.backbones.record import Backbone, check_strategy
from embstore.backbones.weights import local_file, missing_line
from embstore.errors import EmbstoreError, choices

# torchvision's constants for ImageNet-1k, which DINO was trained with
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RGB_SLOTS = ("microtubules", "protein", "nucleus")  # the order in which the Human Protein Atlas draws red, green, blue
CROP_UM = 25.0  # a whole HEK293T, A-431 or U-2 OS cell with a little of its neighbours

PIXEL_STATS = Backbone(
    name="pixel-stats",
    revision=1,
    kind="hand-made",
    architecture="region means, radial profiles, percentiles, texture, spots, correlation",
    slots=("nucleus", "protein"),
    input_px=96,
    crop_um=CROP_UM,
    normalisation="frozen reference scaling, fitted on simulated cells",
    mean=(),
    std=(),
    pooling="none",
    dim=90,
    licence="Apache-2.0",
    source="embstore.backbones.pixel_stats",
    weights_sha256="785bdd626532ca4ea2c8d3a12b6ff5255ff90089874810e39dbe61128febf1c3",
    note="hand-made measurements of a cell: what every network has to beat",
)

VIT_RANDOM = Backbone(
    name="vit-random",
    revision=1,
    kind="timm",
    architecture="vit_small_patch16_224.dino",
    slots=RGB_SLOTS,
    input_px=224,
    crop_um=CROP_UM,
    normalisation="fixed mean and sd per slot",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    pooling="cls",
    dim=384,
    licence="Apache-2.0",
    source="drawn here from a fixed seed",
    weights_sha256="bbf87f6a3441c87e717d5fdf6eaf2a01967b8c970c7a053baa92c2c59f7bac8e",
    note="an untrained network: what training has to beat",
)

IMAGENET = replace(
    VIT_RANDOM,
    name="imagenet",
    source="https://huggingface.co/timm/vit_small_patch16_224.dino",
    weights_sha256=None,
    note="DINO ViT-S/16 trained on ImageNet-1k without labels (arXiv 2104.14294)",
)

HPA = Backbone(
    name="hpa",
    revision=1,
    kind="timm",
    architecture="vit_base_patch8_224.dino",
    slots=("microtubules", "protein", "nucleus", "er"),
    input_px=512,
    crop_um=164.0,  # a whole field: 2048 px at 0.0800885 µm/px, shown to the network as 512 px
    normalisation="mean and sd of each crop and channel",
    mean=(),
    std=(),
    pooling="cls",
    dim=768,
    licence="see Zenodo record 8061392",
    source="DINO_FOV_checkpoint.pth from https://zenodo.org/records/8061392",
    weights_sha256=None,
    note="DINO4Cells ViT-B/8 trained on fields of the Human Protein Atlas; this version cannot load it yet",
)

BACKBONES: dict[str, Backbone] = {record.name: record for record in (PIXEL_STATS, VIT_RANDOM, IMAGENET, HPA)}


def parse(spec: str) -> tuple[Backbone, str]:
    """Return the backbone and the channel strategy that `NAME[:mapping|:replication]` names (default mapping).

    Raises EmbstoreError, listing what there is, for a name or strategy that does not exist.
    """
    name, colon, strategy = spec.partition(":")
    if name not in BACKBONES:
        raise EmbstoreError(choices(name, "backbone", BACKBONES))
    wanted = strategy if colon else "mapping"
    check_strategy(BACKBONES[name], wanted)
    return BACKBONES[name], wanted


def availability(backbone: Backbone) -> tuple[bool, str]:
    """Return whether the backbone can be used here and now, and otherwise the one line that says how to get it.

    Looks only at the local disk; a file that is there is read, and refused if it is wrong, by `encoder.load`.
    """
    if backbone.name in ("pixel-stats", "vit-random") or (backbone.name == "imagenet" and local_file(backbone)):
        return True, ""
    return False, missing_line(backbone)
