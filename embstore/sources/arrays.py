"""Files of NumPy arrays: npz, npy and folders of npy; headers are compared with the file, and nothing is unpickled."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy_format

from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder
from embstore.sources.matrix import EmbeddingMatrix, Numbers, checked_shape

TODO_PLAIN = "save plain arrays"
# how many times smaller than its content a member can be; for deflate, see https://www.zlib.net/zlib_tech.html
MOST_PACKED = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
OTHERWISE_PACKED = 100_000
HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Member:
    """One array of an npz, by its header: `dtype` is None for a pickle, which is never read."""

    name: str
    info: zipfile.ZipInfo
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    in_columns: bool = False  # Fortran order
    header_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.name} {self.shape}" if self.dtype is not None else f"{self.name} (a pickle)"


def npy_matrix(path: Path) -> EmbeddingMatrix:
    """Return the rows of a .npy file."""
    decode = Decoder(path, "an npy without pickles", TODO_PLAIN)
    shape, dtype = _mapped(decode, path).shape, _mapped(decode, path).dtype

    def read(rows: int) -> Iterator[Numbers]:
        for start in range(0, shape[0], rows):
            # mapped again for each block, or the pages of all blocks would stay in memory
            yield np.array(_mapped(decode, path)[start : start + rows])

    return EmbeddingMatrix(path, path.name, checked_shape(path, path.name, shape, dtype), read)


def npy_folder(folder: Path) -> tuple[list[Path], EmbeddingMatrix]:
    """Return the .npy files of a folder, sorted, and their vectors, each (dim,) or (1, dim); EmbstoreError if
    unequal.
    """
    files = sorted(path for path in folder.glob("*.npy") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise EmbstoreError(f"{folder} is a folder without .npy files; give a file, or a folder of one .npy a vector")
    dim = _vector(files[0]).size
    for file in files:
        if (size := _vector(file).size) != dim:
            raise EmbstoreError(f"{file} has {size} numbers and {files[0].name} has {dim}; wanted one length for all")

    def read(rows: int) -> Iterator[Numbers]:
        for start in range(0, len(files), rows):
            yield np.stack([np.array(_vector(file)) for file in files[start : start + rows]])

    return files, EmbeddingMatrix(folder, folder.name, (len(files), dim), read)


def _vector(file: Path) -> Numbers:
    array = _mapped(Decoder(file, "an npy without pickles", TODO_PLAIN), file)
    checked_shape(file, file.name, array.shape if array.ndim == 2 else (1, *array.shape), array.dtype)
    if array.ndim == 2 and len(array) != 1:
        raise EmbstoreError(f"{file} has {len(array)} rows; in a folder of .npy files, wanted one vector in each")
    return array.reshape(-1)


def _mapped(decode: Decoder, path: Path) -> Numbers:
    # the operating system refuses a header that claims more than the file contains
    return cast("Numbers", decode(npy_format.open_memmap, path, mode="r"))


def npz_members(path: Path) -> Mapping[str, Member]:
    """Return the arrays of an npz by name, from their headers; EmbstoreError if it is no zip archive."""
    decode = Decoder(path, "an npz without pickles", TODO_PLAIN)
    if not decode(zipfile.is_zipfile, path):  # np.load would read a lone array, or look for a pickle
        raise EmbstoreError(f"{path} cannot be read as an npz without pickles (it is no zip archive); {TODO_PLAIN}")
    with decode(zipfile.ZipFile, path) as archive:
        entries = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {member.name: member for member in (_member(decode, archive, info) for info in entries)}


def _member(decode: Decoder, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Return an array as its header describes it; if the header cannot be read, only using the array is an error."""
    name = info.filename.removesuffix(".npy")
    try:
        with decode(archive.open, info) as file:
            begins = io.BytesIO(decode(file.read, HEADER_BYTES))
        shape, in_columns, dtype = _header(decode, begins)
    except EmbstoreError:
        return Member(name, info)
    return Member(name, info, shape, None if dtype.hasobject else dtype, in_columns, begins.tell())


def _header(decode: Decoder, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = decode(npy_format.read_magic, file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    return decode(read, file)


def npz_array(path: Path, member: Member) -> Numbers:
    """Return one array of an npz, of any shape."""
    dtype = _plain(path, member)
    decode = Decoder(path, "an npz without pickles", TODO_PLAIN)
    with decode(zipfile.ZipFile, path) as archive, decode(archive.open, member.info) as file:
        decode(file.read, member.header_bytes)
        data = decode(file.read)
    flat = decode(np.frombuffer, data, dtype)
    return cast("Numbers", decode(np.reshape, flat, member.shape, order="F" if member.in_columns else "C"))


def npz_matrix(path: Path, member: Member) -> EmbeddingMatrix:
    """Return the rows of one array of an npz."""
    dtype = _plain(path, member)
    shape = checked_shape(path, member.name, member.shape, dtype)
    decode = Decoder(path, "an npz without pickles", TODO_PLAIN)

    def read(rows: int) -> Iterator[Numbers]:
        with decode(zipfile.ZipFile, path) as archive, decode(archive.open, member.info) as file:
            decode(file.read, member.header_bytes)
            if member.in_columns:
                yield from _from_columns(decode, file, shape, dtype, rows)
                return
            for start in range(0, shape[0], rows):
                count = min(rows, shape[0] - start)
                data = decode(file.read, count * shape[1] * dtype.itemsize)
                yield decode(np.reshape, decode(np.frombuffer, data, dtype), (count, shape[1]))

    return EmbeddingMatrix(path, member.name, shape, read)


def _from_columns(
    decode: Decoder, file: IO[bytes], shape: tuple[int, int], dtype: np.dtype[Any], rows: int
) -> Iterator[Numbers]:
    """Yield rows of an array that is stored column by column, by way of a temporary file."""
    with tempfile.TemporaryFile() as unpacked:
        decode(shutil.copyfileobj, file, unpacked)
        unpacked.flush()
        for start in range(0, shape[0], rows):
            mapped = decode(np.memmap, unpacked, dtype, "r", shape=shape, order="F")
            yield np.array(mapped[start : start + rows])


def _plain(path: Path, member: Member) -> np.dtype[Any]:
    """Return an array's dtype; EmbstoreError for a pickle, and for a header that claims more than the file contains."""
    if member.dtype is None:
        raise EmbstoreError(
            f"{path} cannot be read as an npz without pickles ({member.name} is a pickle or damaged); save it as a "
            "plain array, such as with .astype(str)"
        )
    claimed = math.prod(member.shape) * member.dtype.itemsize
    contained = member.info.file_size - member.header_bytes
    possible = MOST_PACKED.get(member.info.compress_type, OTHERWISE_PACKED) * member.info.compress_size
    if claimed != contained or contained > possible or min(member.shape, default=0) < 0:
        available = min(contained, possible)
        raise EmbstoreError(
            f"{path}: the header of {member.name} claims {claimed} bytes and the file contains at most {available}; "
            "save it again"
        )
    return member.dtype
