"""The size, age and content of files and folders, on this machine or in a bucket."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from embstore.hdf5 import file_and_dataset
from embstore.ids import digest


class FileState(TypedDict):
    """One file of an image as it was when it was read; `path` is relative to the source root."""

    path: str
    size: int  # bytes
    mtime_ns: int
    sha256: str


def file_state(path: Path) -> tuple[int, int]:
    """Return the size in bytes and the latest modification time in ns of a file or folder; OSError if it is missing."""
    path, _ = file_and_dataset(path)
    stats = [path.stat()] if path.is_file() else [below.stat() for below in [path, *path.rglob("*")]]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's content, or of the names and contents of all files of a folder.

    For a dataset of an HDF5 file (`file.h5::name`), it is that of the name and the file's content.
    """
    path, dataset = file_and_dataset(path)
    if dataset:
        return digest([dataset, _known_sha256(path, *file_state(path))])
    if path.is_dir():
        files = sorted(below for below in path.rglob("*") if below.is_file())
        return digest([(below.relative_to(path).as_posix(), file_sha256(below)) for below in files])
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _known_sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    """Return the sha256 of a file with many datasets; computed again only when its size or time changes."""
    return file_sha256(path)


def files_state(paths: Sequence[Path]) -> tuple[int | None, int | None]:
    """Return the total size in bytes of files and their latest mtime in ns; (None, None) if one is missing."""
    try:
        states = [file_state(path) for path in paths]
    except OSError:
        return None, None
    return sum(size for size, _ in states), max(mtime_ns for _, mtime_ns in states)


@contextmanager
def whole_file(path: Path, *, replaces: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file next to `path` to be written; then rename it to `path` in one step.

    Other processes see the old file or the complete new one, never a part. If writing fails, the temporary file is
    deleted. With `replaces=False`, a file that exists by then is kept, and the new one is discarded.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        if replaces:
            unfinished.replace(path)
        else:
            with suppress(FileExistsError):  # another writer may have been first
                os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def touched(root: Path, files: Sequence[str], known: Sequence[FileState]) -> bool:
    """True if the files below `root` are not the known ones, or differ from them in size or time."""
    if [file["path"] for file in known] != list(files):
        return True
    states = [file_state(root / file) for file in files]
    return any(state != (k["size"], k["mtime_ns"]) for state, k in zip(states, known, strict=True))


def hashed(root: Path, files: Sequence[str]) -> tuple[FileState, ...]:
    """Return path, size, mtime_ns and sha256 of files below `root`; OSError if one cannot be read."""
    return tuple(_hashed(root, file) for file in files)


def _hashed(root: Path, file: str) -> FileState:
    size, mtime_ns = file_state(root / file)  # first, so that the next run notices later changes
    return {"path": file, "size": size, "mtime_ns": mtime_ns, "sha256": file_sha256(root / file)}


def content(files: Sequence[FileState]) -> str:
    """Return one digest of the contents of an image's files, in order."""
    return digest([file["sha256"] for file in files])


def sizes(uri: str) -> dict[str, int]:
    """Return path -> size in bytes of every file below `uri`, which is a path or a URI such as `s3://...`.

    Options for buckets come from the environment variables that Lance reads too (`AWS_ENDPOINT_URL`, ...).
    """
    from pyarrow.fs import FileSelector, FileType

    system, base = _system(uri)
    entries = system.get_file_info(FileSelector(base, allow_not_found=True, recursive=True))
    return {file.path.removeprefix(base).lstrip("/"): file.size for file in entries if file.type == FileType.File}


def last_bytes(uri: str, path: str, n: int) -> bytes:
    """Return the last `n` bytes of a file below `uri`, or the whole file if it is shorter."""
    system, base = _system(uri)
    with system.open_input_file(f"{base}/{path}") as file:
        file.seek(max(0, file.size() - n))
        return bytes(file.read())


def delete_file(uri: str, path: str) -> None:
    """Delete a file below `uri` (writes)."""
    system, base = _system(uri)
    system.delete_file(f"{base}/{path}")


def _system(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    system, base = FileSystem.from_uri(uri if "://" in uri else str(Path(uri).resolve()))
    return system, base
