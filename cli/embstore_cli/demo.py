"""`embstore demo`: every step on a simulated dataset, with the commands that a user would type."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.render import print_line

if TYPE_CHECKING:
    from embstore.phantom.write import Layout

DEMO_FIELD_PX: dict[Layout, int] = {"opencell": 280, "hpa": 720}  # about ten cells each, so that the demo is fast
PROTEIN_OF_DEMO = 7  # with seed 0: a nuclear membrane protein, whose nearest neighbour has a wrong published label
STEPS = (
    (
        "images become cells, cells become vectors",
        "ingest {out}/opencell/images --layout opencell --labels {out}/opencell/labels.csv "
        "--backbone phantom-dino --backbone vit-random --backbone pixel-stats",
    ),
    (
        "the same proteins in the layout of the Human Protein Atlas, four channels",
        "ingest {out}/hpa/images --layout hpa --labels {out}/hpa/image_labels.csv "
        "--backbone phantom-dino --backbone vit-random --backbone pixel-stats",
    ),
    (
        "the atlas contains the truth: how well cells were segmented, and where each one's protein really is",
        "phantom truth {out}/opencell",
    ),
    (
        "backbones are scored, next to the baselines that they must beat",
        "bench --dataset opencell --backbone phantom-dino --backbone vit-random --backbone pixel-stats --folds {folds}",
    ),
    (
        "the proteins most similar to one (one published label in twenty is wrong, on purpose)",
        "search protein {gene} -k 5 --backbone pixel-stats --dataset opencell --sheet {out}/neighbours.png",
    ),
    (
        "anything else can be asked in SQL",
        'sql "SELECT dataset, count(*) AS cells, count(DISTINCT gene) AS genes, '
        'round(median(nucleus_area_um2), 1) AS nucleus_um2 FROM cells GROUP BY ALL ORDER BY ALL"',
    ),
)
NEXT = (
    "results",
    "search protein {gene} --backbone phantom-dino --sheet {out}/others.png",
    "search protein {gene} --backbone pixel-stats --dataset hpa --format json",
    "bench --dataset opencell --backbone pixel-stats --head knn --folds {folds}",
    "bench --dataset opencell --backbone pixel-stats --by cell --folds {folds}   # a leaking split",
    "embed --backbone vit-random:replication --dataset opencell",
    "bench --dataset opencell --backbone pixel-stats --task localization:truth --folds {folds}   # each cell by itself",
    'sql "SELECT backbone, head, floor, table_versions FROM entries LIMIT 3" --format json',
    "status",
)


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder for the images, the store and the picture.")] = Path(
        "demo"
    ),
    proteins: Annotated[int, typer.Option("--proteins", min=36, help="Number of simulated proteins.")] = 80,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulation.")] = 0,
    progress_form: ProgressOption = ProgressForm.auto,
) -> None:
    """Simulate two small datasets and run every step on them; needs no download.

    Example: `embstore demo --out demo`
    """
    from embstore.phantom.names import gene
    from embstore.phantom.write import write_phantom

    _announce("a phantom dataset: simulated cells, in the formats of OpenCell and the Human Protein Atlas")
    with show_progress(progress_form) as progress:
        for layout, px in DEMO_FIELD_PX.items():
            write_phantom(
                out / layout,
                layout=layout,
                proteins=proteins,
                fields=1,
                seed=seed,
                field_px=px,
                progress=progress,
            )
    names = {"out": shlex.quote(str(out)), "folds": max(3, min(5, proteins // 16)), "gene": gene(seed, PROTEIN_OF_DEMO)}
    store = f"--store {names['out']}/store"
    same = {"progress_form": progress_form.value}
    of_commands = {"ingest": same, "bench": same, "phantom": {"truth": same}}
    for title, step in STEPS:
        command = f"{store} {step.format(**names)}"
        _announce(title, command)
        root = context.find_root().command
        if code := root.main(shlex.split(command), standalone_mode=False, default_map=of_commands):
            raise typer.Exit(code)  # a command that was stopped, or that failed
    _announce("done: look at " + str(out / "neighbours.png") + ", then try")
    for command in NEXT:
        print_line(f"  embstore {store} {command.format(**names)}")


def _announce(title: str, command: str = "") -> None:
    print_line()
    print_line(f"# {title}", style="bold")
    if command:
        print_line(f"$ embstore {command}", style="dim")
