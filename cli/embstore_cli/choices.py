"""The options that `ingest` and `embed` share, above all how backbones are shown images; the groups of their help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.backbones.record import Choices

# groups of options in a command's help
goes_in = partial(typer.Option, rich_help_panel="What goes in")
of_vectors = partial(typer.Option, rich_help_panel="What goes in, with --layout vectors")
of_cells = partial(typer.Option, rich_help_panel="Cells")
shown = partial(typer.Option, rich_help_panel="How the backbone is shown images")
running = partial(typer.Option, rich_help_panel="Running")

Unit = Annotated[
    str | None,
    shown("--unit", metavar="cell|image", help="A vector of each cell (default) or each whole image."),
]
Pooling = Annotated[
    str | None,
    shown("--pooling", metavar="HOW", help="cls, mean, cls+mean or cls+mean+std+max; default: the backbone's."),
]
Masked = Annotated[
    bool | None, shown("--masked/--no-masked", help="Pixels outside the cell are 0; default: the backbone's.")
]
ImagePx = Annotated[
    int | None,
    shown("--image-px", metavar="PX", help="Side of what it is shown; 0: whole images as they are."),
]
CropUm = Annotated[float | None, shown("--crop-um", metavar="UM", help="How much a crop shows across.")]
Fill = Annotated[str | None, shown("--fill", metavar="X|mean|copy", help="What slots of absent roles hold; default 0.")]
Roles = Annotated[
    str | None,
    shown("--roles", metavar="A,B", help="What :replication shows, in order; default nucleus,protein."),
]
Intensity = Annotated[
    str | None,
    shown("--intensity", metavar="NAME", help="percentile (default), minmax, minmax-joint or zscore."),
]
Device = Annotated[str, running("--device", metavar="auto|cpu|cuda", help="What computes the vectors.")]


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
