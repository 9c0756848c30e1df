"""Files that could not be used: what is wrong with them, and their rows of `failures`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from embstore.files import files_state
from embstore.hdf5 import file_and_dataset
from embstore.ids import short
from embstore.ingest.work import Work
from embstore.sources.record import Failure
from embstore.space import Space
from embstore.store import FailureRow, Store, now, quoted

_log = logging.getLogger(__name__)


def image_failure(work: Work, error: str, todo: str) -> Failure:
    """Return what is wrong with an image or its masks, under the name of its first file."""
    masks = work.image.masks.files if work.image.masks else ()
    files = tuple(map(str, [*(work.root / file for file in work.image.files), *masks]))
    return Failure(files[0], "read", error, todo, files)


def embed_failure(work: Work, space: Space, error: str, todo: str) -> Failure:
    """Return what is wrong with an image in one space; in other spaces it may have vectors."""
    return replace(image_failure(work, error, todo), stage=embed_stage(space.digest))


def embed_stage(space: str) -> str:
    """Return the stage of images whose vectors in a space, named by its digest, cannot be computed."""
    return f"embed {short(space)}"


def unread_failure(work: Work, error: OSError) -> Failure:
    """Return what the file system reports about an image's file."""
    return image_failure(work, f"cannot be read: {error.strerror or error}", "check the file, then run it again")


def log_failure(failure: Failure) -> None:
    """Write a failure to the log, as a warning of one line."""
    _log.warning("%s: %s; %s", failure.source, failure.error, failure.todo)


def record_failures(store: Store, failures: Sequence[Failure], *, usable: Sequence[str]) -> int:
    """Write the rows of `failures` that are new or changed, and delete those of sources that are `usable` now.

    A file that failed now keeps only its present failures. A usable table covers all of its rows, `<table>:<row>`, and,
    like any usable file, those of tables that are missing from its folder: they were renamed or moved.
    Returns the table's version.
    """
    stored: dict[tuple[str, str], FailureRow] = {
        (row["source"], row["stage"]): row for row in store.read("failures").to_pylist()
    }
    rows = {(failure.source, failure.stage): _failure_row(failure) for failure in failures}
    seen = {source for source, _ in rows}.union(usable)
    folders = {os.path.dirname(source) for source in usable}  # noqa: PTH120  # of a million paths
    gone = [
        key
        for key in stored
        if key not in rows
        and (not seen.isdisjoint((key[0], key[0].rpartition(":")[0])) or _is_of_missing_table(key[0], folders))
    ]
    for stage in dict.fromkeys(stage for _, stage in gone):
        listed = ", ".join(quoted(source) for source, s in gone if s == stage)
        store.delete("failures", f"stage = {quoted(stage)} AND source IN ({listed})")
    return store.upsert("failures", [row for key, row in rows.items() if not _same_failure(row, stored.get(key))])


def _is_of_missing_table(source: str, folders: set[str]) -> bool:
    """True if a failure is of a row of a table that was in one of these folders and is there no longer."""
    if file_and_dataset(source)[1]:  # `fields.h5::1` is a dataset
        return False
    table, _, row = source.rpartition(":")
    path = Path(table)
    return row.isdecimal() and str(path.parent) in folders and not path.exists()


def _same_failure(row: FailureRow, stored: FailureRow | None) -> bool:
    return stored is not None and {**stored, "failed_at": None} == {**row, "failed_at": None}


def _failure_row(failure: Failure) -> FailureRow:
    size, mtime_ns = files_state([Path(file) for file in failure.files or (failure.source,)])
    return {
        "source": failure.source,
        "stage": failure.stage,
        "error": failure.error,
        "todo": failure.todo,
        "size": size,
        "mtime_ns": mtime_ns,
        "failed_at": now(),
    }
