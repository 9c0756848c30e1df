"""The frozen records of networks and of the spaces their vectors live in (DESIGN §3, §4); no engine is imported."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from embstore.errors import EmbstoreError, choices
from embstore.ids import digest

STRATEGIES = ("mapping", "replication")
REPLICATED_ROLES = ("nucleus", "protein")  # the roles that nearly every source has
NETWORK_PRECISION = "float16-stored/float32-computed"
HAND_MADE_PRECISION = "float32"  # hand-made numbers may overflow float16


@dataclass(frozen=True)
class Backbone:
    """What one network, or one set of hand-made measurements, is and what it expects to see.

    `slots` holds the role that each input slot was trained on, in order; `mean` and `std` are per slot, on intensities
    in [0, 1]; a crop shows `crop_um` micrometres on `input_px` pixels. `weights_sha256` (see `weights.weights_sha256`)
    is None where the file is not ours to pin.
    """

    name: str
    revision: int
    kind: str  # "hand-made" | "timm"
    architecture: str
    slots: tuple[str, ...]
    input_px: int
    crop_um: float
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pooling: str
    dim: int  # of one pass; replication concatenates one pass per role
    licence: str
    source: str
    weights_sha256: str | None
    note: str


@dataclass(frozen=True)
class Space:
    """Everything that must be equal for two vectors to be compared (DESIGN §4)."""

    backbone: str
    revision: int
    weights_sha256: str | None
    strategy: str  # "mapping" | "replication" | "brought"
    roles: tuple[str, ...]
    fill: float
    crop_um: float | None
    input_px: int | None
    masked: bool
    intensity: str
    resampling: str
    pooling: str
    unit: str  # "cell" | "image" | "protein"
    precision: str

    @property
    def digest(self) -> str:
        """Return the sha256 (64 hex) of the whole record."""
        return digest(asdict(self))

    @property
    def label(self) -> str:
        """Return the name that people type and read, such as `vit-random:mapping`."""
        return f"{self.backbone}:{self.strategy}"


def space_of(
    backbone: Backbone,
    strategy: str,
    weights_sha256: str | None,
    *,
    roles: tuple[str, ...] = REPLICATED_ROLES,
    fill: float = 0.0,
    unit: str = "cell",
    intensity: str = "percentile",
) -> Space:
    """Return the space of crops seen through `backbone`; `roles` are those that replication shows, in order.

    `intensity` names how images are scaled (see `pixels.intensity`). Raises EmbstoreError for a name that does
    not exist and for a strategy that the backbone does not have.
    """
    from embstore.pixels.crop import CROP_SPEC
    from embstore.pixels.intensity import intensity_spec

    check_strategy(backbone, strategy)
    return Space(
        backbone=backbone.name,
        revision=backbone.revision,
        weights_sha256=weights_sha256,
        strategy=strategy,
        roles=tuple(roles) if strategy == "replication" else backbone.slots,
        fill=float(fill),
        crop_um=backbone.crop_um,
        input_px=backbone.input_px,
        masked=False,
        intensity=intensity_spec(intensity),
        resampling=CROP_SPEC,
        pooling=backbone.pooling,
        unit=unit,
        precision=HAND_MADE_PRECISION if backbone.kind == "hand-made" else NETWORK_PRECISION,
    )


def check_strategy(backbone: Backbone, strategy: str) -> None:
    """Refuse, with an EmbstoreError, a channel strategy that does not exist or that the backbone does not have."""
    if strategy not in STRATEGIES:
        raise EmbstoreError(choices(strategy, "channel strategy", STRATEGIES))
    if backbone.kind == "hand-made" and strategy == "replication":
        raise EmbstoreError(
            f"{backbone.name} measures every role by itself, so it cannot be replicated; use {backbone.name}:mapping"
        )
