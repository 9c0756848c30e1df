"""The state of a file, or of a folder that is one image (OME-Zarr): how large, how new, and what is in it."""

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
