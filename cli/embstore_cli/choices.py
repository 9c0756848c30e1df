"""How backbones are shown images: the options that `ingest` and `embed` share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.backbones.record import Choices

Unit = Annotated[
    str | None,
    typer.Option("--unit", metavar="cell|image", help="A vector of each cell (default) or each whole image."),
]
Pooling = Annotated[
    str | None,
    typer.Option("--pooling", metavar="HOW", help="cls, mean, cls+mean or cls+mean+std+max; default: the backbone's."),
]
Masked = Annotated[
    bool | None, typer.Option("--masked/--no-masked", help="Pixels outside the cell are 0; default: the backbone's.")
]
ImagePx = Annotated[
    int | None,
    typer.Option("--image-px", metavar="PX", help="Side of what it is shown; 0: whole images as they are."),
]
CropUm = Annotated[float | None, typer.Option("--crop-um", metavar="UM", help="How much a crop shows across.")]
Fill = Annotated[
    str | None, typer.Option("--fill", metavar="X|mean|copy", help="What slots of absent roles hold; default 0.")
]
Roles = Annotated[
    str | None,
    typer.Option("--roles", metavar="A,B", help="What :replication shows, in order; default nucleus,protein."),
]
Intensity = Annotated[
    str | None,
    typer.Option("--intensity", metavar="NAME", help="percentile (default), minmax, minmax-joint or zscore."),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="What computes the vectors.")]


def choices_of(
    backbones: Sequence[str],
    *,
    unit: str | None,
    pooling: str | None,
    masked: bool | None,
    image_px: int | None,
    crop_um: float | None,
    fill: str | None,
    roles: str | None,
    intensity: str | None,
) -> Choices:
    """Return the choices that the options spell; what was not given is the default."""
    from embstore.backbones.record import Choices

    mapped = [name for name in backbones if not name.endswith(":replication")]
    if roles is not None and mapped:
        raise EmbstoreError(
            f"--roles says what :replication shows, and {mapped[0]} is mapped; use {mapped[0]}:replication"
        )
    given = {
        "unit": unit,
        "roles": None if roles is None else tuple(role.strip() for role in roles.split(",")),
        "fill": None if fill is None else _fill(fill),
        "intensity": intensity,
    }
    named = {name: value for name, value in given.items() if value is not None}
    return Choices(pooling=pooling, masked=masked, image_px=image_px, crop_um=crop_um, **named)  # type: ignore[arg-type]


def _fill(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise EmbstoreError(f"the fill is {text}; wanted a number, mean or copy")
    return number
