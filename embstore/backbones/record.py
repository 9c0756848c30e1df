"""The frozen records of networks and of the spaces their vectors live in (DESIGN §3, §4); no engine is imported."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from embstore import errors
from embstore.errors import EmbstoreError
from embstore.space import FILLS, STRATEGIES, Space

BACKBONE_KINDS = ("vit", "convolutional", "hand-made", "encoder")
NORMALISATIONS = ("fixed", "zscore", "minmax-joint", "minmax", "bright-log", "none")
# each with how many times the network's width it is
POOLINGS = {"cls": 1, "mean": 1, "cls+mean": 2, "cls+mean+std+max": 4, "attention": 2, "global": 1, "none": 1}
WEIGHTS_FORMATS = ("none", "drawn", "timm", "dino", "dinov2", "subcell", "safetensors", "shipped")
IMAGED_UNITS = ("cell", "image")
MAX_CROP_UM = 10_000.0
NATIVE_PX = 0  # an `input_px` of 0 shows whole fields as they are
REPLICATED_ROLES = ("nucleus", "protein")  # the roles that nearly every source has
NETWORK_PRECISION = "float16-stored/float32-computed"
HAND_MADE_PRECISION = "float32"  # hand-made numbers may overflow float16
PRECISION_SPECS = {"float16": NETWORK_PRECISION, "float32": HAND_MADE_PRECISION}  # by the name in a backbone spec

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Backbone:
    """What one network, or one set of hand-made measurements, is and what it expects to see.

    `slots` names the role that each input slot was trained on, in order; a crop shows `crop_um` micrometres on
    `input_px` pixels. `architecture` is timm's name, built with `architecture_args` (img_size, patch_size, embed_dim,
    depth, num_heads, ...; see `network.build`) and one input channel per slot. Of `normalisation`, applied to
    intensities in [0, 1]:

    - `fixed`: (x - mean) / std, by slot, with the record's own `mean` and `std`
    - `zscore`: (x - mean) / (sd + 1e-7), of each crop and channel
    - `minmax-joint`, `minmax`: (x - min) / (max - min) of each crop, over all its channels or by channel
    - `bright-log`: z of each crop and channel with sd + 1e-3; above 2 it becomes 2 + 2 log(z / 2)
    - `none`: as it is

    `init` is what the weights were before this training: "random", "ImageNet" (weights trained there), the name of
    another backbone, or "" where its authors do not state it.

    A `convolutional` network is timm's, pooled as timm does; an `encoder` is a function or module of the user's, or one
    that a package registers.

    `pooling` is the default, `masked` whether pixels outside the cell's mask are 0 before normalisation.
    `weights_sha256` (see `weights.weights_sha256`) is None where the tensors are not ours to pin; `file_sha256` is of
    the published file. `url`, `hub` and `file` name where that file is. Each of these four is "" where it is not known.
    """

    name: str
    revision: int
    kind: str  # BACKBONE_KINDS
    architecture: str
    slots: tuple[str, ...]
    input_px: int
    crop_um: float
    normalisation: str  # NORMALISATIONS
    pooling: str  # POOLINGS
    dim: int  # of one pass at the record's pooling; replication concatenates one pass per role
    licence: str
    source: str
    note: str
    weights_format: str  # WEIGHTS_FORMATS
    architecture_args: dict[str, Any] = field(default_factory=dict, hash=False)  # timm's keyword arguments
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    masked: bool = False
    url: str = ""
    hub: str = ""  # a Hugging Face repository
    file: str = ""  # its name as published
    file_sha256: str = ""
    weights_sha256: str | None = None
    citation: str = ""
    init: str = ""
    origin: str = "built-in"  # "built-in" | "user" | "timm"

    def __post_init__(self) -> None:
        """Refuse, with an EmbstoreError, a record that does not agree with itself."""
        _one_of(self.kind, "kind of backbone", BACKBONE_KINDS)
        _one_of(self.normalisation, "normalisation", NORMALISATIONS)
        _one_of(self.pooling, "pooling", POOLINGS)
        _one_of(self.weights_format, "format of weights", WEIGHTS_FORMATS)
        if not self.slots or len(set(self.slots)) != len(self.slots):
            raise EmbstoreError(f"{self.name} has the slots {', '.join(self.slots) or 'none'}; name each role once")
        wanted = len(self.slots) if self.normalisation == "fixed" else 0
        if (len(self.mean), len(self.std)) != (wanted, wanted):
            counts = f"{len(self.mean)} means and {len(self.std)} sds"
            raise EmbstoreError(
                f"{self.name} has {counts}; its normalisation {self.normalisation} wants {wanted} of each"
            )

    def __repr__(self) -> str:
        shown = f"{', '.join(self.slots)} at {self.input_px} px"
        return f"<Backbone {self.name}, revision {self.revision}: {self.dim} numbers from {shown}; {self.licence}>"


@dataclass(frozen=True)
class Choices:
    """How a backbone is shown images, beyond what its record fixes; all of it is part of the space.

    `roles` are those that replication shows, in order. `fill` is what slots of absent roles contain after
    normalisation: a number, `mean` (of the other slots) or `copy` (of the protein's, else of the first that is not
    absent). `None` means the record's own. `input_px` is the side that a crop or a whole field is resized to; 0 shows
    fields as they are. `intensity` names the scaling of the images (see `pixels.intensity`), `precision` the type in
    which vectors are stored.
    """

    strategy: str = "mapping"
    roles: tuple[str, ...] = REPLICATED_ROLES
    fill: float | str = 0.0
    pooling: str | None = None
    masked: bool | None = None
    unit: str = "cell"  # IMAGED_UNITS
    intensity: str = "percentile"
    crop_um: float | None = None
    input_px: int | None = None
    precision: str | None = None  # PRECISION_SPECS


def space_of(backbone: Backbone, choices: Choices, weights_sha256: str | None) -> Space:
    """Return the space of what is seen through `backbone` with those weights, shown as `choices` state.

    Raises EmbstoreError for a choice that does not exist and for one that the backbone does not have.
    """
    from embstore.pixels.intensity import intensity_spec

    check_choices(backbone, choices)
    whole = choices.unit == "image"
    return Space(
        backbone=backbone.name,
        revision=backbone.revision,
        weights_sha256=weights_sha256,
        strategy=choices.strategy,
        roles=tuple(choices.roles) if choices.strategy == "replication" else backbone.slots,
        fill=0.0 if isinstance(choices.fill, str) else float(choices.fill),
        crop_um=None if whole else _or(choices.crop_um, backbone.crop_um),
        input_px=None if choices.input_px == NATIVE_PX else _or(choices.input_px, backbone.input_px),
        masked=not whole and _or(choices.masked, backbone.masked),
        intensity=intensity_spec(choices.intensity),
        resampling=_resampling(choices),
        pooling=_or(choices.pooling, backbone.pooling),
        unit=choices.unit,
        precision=PRECISION_SPECS[_or(choices.precision, "float32" if backbone.kind == "hand-made" else "float16")],
        filling=choices.fill if isinstance(choices.fill, str) else "",
        normalisation="" if backbone.origin == "built-in" else normalisation_spec(backbone),
    )


def _resampling(choices: Choices) -> str:
    """Return the spec of how pixels come to what the backbone is shown."""
    from embstore.pixels.crop import CROP_SPEC
    from embstore.pixels.field import FIELD_SPEC, NATIVE_SPEC

    if choices.unit == "cell":
        return CROP_SPEC
    return NATIVE_SPEC if choices.input_px == NATIVE_PX else FIELD_SPEC


def normalisation_spec(backbone: Backbone) -> str:
    """Return a record's normalisation with its numbers: what a record that its owner may edit has to freeze."""
    if not backbone.mean:
        return backbone.normalisation
    return f"{backbone.normalisation} {json.dumps([backbone.mean, backbone.std])}"


def _or(given: T | None, default: T) -> T:
    return default if given is None else given


def check_choices(backbone: Backbone, choices: Choices) -> None:
    """Refuse, with an EmbstoreError, choices that do not exist, or that this backbone does not have."""
    from embstore.pixels.intensity import intensity_spec

    check_strategy(backbone, choices.strategy)
    _one_of(choices.unit, "unit", IMAGED_UNITS)
    if not choices.roles or len(set(choices.roles)) != len(choices.roles):
        listed = ", ".join(choices.roles) or "none"
        raise EmbstoreError(f"replication was given the roles {listed}; name each role once")
    if isinstance(choices.fill, str):
        _one_of(choices.fill, "fill", FILLS)
    if choices.pooling is not None:
        _one_of(choices.pooling, f"pooling of {backbone.name}", _poolings(backbone))
    if choices.crop_um is not None:
        check_crop_um(choices.crop_um)
    if choices.precision is not None:
        _one_of(choices.precision, f"precision of {backbone.name}", _precisions(backbone))
    intensity_spec(choices.intensity)
    _check_unit(backbone, choices)


def _precisions(backbone: Backbone) -> tuple[str, ...]:
    return ("float32",) if backbone.kind == "hand-made" else tuple(PRECISION_SPECS)


def _poolings(backbone: Backbone) -> tuple[str, ...]:
    """Return the poolings that a backbone has: its own, and those of tokens if it is a transformer."""
    if backbone.kind != "vit":
        return (backbone.pooling,)
    own = ("attention",) if backbone.architecture_args.get("attention_pool") else ()
    return (*own, *(pooling for pooling in POOLINGS if pooling not in {"attention", "global", "none"}))


def _check_unit(backbone: Backbone, choices: Choices) -> None:
    if choices.input_px is not None and choices.input_px < 0:
        raise EmbstoreError(f"the image size is {choices.input_px} px; wanted a side in pixels, or 0 for native size")
    if choices.unit == "cell" and choices.input_px == NATIVE_PX:
        raise EmbstoreError(
            f"native size (input_px=0) is for whole images; write {backbone.name}:unit=image:input_px=0, or give a "
            "size in pixels"
        )
    if choices.unit == "image" and (choices.crop_um is not None or choices.masked):
        raise EmbstoreError("whole images are neither cropped nor masked; leave crop_um= and masked= out")
    if backbone.kind == "hand-made" and (choices.unit != "cell" or choices.input_px or choices.masked):
        raise EmbstoreError(
            f"{backbone.name} measures cells at {backbone.input_px} px by their outlines; leave unit=, input_px= and "
            "masked= out"
        )


def check_crop_um(crop_um: float) -> None:
    """Refuse, with an EmbstoreError, a crop that shows nothing, or more than any field."""
    if not 0 < crop_um < MAX_CROP_UM:
        raise EmbstoreError(f"the crop is {crop_um:g} µm wide; wanted more than 0, such as 25 for a cell")


def check_strategy(backbone: Backbone, strategy: str) -> None:
    """Refuse, with an EmbstoreError, a channel strategy that does not exist or that the backbone does not have."""
    _one_of(strategy, "channel strategy", STRATEGIES)
    if backbone.kind == "hand-made" and strategy == "replication":
        raise EmbstoreError(
            f"{backbone.name} measures every role by itself, so it cannot be replicated; use {backbone.name}:mapping"
        )


def _one_of(value: str, kind: str, known: Collection[str]) -> None:
    if value not in known:
        raise EmbstoreError(errors.choices(value, kind, known))
