"""Where the files are that a table names: written on another system, in another case or Unicode form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath


def with_slashes(root: Path, file: str) -> str:
    r"""Return a path with `/` for `\` where only that names a file below the root, else as it is."""
    turned = file.replace("\\", "/")
    return turned if turned != file and not exists(root, file) and exists(root, turned) else file


def exists(root: Path, file: str) -> bool:
    """True if there is such a file; False for what no file can be called."""
    try:
        return (root / file).exists()
    except (OSError, ValueError):  # a null byte, a name too long
        return False


def foreign_folder(root: Path, files: Sequence[str]) -> str | None:
    r"""Return the folder of another computer that stands for the root, such as `C:\screen`: one for all files.

    It is the shortest without which the first of the absolute paths that exist nowhere is a file below the root.
    """
    absent = (file for file in files if _is_absolute(file) and not exists(root, file))
    for file in absent:
        parts = _parts(file)
        for cut in range(1, len(parts)):
            if exists(root, "/".join(parts[cut:])):
                return "/".join(parts[:cut])
    return None


def without_folder(file: str, folder: str) -> str:
    """Return a path relative to a folder of another computer, or as it is where it lies elsewhere."""
    parts, above = _parts(file), folder.split("/")
    return "/".join(parts[len(above) :]) if _is_absolute(file) and parts[: len(above)] == above else file


def existing_like(root: Path, file: str) -> str | None:
    """Return the path below the root that differs from `file` in case, Unicode form or slashes alone."""
    here, found = root, []
    for part in PurePosixPath(file.replace("\\", "/")).parts:
        name = next((name for name in _names(here) if _alike(name) == _alike(part)), None)
        if name is None:
            return None
        found.append(name)
        here /= name
    return "/".join(found) or None


def difference(file: str, other: str) -> str:
    """Return in what two names differ that `existing_like` found to be alike."""
    if "\\" in file:
        return "write / for \\"
    if unicodedata.normalize("NFC", file) == unicodedata.normalize("NFC", other):
        return "its name has another Unicode form (NFC, NFD); rename the file"
    return "upper and lower case differ"


def _names(folder: Path) -> Iterable[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (OSError, ValueError):
        return ()


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_absolute(file: str) -> bool:
    return PureWindowsPath(file).is_absolute() or PurePosixPath(file).is_absolute()


def _parts(file: str) -> list[str]:
    return file.replace("\\", "/").split("/")
