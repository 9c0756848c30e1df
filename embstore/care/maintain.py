"""Reduce files and bytes: join small fragments, and delete old versions that no tag names."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, TypedDict

from embstore.care.tags import list_tags
from embstore.errors import DISK_FULL, EmbstoreError, StoreError, first_line
from embstore.progress import Progress, tracked
from embstore.store import Store, TableStatus, refuse_reader
from embstore.tabular import Listing

_log = logging.getLogger(__name__)

KEEP_DAYS = 7.0  # long enough for readers that opened an old version, and for mistakes to be noticed

COMPACT_ATTEMPTS = 5  # to compact a table while others write to it


class MaintainedTable(TypedDict):
    """What `maintain` did to one table.

    `tagged_versions` counts the older versions that tags keep, `tagged_bytes` the bytes of files that only these need.
    """

    table: str
    bytes_before: int
    bytes_after: int
    fragments_before: int
    fragments_after: int
    versions_before: int
    versions_after: int
    tagged_versions: int
    tagged_bytes: int


class KeptByTag(TypedDict):
    """What one tag keeps from being deleted: older versions of tables, and the bytes of files that only these need.

    `freed_bytes` counts files that neither the newest version nor another tag needs: deleting the tag frees them.
    """

    tag: str
    created: datetime | None
    versions: int
    bytes: int
    freed_bytes: int


def maintain(
    store: Store, *, older_than_days: float = KEEP_DAYS, progress: Progress | None = None
) -> Listing[MaintainedTable]:
    """Compact every table, and delete versions older than `older_than_days` days that no tag names (writes).

    Tagged versions stay complete, so that scores can be computed again from them. Returns one row for each table. May
    be interrupted at any moment and run again. Raises EmbstoreError for a negative age, and StoreError if a table
    cannot be maintained.
    """
    if older_than_days < 0:
        raise EmbstoreError(f"--older-than is {older_than_days:g} days, wanted 0 or more")
    refuse_reader(store)
    before = {state["name"]: state for state in store.status()}
    for name in tracked(list(before), "tables", progress):
        compact(store, name)
        clean(store, name, older_than_days)
    after = {state["name"]: state for state in store.status()}
    sizes = [sum(state["disk_bytes"] for state in states.values()) for states in (before, after)]
    _log.info("maintained %d tables of %s: %d bytes before, %d after", len(before), store.uri, *sizes)
    return Listing([_maintained(store, before[name], after[name]) for name in before], MaintainedTable, "table")


def compact(store: Store, name: str, *, drop_deleted: bool = False) -> None:
    """Join a table's small fragments; `drop_deleted` also rewrites fragments with deleted rows (writes).

    It is retried a few times if another process writes to the table meanwhile; then it raises StoreError.
    """
    options = {"materialize_deletions_threshold": 0.0} if drop_deleted else {}
    for attempt in range(1, COMPACT_ATTEMPTS + 1):
        try:
            store.dataset(name).optimize.compact_files(**options)
        except (OSError, RuntimeError, ValueError) as error:
            if "commit conflict" in str(error) and attempt < COMPACT_ATTEMPTS:
                _log.info("another process wrote to %s while it was compacted: trying again", name)
                continue
            raise StoreError(_failed("compact", name, error)) from error
        return


def clean(store: Store, name: str, older_than_days: float) -> None:
    """Delete a table's versions older than so many days that no tag names, with their files (writes); may raise
    StoreError.
    """
    try:
        store.dataset(name).cleanup_old_versions(
            older_than=timedelta(days=older_than_days), error_if_tagged_old_versions=False
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(_failed("clean", name, error)) from error


def _failed(what: str, name: str, error: Exception) -> str:
    line = first_line(error)
    again = "run the same command again" if "commit conflict" in str(error) else "`embstore verify` checks the table"
    return f"could not {what} {name}: {line}{'' if line == DISK_FULL else f'; {again}'}"


def _tagged(store: Store, name: str) -> tuple[int, int]:
    """Return how many older versions of a table are kept by tags, and the bytes of files that only these need."""
    newest = store.dataset(name)
    versions = {tagged[name] for tagged in store.tags([name]).values()} - {newest.version}
    files: dict[str, int] = {}
    for version in versions:
        files |= _files(store.dataset(name, version))
    alone = files.keys() - _files(newest).keys()
    return len(versions), sum(files[file] for file in alone)


def kept_by_tags(store: Store) -> Listing[KeptByTag]:
    """Return what each tag keeps that the newest versions do not need, the largest first; reads only."""
    files: dict[str, dict[str, int]] = {}  # tag -> file -> bytes
    versions: Counter[str] = Counter()
    for name in store.table_names():
        newest = store.dataset(name)
        needed = _files(newest).keys()
        for tag, tagged in store.tags([name]).items():
            if tagged[name] != newest.version:
                versions[tag] += 1
                old = _files(store.dataset(name, tagged[name]))
                files.setdefault(tag, {}).update({f"{name}/{f}": n for f, n in old.items() if f not in needed})
    users = Counter(file for of_tag in files.values() for file in of_tag)
    created = {status["tag"]: status["created"] for status in list_tags(store)}
    kept: list[KeptByTag] = [
        {
            "tag": tag,
            "created": created[tag],
            "versions": versions[tag],
            "bytes": sum(of_tag.values()),
            "freed_bytes": sum(n for file, n in of_tag.items() if users[file] == 1),
        }
        for tag, of_tag in files.items()
    ]
    return Listing(sorted(kept, key=lambda row: (-row["bytes"], row["tag"])), KeptByTag, "tag")


def _files(data: Any) -> dict[str, int]:
    return {file.path: file.file_size_bytes or 0 for part in data.get_fragments() for file in part.data_files()}


def _maintained(store: Store, before: TableStatus, after: TableStatus) -> MaintainedTable:
    versions, kept = _tagged(store, before["name"])
    return {
        "table": before["name"],
        "bytes_before": before["disk_bytes"],
        "bytes_after": after["disk_bytes"],
        "fragments_before": before["fragments"],
        "fragments_after": after["fragments"],
        "versions_before": before["versions"],
        "versions_after": after["versions"],
        "tagged_versions": versions,
        "tagged_bytes": kept,
    }
