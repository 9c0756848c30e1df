"""What the columns of a lab's own table mean, whatever they are called there."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from embstore.errors import EmbstoreError
from embstore.ids import protein_ids, split_genes, split_list, spreadsheet_genes, strangers
from embstore.sources.numerals import plain_numbers
from embstore.sources.record import Subject
from embstore.sources.tables import abridged
from embstore.sources.values import is_missing, looks_like_list, names_in, spelled_missing

TextRow = Mapping[str, str]

# meaning -> names as `column_key` gives them; the first that a table has is taken
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


def column_key(name: str) -> str:
    """Return a column's name as it is compared: `Gene name`, `gene-name` and `Metadata_Gene_Name` are `gene_name`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").removeprefix("metadata_")


def known_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return meaning -> column for those that the table has; EmbstoreError where two names read the same."""
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
    """Blank what stands for a missing value in columns with a meaning, write pixel sizes with a decimal dot, in place.

    Returns a note that counts the former by spelling. EmbstoreError where a pixel size can be read in two ways.
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
    """Return the fields of a SourceImage that a row fills; what is neither known nor `used` is kept in `extra`.

    EmbstoreError where the pixel size is no positive number.
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


def refuse_lists(path: Path, rows: Iterable[TextRow], column: str) -> None:
    """Raise EmbstoreError where a column of locations has text in brackets: a list that holds no quoted names."""
    printed = next((row[column] for row in rows if looks_like_list(row[column])), None)
    if printed is not None:
        raise EmbstoreError(
            f"{path} is no table of labels that is known: {column!r} contains lists such as {printed!r}; wanted "
            "names of locations joined by `;`, or the tables that OpenCell, HPA and Kaggle publish"
        )


def locations_of(
    path: Path, keyed: Sequence[tuple[str, TextRow]], known: Mapping[str, str]
) -> dict[Subject, dict[str, int | None]]:
    """Return the `;`-joined locations that stand beside images; empty where the table has no such column.

    EmbstoreError for text in brackets that is no list of quoted names.
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
    notes = said_of_ids((row.get(ids, "") for row in rows), ids) if ids else ()
    return notes + (said_of_genes(row.get(genes, "") for row in rows) if genes else ())


def said_of_ids(fields: Iterable[str], column: str) -> tuple[str, ...]:
    """Return a note on those of a column's ids that are no accession, as `unknown_ids` does."""
    found = list(dict.fromkeys(item for text in fields for item in strangers(text)))
    if not found:
        return ()
    said = f"no Ensembl gene id or UniProt accession in {column}: {abridged(found)}"
    return (f"{said}; such a protein is known by its gene, else by that very text",)


def said_of_genes(fields: Iterable[str]) -> tuple[str, ...]:
    """Return a note on the gene names that look like what a spreadsheet makes of symbols; none where there are none."""
    found = spreadsheet_genes(name for text in fields for name in split_list(text))
    if not found:
        return ()
    listed = ", ".join(found[:SHOWN_GENES]) + (", ..." if len(found) > SHOWN_GENES else "")
    return (f"{len(found)} gene names look like what a spreadsheet makes of symbols ({listed}); restore them",)


def _positive(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise EmbstoreError(f"pixel_size_um is {text!r}, wanted a positive number of micrometres")
    return size
