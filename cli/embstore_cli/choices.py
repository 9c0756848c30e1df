"""The options that `ingest` and `embed` share, above all how backbones are shown images; the groups of their help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.backbones.record import Choices

# groups of options in a command's help
source_option = partial(typer.Option, rich_help_panel="What goes in")
cell_option = partial(typer.Option, rich_help_panel="Cells")
choice_option = partial(typer.Option, rich_help_panel="How the backbone is shown images")
run_option = partial(typer.Option, rich_help_panel="Running")

DeviceOption = Annotated[str, run_option("--device", metavar="auto|cpu|cuda", help="What computes the vectors.")]


@dataclass(frozen=True)
class ChoiceOptions:
    """How backbones are shown images; what is not given is the backbone's own, or the default that the help names."""

    unit: Annotated[
        str | None,
        choice_option("--unit", metavar="cell|image", help="A vector of each cell (default) or each whole image."),
    ] = None
    pooling: Annotated[
        str | None,
        choice_option(
            "--pooling", metavar="HOW", help="cls, mean, cls+mean or cls+mean+std+max; default: the backbone's."
        ),
    ] = None
    masked: Annotated[
        bool | None,
        choice_option("--masked/--no-masked", help="Pixels outside the cell are 0; default: the backbone's."),
    ] = None
    image_px: Annotated[
        int | None,
        choice_option("--image-px", metavar="PX", help="Side of what it is shown; 0: whole images as they are."),
    ] = None
    crop_um: Annotated[float | None, choice_option("--crop-um", metavar="UM", help="How much a crop shows across.")] = (
        None
    )
    fill: Annotated[
        str | None, choice_option("--fill", metavar="X|mean|copy", help="What slots of absent roles hold; default 0.")
    ] = None
    roles: Annotated[
        str | None,
        choice_option("--roles", metavar="A,B", help="What :replication shows, in order; default nucleus,protein."),
    ] = None
    intensity: Annotated[
        str | None,
        choice_option("--intensity", metavar="NAME", help="percentile (default), minmax, minmax-joint or zscore."),
    ] = None

    @property
    def given(self) -> dict[str, bool]:
        """Return each option's name on the command line, and whether it was given."""
        return {f"--{name.replace('_', '-')}": value is not None for name, value in asdict(self).items()}


def choices_of(backbones: Sequence[str], options: ChoiceOptions) -> Choices:
    """Return the choices that the options spell; what was not given is the default."""
    from embstore.backbones.record import Choices

    mapped = [name for name in backbones if not name.endswith(":replication")]
    if options.roles is not None and mapped:
        raise EmbstoreError(
            f"--roles says what :replication shows, and {mapped[0]} is mapped; use {mapped[0]}:replication"
        )
    choices = Choices(
        pooling=options.pooling, masked=options.masked, image_px=options.image_px, crop_um=options.crop_um
    )
    return replace(
        choices,
        unit=choices.unit if options.unit is None else options.unit,
        roles=choices.roles if options.roles is None else tuple(role.strip() for role in options.roles.split(",")),
        fill=choices.fill if options.fill is None else _fill(options.fill),
        intensity=choices.intensity if options.intensity is None else options.intensity,
    )


def _fill(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise EmbstoreError(f"the fill is {text}; wanted a number, mean or copy")
    return number
