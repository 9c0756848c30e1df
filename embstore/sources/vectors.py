"""External embeddings: npz, npy, CSV(.gz), TSV, Parquet, xlsx and h5ad files with one vector in each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from embstore.arrays import Float32s
from embstore.errors import EmbstoreError
from embstore.ids import digest, short, split_list
from embstore.sources.arrays import Member, npy_folder, npy_matrix, npz_array, npz_matrix, npz_members
from embstore.sources.decoding import Decoder
from embstore.sources.delimited import refuse_workbook
from embstore.sources.h5ad import INDEX, open_h5ad
from embstore.sources.matrix import EmbeddingMatrix
from embstore.sources.multi_hot import locations_of_hot
from embstore.sources.tables import TABLE_SUFFIXES, is_table
from embstore.sources.values import as_text, spelled_missing
from embstore.sources.vector_columns import Columns
from embstore.sources.vector_tables import VectorTable, first_names, open_table, table_matrix
from embstore.sources.workbooks import file_and_sheet

VECTOR_FORMATS = ", ".join((*TABLE_SUFFIXES, ".npz", ".npy", ".h5ad"))


@dataclass(frozen=True, repr=False)
class ExternalEmbeddings:
    """The rows of a file: `ids`, `genes` and `locations` by row, and their vectors, which `blocks` reads again."""

    path: Path
    matrix: EmbeddingMatrix
    ids: Sequence[str]
    genes: Sequence[str]
    locations: Sequence[Sequence[str]]
    features: str  # a digest of which numbers these are: the columns in order, or the array's key and length
    notes: tuple[str, ...] = ()  # which columns became the vector, and which did not
    columns: Sequence[str] = ()  # of a table that became the vector, in order
    row_names: Sequence[str] = ()  # of rows without an id or gene, if the file names them
    sources: Callable[[Sequence[int]], Sequence[str]] = field(default=lambda rows: [str(row + 1) for row in rows])

    def __repr__(self) -> str:
        rows, dim = self.matrix.shape
        return f"<ExternalEmbeddings: {rows} rows of {dim} numbers>"

    def __len__(self) -> int:
        return self.matrix.shape[0]

    @property
    def dim(self) -> int:
        """Return the length of a vector."""
        return self.matrix.shape[1]

    def blocks(self) -> Iterator[Float32s]:
        """Yield all vectors in order, float32 (rows, dim), a few tens of MB at a time."""
        return self.matrix.blocks()

    @property
    def vectors(self) -> Float32s:
        """Return all vectors at once, float32 (n, dim)."""
        return np.concatenate(list(self.blocks()))


Texts = tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]  # ids, genes, locations


def read_vectors(path: str | Path, columns: Columns) -> ExternalEmbeddings:
    """Return the rows of a file of embeddings; EmbstoreError if the file or a column is missing."""
    path = Path(path)
    if path.is_dir():
        return _of_folder(path, columns)
    if not file_and_sheet(path)[0].is_file():
        raise EmbstoreError(f"there is no file {path}; give a file of embeddings ({VECTOR_FORMATS})")
    refuse_workbook(path)
    if is_table(path):
        return _of_table(path, columns)
    if path.suffix == ".npy":
        return _of_npy(path, columns)
    if path.suffix == ".npz":
        return _of_npz(path, columns)
    if path.suffix == ".h5ad":
        return _of_h5ad(path, columns)
    raise EmbstoreError(f"{path.name} is not a file of embeddings; wanted one of {VECTOR_FORMATS}")


# -- tables ----------------------------------------------------------------------------------------------------------


def _of_table(path: Path, columns: Columns) -> ExternalEmbeddings:
    table = open_table(path, named=columns.named, header=columns.header)
    hidden, renamed = columns.hidden(table.schema.names)
    choice, numbers, matrix = table_matrix(table, patterns=columns.embeddings, named=[*columns.named, *hidden])
    (ids, genes, locations), missing = _texts(table, columns, matrix.shape[0])
    features = short(digest(numbers))
    return ExternalEmbeddings(
        path,
        matrix,
        ids,
        genes,
        locations,
        features,
        table.notes + renamed + choice.notes + missing,
        choice.columns if len(choice.columns) == matrix.shape[1] else (),
        sources=_by_line(table, matrix.shape[0]),
    )


def _by_line(table: VectorTable, rows: int) -> Callable[[Sequence[int]], Sequence[str]]:
    def sources(chosen: Sequence[int]) -> Sequence[str]:
        lines = table.lines(rows)
        return [str(lines[row]) for row in chosen]

    return sources


def _texts(table: VectorTable, columns: Columns, rows: int) -> tuple[Texts, tuple[str, ...]]:
    """Return the ids, genes and locations of rows, and a note on each column with spelled-out missing values."""
    text_columns = table.texts(columns.named) if columns.named else pa.table({})
    decode = Decoder(table.path, "text", "save it as UTF-8")
    values = {name: decode(text_columns[name].to_pylist) for name in columns.named}
    texts = {name: _utf8(table.path, name, column) for name, column in values.items()}
    return _meanings(texts, columns, rows), tuple(note for name in values for note in _missing(name, values[name]))


def _missing(name: str, values: Sequence[object]) -> Iterator[str]:
    counts = spelled_missing(value for value in values if isinstance(value, str))
    if counts:
        listed = ", ".join(f"{spelling}: {n}" for spelling, n in counts.items())
        yield f"{name}: {sum(counts.values())} values mean a missing one ({listed})"


def _meanings(texts: Mapping[str, Sequence[str]], columns: Columns, rows: int) -> Texts:
    """Return the ids, genes and locations of rows; empty if no column was named for them."""
    empty = [""] * rows
    ids = texts[columns.identifier] if columns.identifier else empty
    genes = texts[columns.gene] if columns.gene else empty
    return ids, genes, _split(texts[columns.label], columns.unlabelled) if columns.label else [[]] * rows


def _split(labels: Sequence[str], unlabelled: str | None) -> list[list[str]]:
    # never at commas: names of locations contain them ("Golgi, Endo/Lyosome")
    return [[] if label == unlabelled else split_list(label) for label in labels]


# -- arrays ----------------------------------------------------------------------------------------------------------


def _of_npy(path: Path, columns: Columns) -> ExternalEmbeddings:
    """Return the rows of a .npy, which contains only numbers; the table next to it names its rows."""
    matrix = npy_matrix(path)
    rows, dim = matrix.shape
    texts, missing = (_meanings({}, columns, rows), ()) if not columns.named else _beside(path, columns, rows)
    return ExternalEmbeddings(path, matrix, *texts, short(digest([dim])), (_feature_note(path.name, dim), *missing))


def _beside(path: Path, columns: Columns, rows: int) -> tuple[Texts, tuple[str, ...]]:
    beside = Path(columns.table) if columns.table else path.with_suffix(".csv")
    if not file_and_sheet(beside)[0].is_file():
        raise EmbstoreError(
            f"{path.name} contains only numbers, and there is no {beside}; name its rows with --table FILE"
        )
    table = open_table(beside, named=columns.named, header=columns.header)
    n_rows = table.texts(columns.named).num_rows
    if n_rows != rows:
        raise EmbstoreError(f"{path.name} has {rows} rows and {beside.name} has {n_rows}; wanted one each")
    return _texts(table, columns, rows)


def _of_folder(path: Path, columns: Columns) -> ExternalEmbeddings:
    """Return the vectors of a folder of .npy files, one each; a row is named by its file."""
    if columns.named:
        raise EmbstoreError(
            f"{path} is a folder of .npy files, whose names are the only names of rows; leave out "
            f"{', '.join(columns.named)}, or join them into one file with a table"
        )
    files, matrix = npy_folder(path)
    rows, dim = matrix.shape
    note = f"{_feature_note('one vector a file', dim)}; {rows} files, {files[0].name} to {files[-1].name}"
    return ExternalEmbeddings(
        path,
        matrix,
        *_meanings({}, columns, rows),
        short(digest([dim])),
        (note,),
        row_names=[file.stem for file in files],
        sources=lambda chosen: [files[row].name for row in chosen],
    )


def _of_npz(path: Path, columns: Columns) -> ExternalEmbeddings:
    members = npz_members(path)
    key = columns.embeddings or _only_matrix(path, members)
    matrix = npz_matrix(path, _member(path, members, key, ndim=2))
    rows, dim = matrix.shape
    texts = {
        name: _array_texts(path, members, name, rows)
        for name in columns.named
        if not _is_multi_hot(members, columns, name)
    }
    hot = bool(columns.label) and columns.label not in texts
    ids, genes, locations = _meanings(texts, columns if not hot else _without_label(columns), rows)
    locations = _multi_hot(path, members, columns, rows) if hot else locations
    features, notes = short(digest([key, dim])), (_feature_note(key, dim),)
    return ExternalEmbeddings(path, matrix, ids, genes, locations, features, notes)


def _feature_note(key: str, dim: int) -> str:
    return f"features: {key}, {dim} numbers"


def _only_matrix(path: Path, members: Mapping[str, Member]) -> str:
    names = [name for name, m in members.items() if len(m.shape) == 2 and m.dtype is not None and m.dtype.kind in "fiu"]
    if len(names) != 1:
        listed = first_names([str(member) for member in members.values()])
        raise EmbstoreError(f"{path} has {listed}; choose the one with the vectors: --embeddings KEY")
    return names[0]


def _member(path: Path, members: Mapping[str, Member], name: str, *, ndim: int) -> Member:
    member = members.get(name)
    if member is None or (member.dtype is not None and len(member.shape) != ndim):
        listed = first_names([str(member) for member in members.values()])
        raise EmbstoreError(f"{path} has {listed}; wanted a {ndim}-dimensional array {name!r}")
    return member


def _array_texts(path: Path, members: Mapping[str, Member], name: str, rows: int) -> list[str]:
    values = npz_array(path, _member(path, members, name, ndim=1))
    if len(values) != rows:
        raise EmbstoreError(f"{path}: {name} has {len(values)} rows and the vectors have {rows}; wanted one each")
    return _utf8(path, name, values.tolist())


def _utf8(path: Path, name: str, values: Sequence[object]) -> list[str]:
    try:
        texts = [as_text(value) for value in values]
        "".join(texts).encode()
    except UnicodeError as error:
        raise EmbstoreError(f"{path}: {name} contains text that is not UTF-8 ({error}); wanted UTF-8") from error
    return texts


def _is_multi_hot(members: Mapping[str, Member], columns: Columns, name: str) -> bool:
    return name == columns.label and name in members and len(members[name].shape) != 1


def _without_label(columns: Columns) -> Columns:
    return Columns(columns.embeddings, columns.identifier, columns.gene)


def _multi_hot(path: Path, members: Mapping[str, Member], columns: Columns, rows: int) -> list[list[str]]:
    """Return the locations of rows from 0 and 1 in each column; `<label>_names` names the columns."""
    name = columns.label or ""
    hot = npz_array(path, _member(path, members, name, ndim=2))
    beside = f"{name.removesuffix('s')}_names"
    names = _utf8(path, beside, npz_array(path, _member(path, members, beside, ndim=1)).tolist())
    return locations_of_hot(path, name, hot, names, rows)


def _of_h5ad(path: Path, columns: Columns) -> ExternalEmbeddings:
    key = columns.embeddings or "X"
    data = open_h5ad(path, key)
    texts = {name: _utf8(path, name, data.column(name)) for name in columns.named}
    matrix = data.matrix(key)
    rows, dim = matrix.shape
    index = _utf8(path, INDEX, data.column(INDEX))
    if len(index) != rows:
        raise EmbstoreError(f"{path}: {key} has {rows} rows and obs has {len(index)}; save it again")
    return ExternalEmbeddings(
        path, matrix, *_meanings(texts, columns, rows), short(digest([key, dim])), (_feature_note(key, dim),)
    )
