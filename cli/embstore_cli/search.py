"""`embstore search protein` and `embstore search cell`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embstore.errors import EmbstoreError
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
    import pyarrow as pa

    from embstore.search import Index, SimilarProteins

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
VOTES = 3  # locations that are reported


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
    cells: Annotated[int, typer.Option("--cells", min=1, help="Most cells that the sheet shows of a protein.")] = 6
    form: Output = Format.table


@app.command("protein")
@without_options(UNIT_REMOVED)
@with_options(SearchOptions)
def protein(
    options: SearchOptions,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="GENE", help="Gene symbols or protein ids.", show_default=False)
    ] = None,
    genes: Annotated[
        Path | None,
        typer.Option("--genes", metavar="FILE", help="A text file with one gene symbol or protein id a line."),
    ] = None,
) -> None:
    """Find the proteins whose mean vectors are most similar to that of a protein, or of each of several.

    Example: `embstore search protein ACTN1 --backbone pixel-stats --sheet neighbours.png`
    """
    from embstore.search import check_sheet, draw_sheet, open_index

    asked = [*(names or ()), *_listed(genes)]
    if not asked:
        raise EmbstoreError("no protein is named; give a gene symbol or protein id, or a file of them with --genes")
    sheet, form, given = _split(options)
    if sheet is not None:
        check_sheet(sheet)
    if sheet is not None and len(asked) > 1:
        raise EmbstoreError(f"--sheet draws one search, and {len(asked)} proteins are named; search for one of them")
    store = open_store()
    index = open_index(store, given.pop("backbone", None), space=given.pop("space", None))
    answers = _answers(index, asked, given)
    if len(asked) == 1:
        emit_table(answers[0], form, title=answers[0].headline, people=SEARCH_FOR_PEOPLE)
        _say_votes(answers[0])
    else:
        emit_table(_joined(answers), form, title=f"nearest to each of {len(answers)} in {index.name}")
    if sheet is not None:
        say(f"drawn: {draw_sheet(store, answers[0], sheet, cells=options.cells)}")


def _answers(index: Index, names: Sequence[str], given: dict[str, Any]) -> list[SimilarProteins]:
    """Return the answer for each name; names that are not in the space are reported, an error if none is."""
    from embstore.search import similar_proteins

    answers: list[SimilarProteins] = []
    failures: list[EmbstoreError] = []
    for name in names:
        try:
            answers.append(similar_proteins(index, name, **given))
        except EmbstoreError as error:
            failures.append(error)
    if not answers:
        raise failures[0]
    for failure in failures:
        say(f"left out: {failure}")
    return answers


def _listed(file: Path | None) -> list[str]:
    """Return the names in a text file, one a line."""
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EmbstoreError(f"{file} cannot be read ({error}); wanted a text file with one name a line") from error
    return [line.strip() for line in lines if line.strip()]


def _joined(answers: Sequence[SimilarProteins]) -> pa.Table:
    """Return the rows of several answers, with what was asked for as the first column."""
    import pyarrow as pa

    tables = [answer.to_arrow() for answer in answers]
    return pa.concat_tables(
        table.add_column(0, "query", pa.array([answer.query] * table.num_rows, pa.string()))
        for answer, table in zip(answers, tables, strict=True)
    )


def _say_votes(answer: SimilarProteins) -> None:
    """Write the locations that are more common among the neighbours than by chance to stderr."""
    more = [str(vote) for vote in answer.votes if vote.count > vote.expected][:VOTES]
    if more:
        say(f"locations of the neighbours: {', '.join(more)}")


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
    from embstore.search import check_sheet, draw_sheet, similar_cells

    sheet, form, given = _split(options)
    if sheet is not None:
        check_sheet(sheet)
    store = open_store()
    answer = similar_cells(store, cell_id, **given)
    emit_table(answer, form, title=answer.headline, people=SEARCH_FOR_PEOPLE)
    if sheet is not None:
        say(f"drawn: {draw_sheet(store, answer, sheet, cells=options.cells)}")


def _split(options: SearchOptions) -> tuple[Path | None, Format, dict[str, Any]]:
    """Return where the sheet goes, the format, and the options that are given to the library."""
    given = {name: value for name, value in asdict(options).items() if value is not None}
    given.pop("cells")
    return given.pop("sheet", None), given.pop("form"), given
