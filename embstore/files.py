"""What lies on a disk or in a bucket below a store's tables."""

from __future__ import annotations


def sizes(uri: str) -> dict[str, int]:
    """Return path below `uri` -> bytes, of every file there; `uri` is an absolute path or a URI such as `s3://...`.

    Storage options come from the environment, by the names that Lance reads too (`AWS_ENDPOINT_URL`, ...).
    """
    from pyarrow.fs import FileSelector, FileSystem, FileType

    system, base = FileSystem.from_uri(uri)
    found = system.get_file_info(FileSelector(base, allow_not_found=True, recursive=True))
    return {file.path.removeprefix(base).lstrip("/"): file.size for file in found if file.type == FileType.File}
