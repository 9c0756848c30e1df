"""The input and output of encoders: crops of cells, or whole fields, with the masks of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embstore.arrays import Bools, Float32s
from embstore.errors import EmbstoreError, ImageError
from embstore.space import Space


@dataclass(frozen=True, repr=False)
class Crops:
    """Crops around cells, each with the masks of its nucleus and its cell; or whole fields.

    pixels: float32 (n, roles, y, x) in [0, 1]; roles: what is stained in each channel, in order;
    nucleus, cell: bool (n, y, x), all False if the outline is unknown. Raises EmbstoreError if these do not match.
    """

    pixels: Float32s  # (n, roles, y, x)
    roles: tuple[str, ...]
    nucleus: Bools  # (n, y, x)
    cell: Bools  # (n, y, x)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.float32 or len(shape) != 4:
            raise EmbstoreError(f"crops are {self.pixels.dtype} of shape {shape}; wanted float32 (n, roles, y, x)")
        if len(self.roles) != shape[1] or len(set(self.roles)) != len(self.roles):
            raise EmbstoreError(f"crops have {shape[1]} channels and the roles {self.roles}; wanted one role for each")
        for mask in (self.nucleus, self.cell):
            if mask.dtype != np.bool_ or mask.shape != (shape[0], *shape[2:]):
                raise EmbstoreError(f"a mask is {mask.dtype} {mask.shape}; wanted bool {(shape[0], *shape[2:])}")

    def __repr__(self) -> str:
        height, width = self.pixels.shape[-2:]
        return f"<Crops: {len(self)} of {width} x {height} px showing {', '.join(self.roles)}>"

    def __len__(self) -> int:
        return len(self.pixels)


class CropEncoder(Protocol):
    """A loaded backbone: crops in, one vector per crop out, in the same order."""

    @property
    def space(self) -> Space:
        """Return the space of the vectors."""

    @property
    def dim(self) -> int:
        """Return the length of a vector."""

    @property
    def device(self) -> str:
        """Return the device that computes the vectors: cpu or cuda."""

    def __call__(self, crops: Crops) -> Float32s:
        """Return float32 (n, dim); raises EmbstoreError for crops of another size or with none of its roles."""


def check_crops(crops: Crops, wanted_px: int | None, known: tuple[str, ...], name: str) -> None:
    """Raise EmbstoreError for crops of another size than `wanted_px` (None: any), and ImageError, which does not end
    an ingest, for crops without any role of the backbone.
    """
    height, width = crops.pixels.shape[-2:]
    if wanted_px not in (None, height) or wanted_px not in (None, width):
        raise EmbstoreError(
            f"crops are {width} x {height} px and {name} wants {wanted_px} x {wanted_px}; resize them when they are cut"
        )
    check_roles(crops.roles, known, name)


def check_roles(roles: Sequence[str], known: Sequence[str], name: str) -> None:
    """Raise ImageError if an image has none of a backbone's roles."""
    if not set(known) & set(roles):
        shown = f"it has {', '.join(roles)} and {name} uses {', '.join(known)}"
        raise ImageError(shown, todo="choose a backbone, or roles= of one, with a role that it has")
