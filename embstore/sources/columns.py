"""The meaning of the columns of a lab's own table, whatever their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from embstore.errors import EmbstoreError
from embstore.ids import non_accessions, protein_ids, split_genes, split_list, spreadsheet_genes
from embstore.sources.numerals import plain_numbers
from embstore.sources.record import Subject
from embstore.sources.restored_genes import probable_symbols
from embstore.sources.tables import RenamedColumns, TextTable, abridged
from embstore.sources.values import clean_name, is_missing, looks_like_list, names_in, spelled_missing

TextRow = Mapping[str, str]

# meaning -> names as `column_key` returns them; the first that a table has is used
MEANINGS = {
    "key": ("image_id", "key", "image", "image_name", "cell_id", "cell", "fov_id", "output_prefix", "id"),
    "protein": (
        *("ensg_id", "ensg", "ensembl_id", "ensembl", "ensembl_gene_id", "protein_id", "protein_ids"),
        *("uniprot_id", "uniprot", "uniprot_accession"),
    ),
    "gene": ("gene", "genes", "gene_name", "gene_symbol", "symbol", "hgnc_symbol", "target_name"),
    "plate": ("plate", "plate_id", "plate_name"),
    "well": ("well", "well_id", "well_name", "well_position"),
    "site": ("site",),
    "cell_line": ("cell_line", "cellline"),
    "antibody": ("antibody", "antibody_id"),
    "licence": ("licence", "license"),
    "pixel_size_um": ("pixel_size_um",),
    "locations": (
        *("locations", "location", "labels", "label", "localization", "localisation", "localizations"),
        *("localisations", "subcellular_location", "subcellular_locations", "subcellular_localization"),
    ),
}
# names of image files
FILE_COLUMNS = ("file", "path", "filename", "file_name", "image_file", "image_path", "file_path", "filepath")
# the meanings that `--columns` may give a column
OUR_NAMES = (
    *("image_id", "cell_id", "gene", "ensg_id", "uniprot_id", "plate", "well", "site", "cell_line", "antibody"),
    *("licence", "pixel_size_um", "locations", "grade", "file", "channels"),
)
SHOWN_GENES = 5
DEFAULT_SCHEME = "main"  # of labels whose table names no scheme


class ImageFields(TypedDict, total=False):
    """The fields of a SourceImage that a row of a table may fill."""

    protein_ids: tuple[str, ...]
    genes: tuple[str, ...]
    plate: str | None
    well: str | None
    site: str | None
    cell_line: str | None
    antibody: str | None
    licence: str | None
    pixel_size_um: float | None
    pixel_size_source: str
    extra: dict[str, str]


@dataclass(frozen=True)
class ColumnNames:
    """The meanings of a user's columns: `Where is it?` -> `locations`; called by `text_table`."""

    ours: Mapping[str, str]

    def __call__(self, path: Path, columns: Sequence[str]) -> RenamedColumns:
        """Return every column's name; a named one hides others with its meaning, which are left out and reported."""
        absent = [column for column in self.ours if clean_name(column) not in columns]
        if absent:
            listed = ", ".join(columns)
            raise EmbstoreError(f"{path} has no column {absent[0]!r}, which --columns names; it has: {listed}")
        ours = {clean_name(column): name for column, name in self.ours.items()}
        hidden, notes = hidden_columns(columns, ours)
        names = {column: ours.get(column, column) for column in columns}
        return RenamedColumns(names | dict.fromkeys(hidden, ""), notes)


def hidden_columns(columns: Sequence[str], ours: Mapping[str, str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the columns whose meaning a column of `ours` has, and a note on each of those."""
    by_column = {
        column: [other for other in columns if other not in ours and column_key(other) in _synonyms(name)]
        for column, name in ours.items()
    }
    left_out = {column: f"; {', '.join(others)} of the same meaning left out" for column, others in by_column.items()}
    notes = (
        f"column {column} read as {name}{left_out[column] if by_column[column] else ''}"
        for column, name in ours.items()
    )
    return [other for others in by_column.values() for other in others], tuple(notes)


def named_columns(columns: Mapping[str, str] | None) -> ColumnNames | None:
    """Return the names for a user's columns, None if there are none; EmbstoreError for a name without a meaning."""
    if not columns:
        return None
    unknown = next((name for name in columns.values() if name not in OUR_NAMES), None)
    if unknown is not None:
        raise EmbstoreError(f"--columns gives a column the name {unknown!r}; wanted one of: {', '.join(OUR_NAMES)}")
    meanings = [_synonyms(name) for name in columns.values()]
    twice = [name for name in columns.values() if meanings.count(_synonyms(name)) > 1]
    if twice:
        raise EmbstoreError(f"--columns names two columns for one meaning ({', '.join(twice)}); wanted one")
    return ColumnNames(columns)


def _synonyms(name: str) -> tuple[str, ...]:
    return next((names for names in (*MEANINGS.values(), FILE_COLUMNS) if name in names), (name,))


def column_key(name: str) -> str:
    """Return a column's name for comparison: `Gene name`, `gene-name` and `Metadata_Gene_Name` are `gene_name`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").removeprefix("metadata_")


def known_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return meaning -> column for those that the table has; EmbstoreError if two names are the same in comparison."""
    by_key: dict[str, str] = {}
    for column in columns:
        key = column_key(column)
        rival = by_key.setdefault(key, column)
        prefixed = {name.lower().startswith("metadata_") for name in (rival, column)}
        if rival != column and len(prefixed) == 1 and any(key in names for names in MEANINGS.values()):
            raise EmbstoreError(f"the columns {rival} and {column} read the same; rename one of them")
    known = {meaning: next((by_key[n] for n in names if n in by_key), None) for meaning, names in MEANINGS.items()}
    return {meaning: column for meaning, column in known.items() if column}


def tidy_rows(
    rows: Sequence[tuple[int, dict[str, str]]], known: Mapping[str, str], used: Iterable[str] = ()
) -> tuple[str, ...]:
    """Blank missing values in columns with a meaning, and write pixel sizes with a decimal dot, in place.

    Returns a note that counts the missing values by spelling. Raises EmbstoreError for an ambiguous pixel size.
    """
    columns = list(dict.fromkeys((*known.values(), *used)))
    spelled = spelled_missing(row[column] for _, row in rows for column in columns)
    for _, row in rows:
        row.update((column, "") for column in columns if is_missing(row[column]))
    if size := known.get("pixel_size_um"):
        for (_, row), text in zip(rows, plain_numbers([row[size] for _, row in rows], size), strict=True):
            row[size] = text
    counted = ", ".join(f"{count} {text}" for text, count in spelled.items())
    return (f"cells that count as missing: {counted}",) if spelled else ()


def description(row: TextRow, known: Mapping[str, str], used: Iterable[str] = ()) -> ImageFields:
    """Return the fields of a SourceImage that a row fills; columns that are neither known nor `used` are in `extra`.

    Raises EmbstoreError if the pixel size is not a positive number.
    """
    value = {meaning: row.get(column, "").strip() for meaning, column in known.items()}
    size = value.get("pixel_size_um", "")
    kept = {*known.values(), *used}
    ids, genes = value.get("protein", ""), value.get("gene", "")
    return {
        "plate": value.get("plate") or None,
        "well": value.get("well") or None,
        "site": value.get("site") or None,
        "cell_line": value.get("cell_line") or None,
        "antibody": value.get("antibody") or None,
        "licence": value.get("licence") or None,
        "protein_ids": tuple(protein_ids(ids, genes)),
        "genes": tuple(split_genes(genes, ids)),
        "pixel_size_um": _positive(size) if size else None,
        "pixel_size_source": "manifest",
        "extra": {column: text for column, text in row.items() if column not in kept and text},
    }


def notes_on(table: TextTable, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return how a table was read, and which columns with a meaning contain dates, into which spreadsheets turn
    text. Genes are left to `notes_on_genes`, which names the symbols.
    """
    columns = [column for meaning, column in known.items() if meaning != "gene"]
    dated = {column: table.dates[column] for column in columns if column in table.dates}
    counted = (f"{len(texts)} cells of {column} are dates ({', '.join(texts[:3])})" for column, texts in dated.items())
    if not dated:
        return table.notes
    return (*table.notes, f"{'; '.join(counted)}: spreadsheets turn text such as 2-1 into dates; restore the text")


def refuse_lists(path: Path, rows: Iterable[TextRow], column: str) -> None:
    """Raise EmbstoreError if a column of locations has text in brackets: a list without quoted names."""
    printed = next((row[column] for row in rows if looks_like_list(row[column])), None)
    if printed is not None:
        raise EmbstoreError(
            f"{path} is no table of labels that is known: {column!r} contains lists such as {printed!r}; wanted "
            "names of locations joined by `;`, or the tables that OpenCell, HPA and Kaggle publish"
        )


def locations_of(
    path: Path, keyed: Sequence[tuple[str, TextRow]], known: Mapping[str, str]
) -> dict[Subject, dict[str, int | None]]:
    """Return the locations in the rows of images, separated by `;`; empty if the table has no such column.

    Raises EmbstoreError for text in brackets that is not a list of quoted names.
    """
    column = known.get("locations")
    if column is None:
        return {}
    refuse_lists(path, (row for _, row in keyed), column)
    return {(DEFAULT_SCHEME, "image", key): dict.fromkeys(names_in(row.get(column, ""))) for key, row in keyed}


def unknown_ids(rows: Iterable[TextRow], known: Mapping[str, str]) -> tuple[str, ...]:
    """Return notes on a table's proteins: ids that are no accession, and genes that a spreadsheet changed."""
    rows = list(rows)
    ids, genes = known.get("protein"), known.get("gene")
    notes = notes_on_ids((row.get(ids, "") for row in rows), ids) if ids else ()
    return notes + (notes_on_genes(row.get(genes, "") for row in rows) if genes else ())


def notes_on_ids(fields: Iterable[str], column: str) -> tuple[str, ...]:
    """Return a note on those of a column's ids that are no accession, as in `unknown_ids`."""
    others = list(dict.fromkeys(item for text in fields for item in non_accessions(text)))
    if not others:
        return ()
    note = f"no Ensembl gene id or UniProt accession in {column}: {abridged(others)}"
    return (f"{note}; such a protein is known by its gene, else by that very text",)


def notes_on_genes(fields: Iterable[str]) -> tuple[str, ...]:
    """Return a note on gene names that look as if a spreadsheet had changed them, with the probable symbols."""
    changed = spreadsheet_genes(name for text in fields for name in split_list(text))
    if not changed:
        return ()
    probable = [(name, " or ".join(probable_symbols(name))) for name in changed[:SHOWN_GENES]]
    listed = ", ".join(f"{name}: {symbols}" if symbols else name for name, symbols in probable)
    more = ", ..." if len(changed) > SHOWN_GENES else ""
    return (f"{len(changed)} gene names look as if a spreadsheet had changed them ({listed}{more}); restore them",)


def _positive(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise EmbstoreError(f"pixel_size_um is {text!r}, wanted a positive number of micrometres")
    return size
