"""The backbones that an ingest or embed was asked for: their spaces, and their encoders where these are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

from embstore.arrays import Float32s
from embstore.backbones.crops import CropEncoder
from embstore.backbones.encoder import load
from embstore.backbones.own import Encoder, EncoderKeys, own_encoder
from embstore.backbones.record import Backbone, Choices
from embstore.backbones.registry import check_free, parse
from embstore.errors import EmbstoreError
from embstore.ingest.canary import canary_vectors
from embstore.ingest.known_spaces import known_spaces
from embstore.space import Space
from embstore.store import SpaceRow, Store, distinguishing_specs


@dataclass(frozen=True)
class NamedBackbone:
    """One backbone of the call, as `spec`, and the choices of its spec."""

    spec: str
    backbone: Backbone
    choices: Choices


def named_backbones(specs: Sequence[str]) -> list[NamedBackbone]:
    """Return the backbones of some specs; EmbstoreError if they cannot be used in one run."""
    if not specs:
        raise EmbstoreError("no backbone was named; give at least one --backbone (see `embstore backbones list`)")
    named = [NamedBackbone(spec, *parse(spec)) for spec in dict.fromkeys(specs)]
    for key in ("unit", "intensity"):
        by_value = {getattr(each.choices, key): each.spec for each in named}
        if len(by_value) > 1:
            listed = ", ".join(f"{spec} ({value})" for value, spec in by_value.items())
            raise EmbstoreError(f"one run has one {key}, and these differ: {listed}; make one run for each {key}")
    return named


class AskedBackbones:
    """The backbones of the call: their spaces, and their encoders, loaded if the spaces are not enough."""

    def __init__(self, named: Sequence[NamedBackbone], device: str, store: Store | None) -> None:
        self._named, self._device = named, device
        self.encoders: list[CropEncoder] = []
        self._canaries: dict[str, Float32s] = {}  # by the encoder's space
        known = None if store is None else known_spaces(store, [(n.backbone, n.choices) for n in named], device)
        self.spaces = known or ()
        if known is None:
            self.load()

    @classmethod
    def from_encoder(cls, encoder: Encoder, keys: EncoderKeys, device: str) -> AskedBackbones:
        """Return the request for an encoder of the user's own, which is loaded; EmbstoreError if it cannot be used."""
        asked = cls((), device, None)
        check_free(keys.get("name", ""))
        asked.encoders = [own_encoder(encoder, keys, device)]
        asked.spaces = (asked.encoders[0].space,)
        asked.canary(asked.encoders[0])
        return asked

    def load(self) -> bool:
        """Load the encoders unless they are loaded; True if their spaces are not those that were known."""
        if self.encoders:
            return False
        encoders = (load(each.backbone, each.choices, self._device) for each in self._named)
        self.encoders = list({encoder.space.digest: encoder for encoder in encoders}.values())
        for encoder in self.encoders:  # an encoder that cannot compute them is refused before writing
            self.canary(encoder)
        known, self.spaces = self.spaces, tuple(encoder.space for encoder in self.encoders)
        return known != self.spaces

    def canary(self, encoder: CropEncoder) -> Float32s:
        """Return the golden vectors (2, dim) of one of the encoders, computed once."""
        digest = encoder.space.digest
        if digest not in self._canaries:
            self._canaries[digest] = canary_vectors(encoder)
        return self._canaries[digest]


def space_labels(spaces: Sequence[Space]) -> dict[str, str]:
    """Return the names of the spaces in the report, by digest."""
    rows = [cast("SpaceRow", asdict(space) | {"digest": space.digest}) for space in spaces]
    return {row["digest"]: name for row, name in zip(rows, distinguishing_specs(rows), strict=True)}
