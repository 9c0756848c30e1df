"""Files and folders: how large, how new and what is in them, here or in a bucket."""

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
    """Return the size in bytes and the latest modification time in ns; OSError where it is missing."""
    path, _ = file_and_dataset(path)
    stats = [path.stat()] if path.is_file() else [below.stat() for below in [path, *path.rglob("*")]]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file's content, or of the names and contents of all files of a folder.

    Of a dataset that is named in an HDF5 file, of its name and the file's content.
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
    """Return the sha256 of a file that holds many datasets, taken once while its size and time stay."""
    return file_sha256(path)


def files_state(paths: Sequence[Path]) -> tuple[int | None, int | None]:
    """Return the size of an image's files together and their latest mtime in ns; two Nones where one is missing."""
    try:
        states = [file_state(path) for path in paths]
    except OSError:
        return None, None
    return sum(size for size, _ in states), max(mtime_ns for _, mtime_ns in states)


@contextmanager
def whole_file(path: Path, *, replaces: bool = True) -> Iterator[Path]:
    """Yield the path of a temporary file in the folder of `path`, to be written; then give it its name in one step.

    Whoever looks at `path` sees the file as it was or whole. Where writing fails, nothing is left of it. Without
    `replaces` a file that is there by then stays, and the new one is dropped.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield unfinished
        if replaces:
            unfinished.replace(path)
        else:
            with suppress(FileExistsError):  # of two writers at once, one is first
                os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def touched(root: Path, files: Sequence[str], known: Sequence[FileState]) -> bool:
    """Tell whether files below `root` are others than the known ones, or differ from them in size or time."""
    if [file["path"] for file in known] != list(files):
        return True
    states = [file_state(root / file) for file in files]
    return any(state != (k["size"], k["mtime_ns"]) for state, k in zip(states, known, strict=True))


def hashed(root: Path, files: Sequence[str]) -> tuple[FileState, ...]:
    """Return path, size, mtime_ns and sha256 of files below `root`; OSError where one cannot be read."""
    return tuple(_hashed(root, file) for file in files)


def _hashed(root: Path, file: str) -> FileState:
    size, mtime_ns = file_state(root / file)  # before its content: what is written meanwhile is found by the next run
    return {"path": file, "size": size, "mtime_ns": mtime_ns, "sha256": file_sha256(root / file)}


def content(files: Sequence[FileState]) -> str:
    """Return one digest over the contents of an image's files, in order."""
    return digest([file["sha256"] for file in files])


def sizes(uri: str) -> dict[str, int]:
    """Return path below `uri` -> bytes, of every file there; `uri` is a path or a URI such as `s3://...`.

    Storage options come from the environment, by the names that Lance reads too (`AWS_ENDPOINT_URL`, ...).
    """
    from pyarrow.fs import FileSelector, FileType

    system, base = _system(uri)
    found = system.get_file_info(FileSelector(base, allow_not_found=True, recursive=True))
    return {file.path.removeprefix(base).lstrip("/"): file.size for file in found if file.type == FileType.File}


def last_bytes(uri: str, path: str, n: int) -> bytes:
    """Return the last `n` bytes of a file below `uri`, or all where it has fewer."""
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
