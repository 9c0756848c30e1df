"""Check that records still match what they were frozen with: spaces and splits by digest, entries by tag."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from embstore.care.findings import ANEW, RECORD, REMOVE, REPAIR, WAIT, Finding, counted
from embstore.ids import short, split_digest
from embstore.space import LATER_FIELDS, Space
from embstore.store import (
    EMBEDDINGS_PREFIX,
    KILLED,
    PENDING,
    ROOTS,
    RUNNING,
    SpaceRow,
    Store,
    embeddings_name,
    select,
    unfinished_removal,
)


def check_spaces(store: Store, names: Sequence[str], spaces: Sequence[SpaceRow]) -> Iterator[Finding]:
    """Yield spaces whose record, name, table and length of vectors do not match."""
    for space in spaces:
        name = embeddings_name(space["digest"])
        if (now := digest_now(space)) != space["digest"]:
            problem = f"the record of {short(space['digest'])} now has the digest {short(now)}"
            yield Finding("spaces", "spaces", problem, REPAIR)
        if name not in store.table_names():
            problem = f"the space {short(space['digest'])} has no table {name}"
            yield Finding("spaces", "spaces", problem, ANEW)
        elif name in names:
            dim = dim_of(store, name)
            if dim != space["dim"]:
                yield Finding("dim", name, f"vectors of {dim} numbers, but spaces has {space['dim']}", REPAIR)
    for name in unrecorded(names, spaces):
        if store.dataset(name).count_rows():
            yield Finding("spaces", name, "vectors of a space that is not in spaces", RECORD)


def unrecorded(names: Sequence[str], spaces: Sequence[SpaceRow]) -> list[str]:
    """Return the tables of vectors whose space is not in `spaces`."""
    known = {embeddings_name(space["digest"]) for space in spaces}
    return [name for name in names if name.startswith(EMBEDDINGS_PREFIX) and name not in known]


def digest_now(row: SpaceRow) -> str:
    """Return the digest of a row of `spaces` as it is now."""
    values: dict[str, Any] = dict(row)
    known = {field.name: values[field.name] for field in fields(Space) if field.name not in LATER_FIELDS}
    later = {name: values.get(name) or "" for name in LATER_FIELDS}  # stores of format 1 have no such columns
    return Space(**known | later | {"roles": tuple(row["roles"])}).digest


def dim_of(store: Store, name: str) -> int:
    """Return the length of a table's vectors."""
    return int(store.dataset(name).schema.field("vector").type.list_size)


def check_splits(store: Store) -> Iterator[Finding]:
    """Yield splits whose groups or spec no longer match their digest."""
    for name in changed_splits(store):
        problem = f"the split {name} has changed since it was frozen"
        yield Finding("splits", "splits", problem, f"do not trust scores made with it; {REPAIR}")


def changed_splits(store: Store) -> Iterator[str]:
    """Yield the names of splits whose groups or spec no longer match their digest."""
    for split in store.read("splits", ["name", "spec", "digest"]).to_pylist():
        sql = "SELECT group_id, fold FROM split_groups WHERE name = $name ORDER BY group_id"
        groups = select(store, sql, {"name": split["name"]}, tables=["split_groups"]).to_pylist()
        if split_digest(json.loads(split["spec"]), {g["group_id"]: g["fold"] for g in groups}) != split["digest"]:
            yield split["name"]


def check_removal(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield a removal that is running, or that was interrupted."""
    if PENDING not in store.tags([name for name in names if name in ROOTS]):
        return
    run = unfinished_removal(store)
    if run is None or run["status"] == KILLED:
        yield Finding("removal", "images", "a removal was interrupted", REMOVE)
        return
    process = f"process {run['pid']} of {run['who']}, since {run['started']:%Y-%m-%d %H:%M} UTC"
    if run["status"] == RUNNING:
        yield Finding("removal", "images", f"a removal is running ({process})", WAIT)
    else:
        problem = f"a removal was interrupted, or is running on another machine ({process})"
        yield Finding("removal", "images", problem, f"unless it is running, {REMOVE}")


def check_entries(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield, as a note, entries whose tag is missing: their figures stay, but the rows behind them may be deleted."""
    tags = store.tags(names)
    lost = [e["entry"] for e in store.read("entries", ["entry", "tag"]).to_pylist() if e["tag"] not in tags]
    if lost:
        problem = counted(len(lost), "entries whose tag is missing", min(lost))
        yield Finding("tags", "entries", problem, "their figures stay, but cannot be computed again", note=True)
