"""Label tables and manifests: CSV, TSV and Parquet files with named columns; and the image files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError
from embstore.sources.delimited import text_records
from embstore.sources.values import clean_name, field_text

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SHOWN = 3
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
# the columns of SubCellPortable's path_list.csv
SUBCELL = ("r_image", "y_image", "b_image", "g_image", "output_prefix")


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a CSV, TSV or (by its suffix) Parquet file; every value is text, missing ones are empty.

    A file that is missing, empty, without a header line or not UTF-8 text is an EmbstoreError.
    """
    return [row for _, row in numbered_rows(Path(path))]


def numbered_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of `read_table`, each with its line in the file (its number from 1 in Parquet)."""
    return list(_parquet_rows(path) if path.suffix == ".parquet" else _text_rows(path)[1])


def table_head(path: Path) -> tuple[list[str], dict[str, str]]:
    """Return the columns of a table and its first row (empty where it has none), without reading the rest."""
    if path.suffix == ".parquet":
        first = next(_parquet_rows(path, batch=1), (0, {}))[1]
        return list(first), first
    columns, rows = _text_rows(path)
    return columns, next(rows, (0, {}))[1]


def _text_rows(path: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Return the columns and the rows of a text table; `#` before a header line makes lines that begin so comments.

    So do SubCell's lists, whose lines with `#` are left out by SubCell too.
    """
    found = text_records(path)
    header = next((fields for _, fields in found if not (_commented(fields) and _is_data(fields))), None)
    if header is None:
        raise EmbstoreError(f"{path} is empty; wanted a CSV with a header line")
    columns = _named(path, [header[0].lstrip("# "), *header[1:]] if _commented(header) else header)
    if _names_images(columns):
        raise EmbstoreError(
            f"{path} has no header line, its first line names files; wanted one that says what they show, such as "
            f"{','.join(SUBCELL)} or image_id,nucleus,protein,gene"
        )
    comments = _commented(header) or set(SUBCELL) <= set(columns)
    return [c for c in columns if c], _rows_of(path, columns, found, comments=comments)


def _rows_of(
    path: Path, columns: Sequence[str], records: Iterator[tuple[int, list[str]]], *, comments: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each line with its row; after the last, EmbstoreError where lines have not as many fields as the header.

    Empty fields beyond the header are let pass: spreadsheets write them.
    """
    ragged: list[str] = []
    for line, fields in records:
        if comments and _commented(fields):
            continue
        if len(fields) < len(columns) or any(field.strip() for field in fields[len(columns) :]):
            ragged.append(f"line {line} has {len(fields)}")
            continue
        values = zip(columns, fields, strict=False)
        yield line, {column: field_text(text) for column, text in values if column}
    if ragged:
        more = f" and {len(ragged) - _SHOWN} lines more" if len(ragged) > _SHOWN else ""
        raise EmbstoreError(
            f"{path}: {', '.join(ragged[:_SHOWN])}{more}; wanted {len(columns)} fields, as in the header: "
            'put a field that contains the separator in quotes ("..."), and leave empty fields empty'
        )


def _named(path: Path, header: Sequence[str]) -> list[str]:
    """Return the names of columns as they are looked for; EmbstoreError where two are the same.

    A column without a name, such as the index that pandas writes, is "".
    """
    columns = [clean_name(name) for name in header]
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        places = [str(place) for place, name in enumerate(columns, start=1) if name == twice]
        raise EmbstoreError(f"{path} has the column {twice!r} more than once ({', '.join(places)}); rename one of them")
    return columns


def _commented(fields: Sequence[str]) -> bool:
    return fields[0].startswith("#")


def _is_data(fields: Sequence[str]) -> bool:
    return _names_images(fields) or not all(fields)


def _names_images(fields: Sequence[str]) -> bool:
    return any(is_image(Path(field.strip())) for field in fields)


def _parquet_rows(path: Path, batch: int = 1 << 16) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for some in file.iter_batches(batch_size=batch):
                for row in some.to_pylist():
                    number += 1
                    yield number, {clean_name(column): field_text(value) for column, value in row.items()}
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a Parquet file") from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise EmbstoreError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def find_column(path: Path, rows: list[dict[str, str]], *names: str) -> str:
    """Return the first of `names` that the table has; an EmbstoreError that lists its columns otherwise."""
    columns = list(rows[0]) if rows else []
    for name in names:
        if name in columns:
            return name
    raise EmbstoreError(f"{path} has the columns {', '.join(columns) or '(no rows)'}; wanted {' or '.join(names)}")


def is_table(path: Path) -> bool:
    """Tell by its suffix whether a file is a table; one packed with gzip counts."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def image_files(source: Path, holds: str = "images") -> tuple[Path, list[Path]]:
    """Return the source root and its image files, sorted, hidden ones left out; a single file is its own source.

    EmbstoreError where there is no such file or folder; `holds` is what was looked for.
    """
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise EmbstoreError(f"there is no file or folder {source}; give the folder that holds the {holds}")
    # a link whose file is gone counts too: it is a file that is missing
    found = (p for p in source.rglob("*") if is_image(p) and (p.is_file() or p.is_symlink()))
    return source, sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(source).parts))


def is_image(path: Path) -> bool:
    """Tell by its suffix whether a file may be an image; one packed with gzip counts."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in IMAGE_SUFFIXES


def abridged(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"


def bare_name(file: str) -> str:
    """Return a relative path without the suffix of its image: `a/b.ome.tif.gz` is `a/b`."""
    path = PurePosixPath(file.removesuffix(".gz"))
    return path.with_suffix("").as_posix().removesuffix(".ome")
