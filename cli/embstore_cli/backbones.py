"""`embstore backbones`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion, pretrain
from embstore_cli.context import Format, Output
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.render import emit

app = typer.Typer(no_args_is_help=True, help="The networks and measurements that make vectors.")

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.backbone_names)]


@app.command("list")
def list_backbones(form: Output = Format.table) -> None:
    """Every backbone, whether it can be used here, what it is, and how to get what is missing.

    Example: `embstore backbones list`
    """
    from embstore.backbones.registry import availability, backbone_records
    from embstore.backbones.weights import how_to_get

    rows = []
    for backbone in backbone_records().values():
        ready, _ = availability(backbone)
        what = {"name": backbone.name, "ready": "yes" if ready else "no", "origin": backbone.origin}
        shown = {"slots": ",".join(backbone.slots), "dim": backbone.dim, "licence": backbone.licence}
        rows.append(what | shown | {"note": backbone.note, "get": "" if ready else how_to_get(backbone)})
    emit(rows, ("name", "ready", "origin", "slots", "dim", "licence", "note", "get"), form)


@app.command("show")
def show(name: Name, form: Output = Format.table) -> None:
    """One backbone's whole record, and what its weights on this disk are from.

    Example: `embstore backbones show hpa`
    """
    from embstore.backbones.registry import availability, parse
    from embstore.backbones.weights import local_file, weights_origin

    backbone, _ = parse(name)
    ready, missing = availability(backbone)
    path = local_file(backbone)
    here = {"weights": str(path or ""), "weights_from": weights_origin(path) if path else {}}
    record = asdict(backbone) | {"ready": ready, "missing": missing} | here
    if form is Format.table:
        emit([{"field": k, "value": str(v)} for k, v in record.items()], ("field", "value"), form)
    else:
        emit([record], list(record), form)


@app.command("fetch")
def fetch(
    name: Name,
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL|FILE", help="In place of where the record says.")
    ] = None,
    progress_form: ProgressOption = ProgressForm.auto,
) -> None:
    """Get a backbone's published file, check it, and keep it; a download that stopped goes on.

    Example: `embstore backbones fetch hpa --from DINO_FOV_checkpoint.pth`
    """
    from embstore.backbones.fetch import fetch_weights
    from embstore.backbones.registry import find

    with show_progress(progress_form) as progress:
        path = fetch_weights(find(name), source, progress=progress)
    typer.echo(f"{name} is ready: {path}")


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="A checkpoint: DINO's, SubCell's, timm's, or safetensors.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it.")],
    roles: Annotated[str, typer.Option("--roles", metavar="A,B", help="What each channel shows, in order.")],
    crop_um: Annotated[float, typer.Option("--crop-um", metavar="UM", help="µm that a crop shows.")] = 25.0,
    input_px: Annotated[
        int | None, typer.Option("--input-px", metavar="PX", help="Side of its input; default: as its positions.")
    ] = None,
    normalisation: Annotated[
        str,
        typer.Option("--normalisation", help="zscore, minmax, minmax-joint, bright-log, fixed or none."),
    ] = "zscore",
    pooling: Annotated[
        str | None,
        typer.Option("--pooling", metavar="NAME", help="cls, mean, cls+mean, cls+mean+std+max; default: its own."),
    ] = None,
    masked: Annotated[bool, typer.Option("--masked", help="It sees cells cut out by their masks.")] = False,
    heads: Annotated[int | None, typer.Option("--heads", min=1, help="Attention heads; default: width / 64.")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights.")] = "not stated",
    citation: Annotated[str, typer.Option("--citation", help="What to cite.")] = "",
    replaces: Annotated[bool, typer.Option("--replace", help="The next revision of a name that exists.")] = False,
) -> None:
    """Make a backbone of your own from a checkpoint; its architecture is read from its tensors.

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
        licence=licence,
        citation=citation,
    )
    backbone = add_backbone(file, name, described, replaces=replaces)
    made = backbone.architecture_args
    typer.echo(
        f"{backbone.name} revision {backbone.revision} is ready: {made['depth']} blocks of width {made['embed_dim']}, "
        f"patches of {made['patch_size']} px, {made['num_heads']} heads, {backbone.dim} numbers a cell"
    )


app.command("pretrain")(pretrain.pretrain)
