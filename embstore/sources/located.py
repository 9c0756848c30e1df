"""Find the files that a table names, if it was written on another system, in another case or Unicode form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath


def with_slashes(root: Path, file: str) -> str:
    r"""Return a path with `/` for `\` if only that names a file below the root, else unchanged."""
    turned = file.replace("\\", "/")
    return turned if turned != file and not exists(root, file) and exists(root, turned) else file


def exists(root: Path, file: str) -> bool:
    """True if the file exists; False for a name that no file can have."""
    try:
        return (root / file).exists()
    except (OSError, ValueError):  # a null byte, a name that is too long
        return False


def foreign_folder(root: Path, files: Sequence[str]) -> str | None:
    r"""Return the folder of another computer that corresponds to the root, such as `C:\screen`: one for all files.

    It is the shortest one without which the first of the absolute paths that exist nowhere is a file below the root.
    """
    absent = (file for file in files if _is_absolute(file) and not exists(root, file))
    for file in absent:
        parts = _parts(file)
        for cut in range(1, len(parts)):
            if exists(root, "/".join(parts[cut:])):
                return "/".join(parts[:cut])
    return None


def without_folder(file: str, folder: str) -> str:
    """Return a path relative to a folder of another computer, or unchanged if it is elsewhere."""
    parts, above = _parts(file), folder.split("/")
    return "/".join(parts[len(above) :]) if _is_absolute(file) and parts[: len(above)] == above else file


def existing_like(root: Path, file: str) -> str | None:
    """Return the path below the root that differs from `file` only in case, Unicode form or slashes."""
    here, names = root, []
    for part in PurePosixPath(file.replace("\\", "/")).parts:
        name = next((name for name in _names(here) if _alike(name) == _alike(part)), None)
        if name is None:
            return None
        names.append(name)
        here /= name
    return "/".join(names) or None


def difference(file: str, other: str) -> str:
    """Return in what two names differ that `existing_like` treats as equal."""
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
