"""`embstore backbones pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embstore_cli import completion
from embstore_cli.context import Dataset, Format, Output, open_store
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.render import emit_table, say


def pretrain(
    name: Annotated[str, typer.Option("--name", help="The name of the new backbone.")],
    arch: Annotated[
        str, typer.Option("--arch", help="One of vit_{micro,tiny,small,base}_patchN.")
    ] = "vit_small_patch16",
    roles: Annotated[
        str, typer.Option("--roles", help="The role of each input channel, in order.")
    ] = "nucleus,protein",
    dataset: Dataset = None,
    input_px: Annotated[int, typer.Option("--input-px", help="Side of a crop when it is embedded.")] = 224,
    crop_um: Annotated[float, typer.Option("--crop-um", help="Width of a crop in µm.")] = 25.0,
    views: Annotated[
        str,
        typer.Option(
            "--views", help="field: views of two cells of one field, which show the same protein; cell: of one cell."
        ),
    ] = "field",
    epochs: Annotated[int, typer.Option("--epochs", help="Number of passes over the cells.")] = 100,
    batch: Annotated[int, typer.Option("--batch", help="Cells in a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the weights, the views and the order.")] = 0,
    watch: Annotated[
        str | None,
        typer.Option("--watch", autocompletion=completion.label_sets, help="Label set of the k-NN score in the log."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    work: Annotated[
        Path | None, typer.Option("--work", help="Folder of crops, checkpoint and log [default: next to the weights].")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the weights.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Make this the next revision of an existing name.")
    ] = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Train a backbone on the store's own cells, without labels (DINO); if it is interrupted, run it again to continue.

    Example: `embstore backbones pretrain --name mine --arch vit_small_patch16 --dataset opencell`
    """
    from embstore.backbones.device import choose_device
    from embstore.backbones.registry import check_name
    from embstore.backbones.weights import weights_folder
    from embstore.pretrain.recipe import Recipe, parse_arch, view_sizes
    from embstore.pretrain.record import keep_pretrained
    from embstore.pretrain.run import pretrain

    check_name(name)
    size, patch_px = parse_arch(arch)
    global_px, local_px = view_sizes(input_px, patch_px)
    recipe = Recipe(
        size=size,
        patch_px=patch_px,
        roles=tuple(role.strip() for role in roles.split(",")),
        input_px=input_px,
        crop_um=crop_um,
        global_px=global_px,
        local_px=local_px,
        views=views,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
    )
    folder = work or weights_folder() / f"{name}.pretraining"
    with show_progress(progress_form) as progress:
        trained = pretrain(
            open_store(),
            recipe,
            work=folder,
            dataset=dataset,
            watch=watch,
            device=choose_device(device),
            progress=progress,
        )
    for failure in trained.failures:
        say(f"left out: {failure}")
    if trained.resumed_at:
        say(f"continued from step {trained.resumed_at:,}")
    record, made_of = keep_pretrained(trained, name, licence=licence, replaces=replace)
    emit_table(trained, form)
    say(f"{name} revision {record.revision} is in the registry, documented in {made_of}")
    say(f"next: embstore embed --backbone {name}")
