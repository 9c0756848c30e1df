"""Files and folders: how large, how new and what is in them, here or in a bucket."""

from __future__ import annotations

import hashlib
from pathlib import Path

from embstore.ids import digest


def file_state(path: Path) -> tuple[int, int]:
    """Return the size in bytes and the latest modification time in ns; OSError where it is not there."""
    stats = [path.stat()] if path.is_file() else [below.stat() for below in [path, *path.rglob("*")]]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, or of the names and contents of all files of a folder."""
    if path.is_dir():
        files = sorted(below for below in path.rglob("*") if below.is_file())
        return digest([(below.relative_to(path).as_posix(), file_sha256(below)) for below in files])
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sizes(uri: str) -> dict[str, int]:
    """Return path below `uri` -> bytes, of every file there; `uri` is an absolute path or a URI such as `s3://...`.

    Storage options come from the environment, by the names that Lance reads too (`AWS_ENDPOINT_URL`, ...).
    """
    from pyarrow.fs import FileSelector, FileSystem, FileType

    system, base = FileSystem.from_uri(uri)
    found = system.get_file_info(FileSelector(base, allow_not_found=True, recursive=True))
    return {file.path.removeprefix(base).lstrip("/"): file.size for file in found if file.type == FileType.File}
