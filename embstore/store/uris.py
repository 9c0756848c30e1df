"""Check the path or URI of a store, and word the errors for those that cannot be opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embstore.errors import StoreError


def is_folder(path: str) -> bool:
    """True if a path is a folder, False if it does not exist.

    Raises StoreError for a file, and for a path that cannot be looked up: its name is too long, its folder is closed.
    """
    try:
        if Path(path).is_dir():
            return True
        reason = "it is a file" if Path(path).exists() else ""
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise StoreError(f"cannot open a store at {path}: {reason}; name a folder with --store")
    return False


def no_store(uri: str) -> str:
    """Return the error message for a path or URI that does not exist."""
    return f"there is no store at {uri}; make one with `embstore ingest`, or name another with --store"


def not_a_store(uri: str, names: Sequence[str]) -> str:
    """Return the error message for a folder that contains other files, with their names."""
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    todo = "name an empty or a new folder with --store, or create the store next to them with `embstore ingest --force`"
    return f"{uri} is not an embstore store, and contains {listed}; {todo}"
