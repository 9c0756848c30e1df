"""Label tables and manifests: CSV, TSV, Parquet and xlsx with named columns; and the image files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError
from embstore.hdf5 import file_and_dataset
from embstore.sources.delimited import text_records
from embstore.sources.values import as_text, clean_name, is_missing
from embstore.sources.workbooks import Sheet, file_and_sheet, is_workbook, open_sheet, sheet_records

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp")
_SHOWN = 3
TABLE_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".xlsx", ".xlsm")
# the columns of SubCellPortable's path_list.csv
SUBCELL = ("r_image", "y_image", "b_image", "g_image", "output_prefix")


NumberedRows = Iterator[tuple[int, dict[str, str]]]


@dataclass(frozen=True)
class RenamedColumns:
    """The columns of a table under the names that a user gave them; those with an empty name are left out."""

    names: Mapping[str, str]
    notes: tuple[str, ...] = ()


Renaming = Callable[[Path, Sequence[str]], RenamedColumns]


@dataclass(frozen=True, repr=False)
class TextTable:
    """The rows of a table as text, each with its line (its row in xlsx, its number from 1 in Parquet).

    `dates` are the cells of a column that a workbook stores as dates or times.
    """

    path: Path
    columns: tuple[str, ...]
    numbered: list[tuple[int, dict[str, str]]]
    notes: tuple[str, ...] = ()
    dates: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, str]]:
        """Return the rows without their lines."""
        return [row for _, row in self.numbered]

    def __repr__(self) -> str:
        return f"<TextTable {self.path.name}: {len(self.numbered)} rows, {', '.join(self.columns)}>"


def text_table(path: Path, renaming: Renaming | None = None, *, as_written: bool = False) -> TextTable:
    """Return a CSV, TSV or (by its suffix) Parquet or xlsx file; every value is text, missing ones are empty.

    `renaming` gives meanings to the user's columns. With `as_written`, text that may mean a missing value (`none`) is
    kept, since it is a value in a column of treatments. Raises EmbstoreError for a file that is missing, empty, without
    a header line or not UTF-8, for rows with more or fewer fields than the header, and for two columns of one name.
    """
    columns, read, notes, dates = _opened_rows(path)
    rows = list(read)
    columns = columns or list(rows[0][1] if rows else ())
    if not as_written:
        for _, row in rows:
            row.update((column, "") for column, text in row.items() if text and is_missing(text))
    if renaming is None:
        return TextTable(path, tuple(columns), rows, notes, dates)
    renamed = renaming(path, columns)
    named = {column: name for column in columns if (name := renamed.names[column])}
    rows = [(line, {name: row[column] for column, name in named.items()}) for line, row in rows]
    dates = {named[column]: texts for column, texts in dates.items() if column in named}
    return TextTable(path, tuple(named.values()), rows, notes + renamed.notes, dates)


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of `text_table` without their lines."""
    return text_table(Path(path)).rows


def numbered_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of `text_table`, each with its line in the file (its number from 1 in Parquet)."""
    return text_table(path).numbered


def _cell(value: object) -> str:
    text = as_text(value)
    return text or (value.strip() if isinstance(value, str) else "")


def table_head(path: Path) -> tuple[list[str], dict[str, str]]:
    """Return the columns of a table and its first row (empty if it has none), without reading the rest."""
    columns, rows, _, _ = _opened_rows(path, batch=1)
    first = next(rows, (0, {}))[1]
    return columns or list(first), first


def _opened_rows(
    path: Path, batch: int = 1 << 16
) -> tuple[list[str], NumberedRows, tuple[str, ...], dict[str, list[str]]]:
    """Return the columns (none for Parquet without rows), the rows, notes, and the dates that reading them finds.

    The first row of Parquet names its columns.
    """
    if is_parquet(path):
        return [], _parquet_rows(path, batch), (), {}
    if is_workbook(path):
        sheet = open_sheet(path)
        dates: dict[str, list[str]] = {}
        columns, rows = _sheet_rows(sheet, dates)
        return columns, rows, sheet.notes, dates
    columns, rows = _text_rows(path)
    return columns, rows, (), {}


def _sheet_rows(sheet: Sheet, dates: dict[str, list[str]]) -> tuple[list[str], NumberedRows]:
    """Return the columns and the rows of a sheet, and add the dates of each column to `dates`."""
    records = sheet_records(sheet)
    _, cells = next(records, (0, ()))
    header = [_cell(cell) for cell in cells]
    if not header:
        raise EmbstoreError(f"{sheet.path} has nothing in sheet {sheet.name}; wanted a table with a header row")
    if _names_images(header):
        raise _no_header(sheet.path)
    columns = _column_names(sheet.path, header)
    comments = _commented(columns) or set(SUBCELL) <= set(columns)
    if comments:
        columns[0] = columns[0].lstrip("# ")

    def rows() -> NumberedRows:
        for number, cells in records:
            texts = list(map(_cell, cells))
            if comments and _commented(texts):
                continue
            for column, cell, text in zip(columns, cells, texts, strict=True):
                if isinstance(cell, (date, time, timedelta)):
                    dates.setdefault(column, []).append(text)
            yield number, dict(zip(columns, texts, strict=True))

    return columns, rows()


def is_parquet(path: Path) -> bool:
    """True if a file is Parquet by its suffix, in upper or lower case."""
    return path.suffix.lower() == ".parquet"


def _text_rows(path: Path) -> tuple[list[str], NumberedRows]:
    """Return the columns and the rows of a text table; if `#` begins its header line, other such lines are comments.

    These are SubCell's lists, in which SubCell leaves out lines with `#` too.
    """
    records = text_records(path)
    header = next((fields for _, fields in records if not (_commented(fields) and _is_data(fields))), None)
    if header is None:
        raise EmbstoreError(f"{path} is empty; wanted a CSV with a header line")
    columns = [header[0].lstrip("# "), *header[1:]] if _commented(header) else header
    if _names_images(columns):
        raise _no_header(path)
    columns = _column_names(path, columns)
    comments = _commented(header) or set(SUBCELL) <= set(columns)
    kept = ((line, fields) for line, fields in records if not (comments and _commented(fields)))
    return columns, _even_rows(path, columns, len(header), kept)


def _no_header(path: Path) -> EmbstoreError:
    return EmbstoreError(
        f"{path} has no header line, its first line names files; wanted one that names what they show, such as "
        f"{','.join(SUBCELL)} or image_id,nucleus,protein,gene"
    )


def _column_names(path: Path, header: Sequence[str]) -> list[str]:
    """Return the names of columns, cleaned, without unnamed ones at the end."""
    columns = [clean_name(name) for name in header]
    while columns and not columns[-1]:
        columns.pop()
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise EmbstoreError(f"{path} has the column {twice!r} more than once; give each column a name of its own")
    return columns


def _even_rows(
    path: Path, columns: Sequence[str], width: int, records: Iterable[tuple[int, list[str]]]
) -> NumberedRows:
    """Yield records as rows; EmbstoreError that names the lines with missing or extra fields."""
    uneven: list[str] = []
    for line, fields in records:
        if len(fields) < len(columns) or any(map(str.strip, fields[len(columns) :])):
            uneven.append(f"line {line} has {len(fields)}")
        if not uneven:
            yield line, dict(zip(columns, map(_cell, fields), strict=False))
    if uneven:
        more = f" and {len(uneven) - _SHOWN} more lines" if len(uneven) > _SHOWN else ""
        raise EmbstoreError(
            f"{path} has {width} columns, and {', '.join(uneven[:_SHOWN])} fields{more}; wanted one field per column: "
            "put fields that contain the separator in quotes"
        )


def _commented(fields: Sequence[str]) -> bool:
    return fields[0].startswith("#")


def _is_data(fields: Sequence[str]) -> bool:
    return _names_images(fields) or not all(fields)


def _names_images(fields: Sequence[str]) -> bool:
    return any(is_image(Path(field.strip())) for field in fields)


def _parquet_rows(path: Path, batch: int) -> NumberedRows:
    number = 0
    for columns, values in _parquet_batches(path, batch):
        for row in zip(*values, strict=True):
            number += 1
            yield number, dict(zip(columns, row, strict=True))


def _parquet_batches(path: Path, rows: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the names of the columns, and some rows of each column as text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = _column_names(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=rows):
                yield columns, [list(map(_cell, column.to_pylist())) for column in batch.columns[: len(columns)]]
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a Parquet file") from error
    except UnicodeDecodeError as error:
        raise EmbstoreError(f"{path} contains text that is not UTF-8 ({error}); save it as UTF-8") from error
    except (OSError, OverflowError, pa.ArrowException) as error:
        raise EmbstoreError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def find_column(path: Path, rows: list[dict[str, str]], *names: str) -> str:
    """Return the first of `names` that the table has; EmbstoreError, listing its columns, if it has none."""
    columns = list(rows[0]) if rows else []
    for name in names:
        if name in columns:
            return name
    raise EmbstoreError(f"{path} has the columns {', '.join(columns) or '(no rows)'}; wanted {' or '.join(names)}")


def is_table(path: Path) -> bool:
    """True if a file is a table by its suffix; one packed with gzip counts, and so does a sheet (`t.xlsx::Sheet 1`)."""
    return file_and_sheet(path)[0].name.lower().endswith(TABLE_SUFFIXES)


def is_table_file(path: Path) -> bool:
    """True if a path names a table, and the file exists."""
    return is_table(path) and file_and_sheet(path)[0].is_file()


def image_files(
    source: Path, content: str = "images", suffixes: tuple[str, ...] = IMAGE_SUFFIXES
) -> tuple[Path, list[Path]]:
    """Return the source root and its image files, sorted, without hidden ones; a single file is its own source.

    Raises EmbstoreError if the file or folder does not exist; `content` is what was searched for.
    """
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise EmbstoreError(f"there is no file or folder {source}; give the folder that contains the {content}")
    # a broken link counts too: it is a missing file
    paths = (p for p in source.rglob("*") if is_image(p, suffixes) and (p.is_file() or p.is_symlink()))
    return source, sorted(p for p in paths if not any(part.startswith(".") for part in p.relative_to(source).parts))


def is_image(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> bool:
    """True if a file may be an image by its suffix; one packed with gzip counts."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in suffixes


def abridged(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    return f"{len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"


def bare_name(file: str) -> str:
    """Return a relative path without the suffix of its image: `a/b.ome.tif.gz` is `a/b`, `a.h5::b` is `a/b`."""
    within, dataset = file_and_dataset(file)
    if dataset:
        return (within.with_suffix("") / dataset.strip("/")).as_posix()
    path = PurePosixPath(file.removesuffix(".gz"))
    return path.with_suffix("").as_posix().removesuffix(".ome")
