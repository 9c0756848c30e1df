"""Label tables and manifests: CSV, TSV and Parquet files with named columns; and the image files of a folder."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp")
SHOWN = 3
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV (or, by its suffix, TSV or Parquet) file; every value is text, missing ones are empty.

    A file that is missing, empty or not UTF-8 text is an EmbstoreError.
    """
    return [row for _, row in numbered_rows(path)]


def numbered_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of `read_table`, each with its line in the file (its number from 1 in Parquet)."""
    if path.suffix == ".parquet":
        return list(enumerate(_read_parquet(path), start=1))
    delimiter = "\t" if path.suffix in (".tsv", ".txt") else ","
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, delimiter=delimiter, restval="")
            rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k is not None}) for row in reader]
            columns = reader.fieldnames
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a CSV with a header line") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EmbstoreError(
            f"{path} cannot be read as a CSV ({error}); wanted UTF-8 text with a header line"
        ) from error
    if not columns:
        raise EmbstoreError(f"{path} is empty; wanted a CSV with a header line")
    return rows


def _read_parquet(path: Path) -> list[dict[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a Parquet file") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise EmbstoreError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return [{column: "" if value is None else str(value) for column, value in row.items()} for row in rows]


def find_column(path: Path, rows: list[dict[str, str]], *names: str) -> str:
    """Return the first of `names` that the table has; an EmbstoreError that lists its columns otherwise."""
    columns = list(rows[0]) if rows else []
    for name in names:
        if name in columns:
            return name
    raise EmbstoreError(f"{path} has the columns {', '.join(columns) or '(no rows)'}; wanted {' or '.join(names)}")


def image_files(source: Path) -> tuple[Path, list[Path]]:
    """Return the source root and its image files, sorted, hidden ones left out; a single file is its own source."""
    if source.is_file():
        return source.parent, [source]
    if not source.is_dir():
        raise EmbstoreError(f"there is no file or folder {source}; give the folder that holds the images")
    # a link whose file is gone counts too: it is a file that is missing
    found = (p for p in source.rglob("*") if is_image(p) and (p.is_file() or p.is_symlink()))
    return source, sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(source).parts))


def is_image(path: Path) -> bool:
    """Tell by its suffix whether a file may be an image; one packed with gzip counts."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in IMAGE_SUFFIXES


def listed(names: Sequence[str]) -> str:
    """Return how many names there are, and the first of them."""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"


def bare_name(file: str) -> str:
    """Return a relative path without the suffix of its image: `a/b.ome.tif.gz` is `a/b`."""
    path = PurePosixPath(file.removesuffix(".gz"))
    return path.with_suffix("").as_posix().removesuffix(".ome")
