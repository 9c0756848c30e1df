"""The options that `ingest` and `embed` share, the groups of their help, and the options that specs replaced."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from embstore.errors import EmbstoreError
from embstore_cli import completion
from embstore_cli.context import UNIT_REMOVED
from embstore_cli.removed import RemovedOption

# groups of options in a command's help
SOURCE_PANEL = "Source"
source_option = partial(typer.Option, rich_help_panel=SOURCE_PANEL)
cell_option = partial(typer.Option, rich_help_panel="Cells")
columns_option = partial(
    typer.Option,
    "--columns",
    metavar="COLUMN=NAME",
    help="What a column of the table is called here, as in 'Where is it?=locations'; may be repeated.",
)
run_option = partial(typer.Option, rich_help_panel="Running")

Force = Annotated[
    bool, run_option("--force", help="Make the store in a folder that contains other files.", show_default=False)
]
LocationNames = Annotated[
    str | None,
    source_option(
        "--location-map",
        metavar="FILE",
        help="Table (from,to) of other names for locations, or hpa (HPA's spelling), subcell-1, subcell-2, subcell-3, "
        "subcell-dl2 or subcell-opencell (SubCell's groups).",
    ),
]
DeviceOption = Annotated[str, run_option("--device", metavar="auto|cpu|cuda", help="Device that computes the vectors.")]
BackboneSpecs = Annotated[
    list[str],
    source_option(
        "--backbone",
        "-b",
        metavar="SPEC",
        autocompletion=completion.backbone_specs,
        help="A backbone's name, then :mapping or :replication, then any :key=value, as in hpa:crop_um=40:pooling=cls; "
        "may be repeated. Keys: unit, pooling, masked, input_px, crop_um, fill, roles, intensity, precision.",
    ),
]


def names_of_columns(texts: Sequence[str] | None) -> dict[str, str] | None:
    """Return column -> name from texts such as `Where is it?=locations`, None if there are none."""
    names: dict[str, str] = {}
    for text in texts or ():
        column, equals, name = (part.strip() for part in text.rpartition("="))
        if not equals or not column or not name or column in names:
            raise EmbstoreError(
                f"--columns is {text!r}; wanted each column once, with its name here: 'Where is it?=locations'"
            )
        names[column] = name
    return names or None


# replaced by backbone specs
SPEC_REMOVED = (
    UNIT_REMOVED,
    RemovedOption("--pooling", "write --backbone hpa:pooling=cls"),
    RemovedOption("--masked", "write --backbone hpa:masked=yes", is_flag=True),
    RemovedOption("--no-masked", "write --backbone hpa:masked=no", is_flag=True),
    RemovedOption("--image-px", "write --backbone hpa:input_px=224"),
    RemovedOption("--crop-um", "write --backbone hpa:crop_um=40"),
    RemovedOption("--fill", "write --backbone hpa:fill=mean"),
    RemovedOption("--roles", "write --backbone hpa:replication:roles=nucleus,protein"),
    RemovedOption("--intensity", "write --backbone hpa:intensity=minmax"),
)
