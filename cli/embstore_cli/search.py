"""`embstore search protein` and `embstore search cell`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embstore_cli.context import Dataset, Format, OneBackbone, OneUnit, Output, SpaceDigest, open_store
from embstore_cli.render import emit, say

if TYPE_CHECKING:
    from embstore.search import Neighbours
    from embstore.store import Store

app = typer.Typer(no_args_is_help=True, help="Find the proteins or cells nearest to one.")

PROTEIN_COLUMNS = ("rank", "gene", "protein_id", "dataset", "similarity", "n_cells", "locations")
CELL_COLUMNS = ("rank", "cell_id", "gene", "similarity", "dataset", "locations")
K = Annotated[int, typer.Option("-k", min=1, help="How many neighbours.")]
Sheet = Annotated[Path | None, typer.Option("--sheet", metavar="OUT.png", help="Draw the neighbours' cells.")]
Centre = Annotated[bool, typer.Option("--centre", help="Subtract the space's mean vector first.")]


@app.command("protein")
def protein(
    name: Annotated[str, typer.Argument(metavar="GENE", help="Gene symbol or protein id.")],
    backbone: OneBackbone = None,
    space: SpaceDigest = None,
    unit: OneUnit = None,
    dataset: Dataset = None,
    k: K = 10,
    centre: Centre = False,
    sheet: Sheet = None,
    form: Output = Format.table,
) -> None:
    """The proteins whose mean vector is nearest to a protein's.

    Example: `embstore search protein ACTN1 --backbone pixel-stats --sheet neighbours.png`
    """
    from embstore.search import similar_proteins

    _check(sheet)
    store = open_store()
    found = similar_proteins(
        store, name, backbone=backbone, space=space, unit=unit, dataset=dataset, k=k, centre=centre
    )
    _show(store, found, PROTEIN_COLUMNS, sheet, form)


@app.command("cell")
def cell(
    cell_id: Annotated[str, typer.Argument(metavar="CELL_ID", help="As in the table cells.")],
    backbone: OneBackbone = None,
    space: SpaceDigest = None,
    unit: OneUnit = None,
    dataset: Dataset = None,
    k: K = 10,
    centre: Centre = False,
    sheet: Sheet = None,
    form: Output = Format.table,
) -> None:
    """The cells nearest to a cell.

    Example: `embstore search cell opencell/ACTN1_gallery:1dbaa437:3 --backbone pixel-stats`
    """
    from embstore.search import similar_cells

    _check(sheet)
    store = open_store()
    found = similar_cells(
        store, cell_id, backbone=backbone, space=space, unit=unit, dataset=dataset, k=k, centre=centre
    )
    _show(store, found, CELL_COLUMNS, sheet, form)


def _check(sheet: Path | None) -> None:
    if sheet is not None:
        from embstore.search import check_sheet

        check_sheet(sheet)


def _show(store: Store, found: Neighbours, columns: tuple[str, ...], sheet: Path | None, form: Format) -> None:
    emit(found.rows, columns, form, title=f"nearest to {found.query} in {found.space} (cosine similarity)")
    if sheet is not None:
        from embstore.search import draw_sheet

        say(f"drawn: {draw_sheet(store, found, sheet)}")
