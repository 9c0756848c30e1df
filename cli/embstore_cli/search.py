"""`embstore search protein` and `embstore search cell`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore_cli.context import (
    UNIT_REMOVED,
    Dataset,
    Format,
    OneBackbone,
    Output,
    SpaceDigest,
    open_store,
    with_options,
)
from embstore_cli.removed import without_options
from embstore_cli.render import emit_table, say

if TYPE_CHECKING:
    from embstore.search import Neighbours

app = typer.Typer(no_args_is_help=True, help="Find the proteins or cells nearest to one.")
SEARCH_FOR_PEOPLE = (
    "rank",
    "cell_id",
    "gene",
    "dataset",
    "similarity",
    "percentile",
    "rank_low",
    "rank_high",
    "n_cells",
    "locations",
)


@dataclass(frozen=True)
class SearchOptions:
    """The options of every search; those up to `centre` are the library's own."""

    backbone: OneBackbone = None
    space: SpaceDigest = None
    dataset: Dataset = None
    k: Annotated[int, typer.Option("-k", min=1, help="Number of neighbours.")] = 10
    centre: Annotated[
        bool | None,
        typer.Option(
            "--centre/--no-centre",
            help="Subtract the space's mean vector first [default: for proteins].",
            show_default=False,
        ),
    ] = None
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="OUT.png", help="Draw the neighbours' cells into this file.")
    ] = None
    form: Output = Format.table


@app.command("protein")
@without_options(UNIT_REMOVED)
@with_options(SearchOptions)
def protein(
    name: Annotated[str, typer.Argument(metavar="GENE", help="Gene symbol or protein id.")], options: SearchOptions
) -> None:
    """Find the proteins whose mean vectors are nearest to that of a protein.

    Example: `embstore search protein ACTN1 --backbone pixel-stats --sheet neighbours.png`
    """
    from embstore.search import similar_proteins

    _search(similar_proteins, name, options)


@app.command("cell")
@without_options(UNIT_REMOVED)
@with_options(SearchOptions)
def cell(
    cell_id: Annotated[
        str, typer.Argument(metavar="CELL_ID", help="A cell id, as search and the table cells show it.")
    ],
    options: SearchOptions,
) -> None:
    """Find the cells nearest to a cell; `embstore sql "SELECT cell_id, gene FROM cells LIMIT 5"` lists some ids.

    Example: `embstore search cell "$(embstore sql 'SELECT min(cell_id) FROM cells' -f csv | tail -1)" -b pixel-stats`
    """
    from embstore.search import similar_cells

    _search(similar_cells, cell_id, options)


def _search(search: Callable[..., Neighbours[Any]], query: str, options: SearchOptions) -> None:
    from embstore.search import check_sheet, draw_sheet

    given = {name: value for name, value in asdict(options).items() if value is not None}
    sheet, form = given.pop("sheet", None), given.pop("form")
    if sheet is not None:
        check_sheet(sheet)
    store = open_store()
    neighbours = search(store, query, **given)
    emit_table(neighbours, form, title=neighbours.headline, people=SEARCH_FOR_PEOPLE)
    if sheet is not None:
        say(f"drawn: {draw_sheet(store, neighbours, sheet)}")
