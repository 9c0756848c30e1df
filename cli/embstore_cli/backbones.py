"""`embstore backbones`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion, pretrain
from embstore_cli.context import Format, Output
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.render import emit_table, print_line

app = typer.Typer(no_args_is_help=True, help="The networks and measurements that compute vectors.")


@dataclass(frozen=True)
class BackboneLine:
    """One row of `backbones list`; `get` is how to get what is missing."""

    name: str
    ready: str  # yes or no
    origin: str
    slots: str
    dim: int
    licence: str
    note: str
    get: str


def _line(name: str) -> BackboneLine:
    """Return what is known of a backbone; of one that cannot be used, why."""
    from embstore.backbones.registry import availability, find
    from embstore.backbones.weights import how_to_get
    from embstore.errors import EmbstoreError

    try:
        backbone = find(name)
    except EmbstoreError as error:
        return BackboneLine(name, "no", "", "", 0, "", note="cannot be used", get=str(error))
    ready, _ = availability(backbone)
    return BackboneLine(
        name=backbone.name,
        ready="yes" if ready else "no",
        origin=backbone.origin,
        slots=",".join(backbone.slots),
        dim=backbone.dim,
        licence=backbone.licence,
        note=backbone.note,
        get="" if ready else how_to_get(backbone),
    )


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.backbone_names)]


@app.command("list")
def list_backbones(form: Output = Format.table) -> None:
    """List every backbone, whether it can be used here, and how to get what is missing.

    Example: `embstore backbones list`
    """
    from embstore.backbones.registry import known_names
    from embstore.tabular import Listing

    rows = [_line(name) for name in known_names()]
    emit_table(Listing(rows, BackboneLine, "backbone"), form, people=("name", "ready", "slots", "dim", "note"))


@app.command("show")
def show(name: Name, form: Output = Format.table) -> None:
    """Print a backbone's record, and where its weights on this disk come from.

    Example: `embstore backbones show hpa`
    """
    import pyarrow as pa

    from embstore.backbones.record import Backbone
    from embstore.backbones.registry import availability, parse
    from embstore.backbones.weights import local_file, weights_origin
    from embstore.tabular import arrow_table
    from embstore_cli.tables import print_table
    from embstore_cli.values import in_words

    backbone, _ = parse(name)
    ready, missing = availability(backbone)
    path = local_file(backbone)
    here = {"weights": str(path or ""), "weights_from": weights_origin(path) if path else {}}
    record = arrow_table([backbone], Backbone)
    for column, value in ({"ready": ready, "missing": missing} | here).items():
        record = record.append_column(column, pa.array([value]))
    if form is Format.table:
        known = {field: text for field, value in record.to_pylist()[0].items() if (text := in_words(value))}
        print_table({"field": list(known), "value": list(known.values())})
    else:
        emit_table(record, form)


@app.command("fetch")
def fetch(
    name: Name,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL|FILE", help="Where to get the file [default: the record's address]."),
    ] = None,
    progress_form: ProgressOption = ProgressForm.auto,
) -> None:
    """Get a backbone's published file, check it, and store it; an interrupted download continues.

    Example: `embstore backbones fetch hpa --from DINO_FOV_checkpoint.pth`
    """
    from embstore.backbones.fetch import fetch_weights
    from embstore.backbones.registry import find

    with show_progress(progress_form) as progress:
        path = fetch_weights(find(name), source, progress=progress)
    print_line(f"{name} is ready: {path}")


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="A checkpoint of DINO, DINOv2, SubCell or timm, also wrapped, or a safetensors file.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of the new backbone.")],
    roles: Annotated[str, typer.Option("--roles", metavar="A,B", help="The role of each input channel, in order.")],
    crop_um: Annotated[float, typer.Option("--crop-um", metavar="UM", help="Width of a crop in µm.")] = 25.0,
    input_px: Annotated[
        int | None, typer.Option("--input-px", metavar="PX", help="Side of its input [default: read from the file].")
    ] = None,
    normalisation: Annotated[
        str,
        typer.Option("--normalisation", help="One of zscore, minmax, minmax-joint, bright-log, fixed and none."),
    ] = "zscore",
    pooling: Annotated[
        str | None,
        typer.Option("--pooling", metavar="NAME", help="cls, mean, cls+mean or cls+mean+std+max [default: its own]."),
    ] = None,
    masked: Annotated[bool, typer.Option("--masked", help="Set everything outside the cell to 0.")] = False,
    heads: Annotated[int | None, typer.Option("--heads", min=1, help="Attention heads [default: width / 64].")] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="ENTRY", help="Which of the file's networks, as in state_dict_ema [default: the only one]."
        ),
    ] = None,
    init: Annotated[
        str, typer.Option("--init", metavar="NAME", help="What training started from: random, ImageNet or a backbone.")
    ] = "",
    licence: Annotated[str, typer.Option("--licence", help="Licence of the weights.")] = "not stated",
    citation: Annotated[str, typer.Option("--citation", help="What to cite.")] = "",
    replaces: Annotated[
        bool, typer.Option("--replace", help="Make this the next revision of an existing name.")
    ] = False,
) -> None:
    """Make a backbone from a checkpoint of your own; its architecture is read from its tensors.

    Example: `embstore backbones add checkpoint.pth --name mine --roles nucleus,protein`
    """
    from embstore.backbones.add import Description, add_backbone
    from embstore.ids import split_list

    described = Description(
        roles=tuple(split_list(roles, ",")),
        crop_um=crop_um,
        input_px=input_px,
        normalisation=normalisation,
        pooling=pooling,
        masked=masked,
        heads=heads,
        key=key,
        init=init,
        licence=licence,
        citation=citation,
    )
    backbone = add_backbone(file, name, described, replaces=replaces)
    made = backbone.architecture_args
    print_line(
        f"{backbone.name} revision {backbone.revision} is ready: {made['depth']} blocks of width {made['embed_dim']}, "
        f"patches of {made['patch_size']} px, {made['num_heads']} heads, {backbone.dim} numbers per cell"
    )


app.command("pretrain")(pretrain.pretrain)
