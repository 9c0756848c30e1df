"""External embeddings: npz, npy, CSV(.gz), TSV, Parquet and h5ad files of one vector a row, of proteins or of cells."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embstore.arrays import Float32s
from embstore.errors import EmbstoreError
from embstore.ids import digest, short, split_list
from embstore.sources.arrays import NamedArrays, read_arrays
from embstore.sources.delimited import decimal_mark, delimiter, lines, open_packed, refuse_workbook, text_records
from embstore.sources.tables import TABLE_SUFFIXES, is_table

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR_FORMATS = ", ".join((*TABLE_SUFFIXES, ".npz", ".npy", ".h5ad"))


@dataclass(frozen=True, repr=False)
class ExternalEmbeddings:
    """The rows of a file: `ids`, `genes` and `locations` by row, `vectors` float32 (n, dim) as they were."""

    ids: list[str]
    genes: list[str]
    locations: list[list[str]]
    vectors: Float32s
    lines: list[int]  # of a text file, on which each row begins; else the rows' numbers from 1
    features: str  # a digest of which numbers these are: the columns in order, or the array's key and how many

    def __repr__(self) -> str:
        rows, dim = self.vectors.shape
        return f"<ExternalEmbeddings: {rows} rows of {dim} numbers>"


@dataclass(frozen=True)
class Columns:
    """Which columns (tables) or arrays mean what; `embeddings` is a key, or patterns such as `FS*,FP*`.

    Without `embeddings`, the vectors are all columns of a table that have no other meaning. Without `identifier` and
    `gene` the rows name no protein. The columns of a table without a `header` are called 1, 2, 3, ...; `table` names
    the rows of a .npy.
    """

    embeddings: str | None = None
    identifier: str | None = None
    gene: str | None = None
    label: str | None = None
    unlabelled: str | None = None  # the value that stands for no label
    header: bool = True
    table: str | Path | None = None

    @property
    def named(self) -> list[str]:
        """The columns of text."""
        return [c for c in (self.identifier, self.gene, self.label) if c]


def read_vectors(path: str | Path, columns: Columns) -> ExternalEmbeddings:
    """Return the rows of a file of vectors; a missing file or column is an EmbstoreError."""
    path = Path(path)
    if not path.is_file():
        raise EmbstoreError(f"there is no file {path}; give a file of vectors ({VECTOR_FORMATS})")
    refuse_workbook(path)
    if is_table(path):
        return _of_table(path, _read(path, columns), columns)
    if path.suffix == ".npy":
        return _beside_npy(path, columns)
    if path.suffix in (".npz", ".h5ad"):
        return _of_arrays(path, read_arrays(path, columns.embeddings, columns.named), columns)
    raise EmbstoreError(f"{path.name} is not a file of vectors; wanted one of {VECTOR_FORMATS}")


def _of_arrays(path: Path, data: NamedArrays, columns: Columns) -> ExternalEmbeddings:
    key = columns.embeddings or _only_array(path, data)
    vectors = _numbers(path, key, _array(path, data, key, ndim=2))
    rows = len(vectors)
    ids = _texts(path, data, columns.identifier, rows) if columns.identifier else [""] * rows
    genes = _texts(path, data, columns.gene, rows) if columns.gene else [""] * rows
    locations = _multi_hot(path, data, columns, rows) if columns.label else [[] for _ in ids]
    return ExternalEmbeddings(ids, genes, locations, vectors, _numbered(rows), short(digest([key, vectors.shape[1]])))


def _beside_npy(path: Path, columns: Columns) -> ExternalEmbeddings:
    """A .npy holds numbers alone; the table beside it says what each row is of."""
    vectors = _numbers(path, path.name, read_arrays(path, None, [])[path.name])
    features = short(digest([vectors.shape[1]]))
    if not columns.named:
        empty = [""] * len(vectors)
        return ExternalEmbeddings(empty, empty, [[] for _ in empty], vectors, _numbered(len(vectors)), features)
    beside = Path(columns.table) if columns.table else path.with_suffix(".csv")
    if not beside.is_file():
        raise EmbstoreError(
            f"{path.name} holds numbers alone and there is no {beside}; name its rows with --table FILE"
        )
    table = _read(beside, columns)
    if table.num_rows != len(vectors):
        raise EmbstoreError(
            f"{path.name} has {len(vectors)} rows and {beside.name} has {table.num_rows}; wanted one each"
        )
    ids, genes, locations = _names(beside, table, columns)
    return ExternalEmbeddings(ids, genes, locations, vectors, _numbered(len(vectors)), features)


def _numbers(path: Path, key: str, vectors: npt.NDArray[Any]) -> Float32s:
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not vectors.size:
        raise EmbstoreError(f"{path}: {key} is {vectors.dtype} {vectors.shape}; wanted rows of numbers")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which the caller refuses row by row
        return np.ascontiguousarray(vectors, np.float32)


def _only_array(path: Path, data: NamedArrays) -> str:
    tables = [key for key, value in data.items() if value.ndim == 2 and value.dtype.kind in "fiu"]
    if len(tables) != 1:
        raise EmbstoreError(f"{path} has {_some(list(data))}; say which holds the vectors: --embeddings KEY")
    return tables[0]


def _array(path: Path, data: NamedArrays, name: str, *, ndim: int) -> npt.NDArray[Any]:
    if name not in data or data[name].ndim != ndim:
        found = ", ".join(f"{key} {value.shape}" for key, value in data.items())
        raise EmbstoreError(f"{path} has {found}; wanted a {ndim}-dimensional array {name!r}")
    array: npt.NDArray[Any] = data[name]
    return array


def _texts(path: Path, data: NamedArrays, name: str, rows: int) -> list[str]:
    values = _array(path, data, name, ndim=1)
    if len(values) != rows:
        raise EmbstoreError(f"{path}: {name} has {len(values)} rows and the vectors have {rows}; wanted one each")
    try:
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
        "".join(texts).encode()
    except UnicodeError as error:
        raise EmbstoreError(f"{path}: {name} holds text that is not UTF-8 ({error}); wanted UTF-8") from error
    return texts


def _multi_hot(path: Path, data: NamedArrays, columns: Columns, rows: int) -> list[list[str]]:
    """Labels are text (one a row, `;`-joined), or multi-hot with their names beside them in `<label>_names`."""
    name = columns.label or ""
    if name in data and data[name].ndim == 1:
        return _split(_texts(path, data, name, rows), columns.unlabelled)
    hot = _array(path, data, name, ndim=2)
    names = _array(path, data, f"{name.removesuffix('s')}_names", ndim=1).tolist()
    if hot.shape != (rows, len(names)):
        raise EmbstoreError(f"{path}: {name} is {hot.shape}; wanted ({rows}, {len(names)}), a column for each name")
    return [[str(names[j]) for j in np.flatnonzero(row)] for row in hot]


def _read(path: Path, columns: Columns) -> pa.Table:
    """Return a table as Arrow, named columns as text: an id 007 is no number, a gene is no date."""
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    kind = "Parquet" if path.suffix == ".parquet" else "CSV"
    try:
        if kind == "Parquet":
            return _utf8(path, pq.read_table(path))
        text = {c if columns.header else f"f{int(c) - 1}" if c.isdigit() else c: pa.string() for c in columns.named}
        with open_packed(path) as file:
            table = pacsv.read_csv(
                file,
                read_options=pacsv.ReadOptions(autogenerate_column_names=not columns.header),
                parse_options=pacsv.ParseOptions(delimiter=delimiter(path)),
                convert_options=pacsv.ConvertOptions(column_types=text, decimal_point=decimal_mark(path)),
            )
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise EmbstoreError(f"{path} cannot be read as a {kind}: {str(error).splitlines()[0]}") from error
    return _utf8(
        path, table if columns.header else table.rename_columns([str(i + 1) for i in range(table.num_columns)])
    )


def _utf8(path: Path, table: pa.Table) -> pa.Table:
    try:
        "".join(table.column_names)
    except UnicodeDecodeError as error:
        raise EmbstoreError(f"{path} has a column whose name is not UTF-8 ({error}); save it as UTF-8") from error
    return table


def _of_table(path: Path, table: pa.Table, columns: Columns) -> ExternalEmbeddings:
    twice = [c for c in table.column_names if table.column_names.count(c) > 1]
    if twice or not table.num_rows:
        found = f"the column {twice[0]!r} more than once" if twice else "no row below its header"
        raise EmbstoreError(f"{path} has {found}; wanted one row a protein and each column once")
    ids, genes, locations = _names(path, table, columns)
    chosen, vectors = _vectors(path, table, columns)
    at = _lines(path, len(vectors), header=columns.header)
    return ExternalEmbeddings(ids, genes, locations, vectors, at, short(digest(chosen)))


def _lines(path: Path, rows: int, *, header: bool) -> list[int]:
    """Return where each row begins: lines of text, or numbers from 1 in Parquet."""
    if path.suffix == ".parquet":
        return _numbered(rows)
    found = lines(path)[int(header) :]
    # a field may hold a line's end; to look for those costs more than reading
    return found if len(found) == rows else [line for line, _ in text_records(path)][int(header) :]


def _numbered(rows: int) -> list[int]:
    return list(range(1, rows + 1))


def _vectors(path: Path, table: pa.Table, columns: Columns) -> tuple[list[Any], Float32s]:
    """Return what the numbers are called, and the numbers: columns that match, or one column of lists."""
    import pyarrow as pa

    patterns = split_list(columns.embeddings or "*", ",")
    free = [c for c in table.column_names if c not in columns.named]
    chosen = [c for c in free if any(fnmatchcase(c, p) for p in patterns)]
    if not chosen:
        raise EmbstoreError(f"{path}: no column matches {columns.embeddings!r}; it has {_some(table.column_names)}")
    if len(chosen) == 1 and _is_list(table[chosen[0]].type):
        vectors = _lists(path, chosen[0], table[chosen[0]])
        return [chosen[0], vectors.shape[1]], vectors
    text = [c for c in chosen if not _numeric(table[c].type)]
    if text:
        wanted = (
            repr(columns.embeddings)
            if columns.embeddings
            else "all columns without another meaning (--embeddings names them)"
        )
        raise EmbstoreError(f"{path}: column {text[0]!r} holds text; wanted numbers in {wanted}")
    # a missing number becomes NaN, which the caller refuses row by row
    columned = [table[c].cast(pa.float32(), safe=False).to_numpy() for c in chosen]
    return chosen, np.ascontiguousarray(np.column_stack(columned), np.float32)


def _lists(path: Path, name: str, column: pa.ChunkedArray) -> Float32s:
    """Stack a column of lists; a missing list is a row of NaN, which the caller refuses."""
    values = column.to_pylist()
    lengths = {len(value) for value in values if value is not None}
    if len(lengths) != 1 or not lengths.isdisjoint({0}):
        raise EmbstoreError(f"{path}: {name} holds lists of {sorted(lengths)[:4]} numbers; wanted one length for all")
    (dim,) = lengths
    rows = [[np.nan] * dim if value is None else value for value in values]
    with np.errstate(over="ignore"):
        return np.array(rows, np.float64).astype(np.float32)


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    of_lists = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    return bool(of_lists and _numeric(kind.value_type))


def _names(path: Path, table: pa.Table, columns: Columns) -> tuple[list[str], list[str], list[list[str]]]:
    empty = [""] * table.num_rows
    ids = list(_column(path, table, columns.identifier)) if columns.identifier else empty
    genes = list(_column(path, table, columns.gene)) if columns.gene else empty
    labels = list(_column(path, table, columns.label)) if columns.label else empty
    return ids, genes, _split(labels, columns.unlabelled)


def _numeric(kind: pa.DataType) -> bool:
    import pyarrow as pa

    # a column without any value has the type null
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _column(path: Path, table: pa.Table, name: str) -> Iterator[str]:
    if name not in table.column_names:
        raise EmbstoreError(f"{path} has no column {name!r}; it has {_some(table.column_names)}")
    return ("" if value is None else str(value) for value in table[name].to_pylist())


def _split(labels: Sequence[str], unlabelled: str | None) -> list[list[str]]:
    # never at commas: names of locations hold them ("Golgi, Endo/Lyosome")
    return [[] if label == unlabelled else split_list(label) for label in labels]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
