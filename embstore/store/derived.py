"""What was computed from the tables of a store, kept beside them so that the next process need not compute it again.

Such a file may be deleted at any time. Stores in a bucket keep none, and neither does a folder that cannot be written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from embstore.store.store import Store

DERIVED = ".derived"  # a hidden folder: no table, and not listed among the files of a store


def read_derived(store: Store, name: str) -> pa.Table | None:
    """Return the table kept under a name; None where there is none that can be read."""
    path = _path(store, name)
    if path is None or not path.is_file():
        return None
    try:
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()
    except (pa.ArrowInvalid, OSError):  # cut short by a full disk, for example: computed again
        return None


def write_derived(store: Store, name: str, table: pa.Table) -> None:
    """Keep a table under a name, in place of an older one, where the store's folder can be written."""
    path = _path(store, name)
    if path is None or store.at is not None:
        return
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def forget_derived(store: Store) -> None:
    """Delete whatever was kept: after a removal it may contain traces of what was taken out."""
    folder = _path(store, "any")
    if folder is not None:
        shutil.rmtree(folder.parent, ignore_errors=True)


def _path(store: Store, name: str) -> Path | None:
    return None if "://" in store.uri else Path(store.uri) / DERIVED / f"{name}.arrow"
