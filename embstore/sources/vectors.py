"""Brought vectors: npz and CSV(.gz) files of one vector a protein."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError
from embstore.ids import digest, short, split_list


@dataclass(frozen=True)
class Brought:
    """The rows of a file: `ids`, `genes` and `locations` by row, `vectors` float32 (n, dim) as they were."""

    ids: list[str]
    genes: list[str]
    locations: list[list[str]]
    vectors: npt.NDArray[np.float32]
    features: str  # a digest of which numbers these are: the columns in order, or the npz key and how many


@dataclass(frozen=True)
class Columns:
    """Which columns (CSV) or arrays (npz) mean what; `vectors` is a key, or patterns such as `FS*,FP*`."""

    vectors: str
    identifier: str
    gene: str | None = None
    label: str | None = None
    unlabelled: str | None = None  # the value that stands for no label


def read_vectors(path: Path, columns: Columns) -> Brought:
    """Read an npz or CSV(.gz) file of vectors; a file or column that is not there is an EmbstoreError."""
    if not path.is_file():
        raise EmbstoreError(f"there is no file {path}; give an .npz, .csv or .csv.gz file of vectors")
    if path.suffix == ".npz":
        return _read_npz(path, columns)
    if path.name.endswith((".csv", ".csv.gz")):
        return _read_csv(path, columns)
    raise EmbstoreError(f"{path.name} is not a file of vectors; wanted .npz, .csv or .csv.gz")


def _read_npz(path: Path, columns: Columns) -> Brought:
    import zipfile
    import zlib

    try:
        if not zipfile.is_zipfile(path):  # np.load would read a lone array, or look for a pickle
            raise ValueError("it is no zip archive of arrays")  # noqa: TRY301
        with np.load(path, allow_pickle=False) as arrays:
            data = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise EmbstoreError(f"{path} cannot be read as an npz without pickles ({error}); save plain arrays") from error
    vectors = _array(path, data, columns.vectors, ndim=2)
    if vectors.dtype.kind not in "fiu" or not vectors.size:
        raise EmbstoreError(f"{path}: {columns.vectors} is {vectors.dtype} {vectors.shape}; wanted rows of numbers")
    ids = _texts(path, data, columns.identifier, len(vectors))
    genes = _texts(path, data, columns.gene, len(vectors)) if columns.gene else [""] * len(ids)
    locations = _multi_hot(path, data, columns, len(vectors)) if columns.label else [[] for _ in ids]
    features = short(digest([columns.vectors, vectors.shape[1]]))
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which the caller refuses row by row
        return Brought(ids, genes, locations, vectors.astype(np.float32), features)


def _array(path: Path, data: dict[str, Any], name: str, *, ndim: int) -> npt.NDArray[Any]:
    if name not in data or data[name].ndim != ndim:
        found = ", ".join(f"{key} {value.shape}" for key, value in data.items())
        raise EmbstoreError(f"{path} has {found}; wanted a {ndim}-dimensional array {name!r}")
    array: npt.NDArray[Any] = data[name]
    return array


def _texts(path: Path, data: dict[str, Any], name: str, rows: int) -> list[str]:
    values = _array(path, data, name, ndim=1)
    if len(values) != rows:
        raise EmbstoreError(f"{path}: {name} has {len(values)} rows and the vectors have {rows}; wanted one each")
    try:
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
        "".join(texts).encode()
    except UnicodeError as error:
        raise EmbstoreError(f"{path}: {name} holds text that is not UTF-8 ({error}); wanted UTF-8") from error
    return texts


def _multi_hot(path: Path, data: dict[str, Any], columns: Columns, rows: int) -> list[list[str]]:
    """Labels are text (one a row, `;`-joined), or multi-hot with their names beside them in `<label>_names`."""
    name = columns.label or ""
    if name in data and data[name].ndim == 1:
        return _split(_texts(path, data, name, rows), columns.unlabelled)
    hot = _array(path, data, name, ndim=2)
    names = _array(path, data, f"{name.removesuffix('s')}_names", ndim=1).tolist()
    if hot.shape != (rows, len(names)):
        raise EmbstoreError(f"{path}: {name} is {hot.shape}; wanted ({rows}, {len(names)}), a column for each name")
    return [[str(names[j]) for j in np.flatnonzero(row)] for row in hot]


def _read_csv(path: Path, columns: Columns) -> Brought:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    named = [c for c in (columns.identifier, columns.gene, columns.label) if c]
    # names are text, whatever they look like: an id 007 is no number, a gene is no date
    as_text = pacsv.ConvertOptions(column_types=dict.fromkeys(named, pa.string()))
    try:
        table = pacsv.read_csv(path, convert_options=as_text)
    except (OSError, pa.ArrowInvalid) as error:
        raise EmbstoreError(f"{path} cannot be read as a CSV: {str(error).splitlines()[0]}") from error
    twice = [c for c in table.column_names if table.column_names.count(c) > 1]
    if twice or not table.num_rows:
        found = f"the column {twice[0]!r} more than once" if twice else "no row below its header"
        raise EmbstoreError(f"{path} has {found}; wanted one row a protein and each column once")
    chosen = [c for c in table.column_names if any(fnmatchcase(c, p) for p in split_list(columns.vectors, ","))]
    if not chosen:
        raise EmbstoreError(f"{path}: no column matches {columns.vectors!r}; it has {_some(table.column_names)}")
    text = [c for c in chosen if not _numeric(table[c].type)]
    if text:
        raise EmbstoreError(f"{path}: column {text[0]!r} holds text; wanted numbers in {columns.vectors!r}")
    # a missing number becomes NaN, which the caller refuses row by row
    vectors = np.column_stack([table[c].cast(pa.float32(), safe=False).to_numpy() for c in chosen])
    ids = list(_column(path, table, columns.identifier))
    genes = list(_column(path, table, columns.gene)) if columns.gene else [""] * len(ids)
    labels = list(_column(path, table, columns.label)) if columns.label else [""] * len(ids)
    locations = _split(labels, columns.unlabelled)
    return Brought(ids, genes, locations, np.ascontiguousarray(vectors, np.float32), short(digest(chosen)))


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    # a column without any value has the type null
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _column(path: Path, table: Any, name: str) -> Iterator[str]:
    if name not in table.column_names:
        raise EmbstoreError(f"{path} has no column {name!r}; it has {_some(table.column_names)}")
    return ("" if value is None else str(value) for value in table[name].to_pylist())


def _split(labels: Sequence[str], unlabelled: str | None) -> list[list[str]]:
    # never at commas: names of locations hold them ("Golgi, Endo/Lyosome")
    return [[] if label == unlabelled else split_list(label) for label in labels]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
