"""What makes two vectors comparable: the record of a space, and the spec that names one (DESIGN §4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from embstore.errors import EmbstoreError, choices
from embstore.ids import digest

TIMM = "timm:"  # prefix of the names of timm's own networks
HF_HUB = "hf-hub:"  # follows it, before USER/NAME of a repository that timm wrote
SPEC_FORM = "NAME[:mapping|:replication][:key=value]..."
STRATEGIES = ("mapping", "replication")
VECTOR_UNITS = ("cell", "image", "protein")  # what a vector can describe
FILLS = ("mean", "copy")  # besides numbers
PRECISIONS = ("float16", "float32")
MAX_INPUT_PX = 10_000
BOOLEANS = {"yes": True, "no": False, "true": True, "false": False}

# fields added after store format 1; while empty, they are not part of the digest, which therefore stays the same
LATER_FIELDS = ("filling", "normalisation")


@dataclass(frozen=True)
class Space:
    """Everything that must be equal for two vectors to be compared (DESIGN §4)."""

    backbone: str
    revision: int
    weights_sha256: str | None
    strategy: str  # "mapping" | "replication" | "brought"
    roles: tuple[str, ...]
    fill: float  # 0 if `filling` is set
    crop_um: float | None
    input_px: int | None
    masked: bool
    intensity: str
    resampling: str
    pooling: str
    unit: str  # "cell" | "image" | "protein"
    precision: str
    filling: str = ""  # one of FILLS; "" if slots are filled with the number `fill`
    normalisation: str = ""  # with its numbers; "" for built-in records, whose name and revision fix it

    @property
    def digest(self) -> str:
        """Return the sha256 (64 hex digits) of the whole record."""
        return digest({name: value for name, value in asdict(self).items() if value or name not in LATER_FIELDS})

    @property
    def label(self) -> str:
        """Return the name that people type and read, such as `vit-random:mapping`."""
        return f"{self.backbone}:{self.strategy}"


@dataclass(frozen=True)
class BackboneSpec:
    """The parts of a spec `NAME[:mapping|:replication][:key=value]...`; None for each part that it omits.

    An omitted part is the record's default when vectors are computed, and matches anything when they are searched.
    """

    name: str
    strategy: str | None = None  # STRATEGIES
    unit: str | None = None  # VECTOR_UNITS
    pooling: str | None = None
    masked: bool | None = None
    input_px: int | None = None  # 0: whole images at their own size
    crop_um: float | None = None
    fill: float | str | None = None  # a number, or one of FILLS
    roles: tuple[str, ...] | None = None
    intensity: str | None = None
    precision: str | None = None  # PRECISIONS

    @property
    def given(self) -> dict[str, Any]:
        """Return the parts that the spec gives besides the name: the strategy, and the value of each key."""
        named = {"strategy": self.strategy} | {key: getattr(self, key) for key in SPEC_KEYS}
        return {key: value for key, value in named.items() if value is not None}

    def __str__(self) -> str:
        strategy = f":{self.strategy}" if self.strategy else ""
        pairs = (f":{key}={_text(value)}" for key, value in self.given.items() if key != "strategy")
        return f"{self.name}{strategy}{''.join(pairs)}"


@dataclass(frozen=True)
class SpecKey:
    """One key of a spec: how to read its value (ValueError if that fails), and which values are valid."""

    read: Callable[[str], Any]
    wanted: str


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return read


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text.strip()


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise ValueError
    return BOOLEANS[text.lower()]


def _pixels(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_INPUT_PX):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or "_" in text:
        raise ValueError
    return number + 0.0  # -0 becomes 0, in digests too


def _micrometres(text: str) -> float:
    if _number(text) <= 0:
        raise ValueError
    return _number(text)


def _fill(text: str) -> float | str:
    return text if text in FILLS else _number(text)


def _roles(text: str) -> tuple[str, ...]:
    roles = tuple(map(_name, text.split(",")))
    if len(set(roles)) != len(roles):
        raise ValueError
    return roles


SPEC_KEYS = {
    "unit": SpecKey(_one_of(VECTOR_UNITS), "cell, image or protein"),
    "pooling": SpecKey(_name, "a name such as cls or cls+mean"),
    "masked": SpecKey(_boolean, "yes or no"),
    "input_px": SpecKey(_pixels, "a side in pixels such as 224, or 0 for whole images at their own size"),
    "crop_um": SpecKey(_micrometres, "a number of µm above 0, such as 25"),
    "fill": SpecKey(_fill, "a number, mean or copy"),
    "roles": SpecKey(_roles, "roles separated by commas, each once, such as nucleus,protein"),
    "intensity": SpecKey(_name, "a name such as percentile or minmax"),
    "precision": SpecKey(_one_of(PRECISIONS), "float16 or float32"),
}


def parse_spec(text: str) -> BackboneSpec:
    """Return the parts of a spec; raises EmbstoreError, listing the choices, for an invalid strategy, key or value.

    It does not check whether the backbone exists. The colons of `timm:NAME` and `timm:hf-hub:USER/NAME` belong to the
    name.
    """
    prefix = next((start for start in (TIMM + HF_HUB, TIMM) if text.startswith(start)), "")
    name, *parts = text.removeprefix(prefix).split(":")
    if not name or "=" in name:
        raise EmbstoreError(f"the backbone spec {text!r} does not begin with a name; wanted {SPEC_FORM}")
    strategy = parts.pop(0) if parts and "=" not in parts[0] else None
    if strategy not in (None, *STRATEGIES):
        line = choices(strategy, "channel strategy", STRATEGIES)
        raise EmbstoreError(_no_value(text, strategy) if strategy in SPEC_KEYS else line)
    values: dict[str, Any] = {}
    for part in parts:
        key, value = _pair(text, part)
        if key in values:
            raise EmbstoreError(f"the backbone spec {text!r} gives {key} twice; give it once")
        values[key] = value
    return BackboneSpec(prefix + name, strategy, **values)


def _pair(text: str, part: str) -> tuple[str, Any]:
    """Return the key and the value of one `key=value` of the spec `text`."""
    key, equals, value = part.partition("=")
    if not equals and part in STRATEGIES:
        raise EmbstoreError(f"the backbone spec {text!r} has {part} among its keys; write it right after the name")
    if key not in SPEC_KEYS:
        raise EmbstoreError(choices(key, "key of a backbone spec", SPEC_KEYS))
    if not equals:
        raise EmbstoreError(_no_value(text, key))
    try:
        return key, SPEC_KEYS[key].read(value)
    except ValueError:
        line = f"the backbone spec {text!r} has {part}; wanted {key}= followed by {SPEC_KEYS[key].wanted}"
        raise EmbstoreError(line) from None


def _no_value(text: str, key: str) -> str:
    return f"the backbone spec {text!r} gives {key} no value; wanted {key}= followed by {SPEC_KEYS[key].wanted}"


def _text(value: object) -> str:
    """Return a value as a spec writes it; `parse_spec` reads it back unchanged."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)
