"""What makes two vectors comparable: the frozen record of a space, and the spec that names one (DESIGN §4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from embstore.ids import digest

TIMM = "timm:"  # before the names of timm's own networks

# Fields that came after store format 1. An empty one is no part of the digest, which so stays what it was.
LATER_FIELDS = ("filling", "normalisation")


@dataclass(frozen=True)
class Space:
    """Everything that must be equal for two vectors to be compared (DESIGN §4)."""

    backbone: str
    revision: int
    weights_sha256: str | None
    strategy: str  # "mapping" | "replication" | "brought"
    roles: tuple[str, ...]
    fill: float  # 0 where `filling` says how
    crop_um: float | None
    input_px: int | None
    masked: bool
    intensity: str
    resampling: str
    pooling: str
    unit: str  # "cell" | "image" | "protein"
    precision: str
    filling: str = ""  # FILLS; "" where slots are filled with the number `fill`
    normalisation: str = ""  # with its numbers; "" for built-in records, whose name and revision freeze it

    @property
    def digest(self) -> str:
        """Return the sha256 (64 hex) of the whole record."""
        return digest({name: value for name, value in asdict(self).items() if value or name not in LATER_FIELDS})

    @property
    def label(self) -> str:
        """Return the name that people type and read, such as `vit-random:mapping`."""
        return f"{self.backbone}:{self.strategy}"


def split_spec(spec: str) -> tuple[str, str | None]:
    """Return the name and the strategy of `NAME[:STRATEGY]`, None where it names none; `timm:` belongs to the name."""
    prefix = TIMM if spec.startswith(TIMM) else ""
    name, colon, strategy = spec.removeprefix(prefix).partition(":")
    return prefix + name, strategy if colon else None
