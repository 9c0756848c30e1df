"""Do records still say what they were frozen with? Spaces and splits by their digests, entries by their tags."""

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
    """Yield spaces whose record, name, table or length of vectors do not go together."""
    for space in spaces:
        name = embeddings_name(space["digest"])
        if (now := digest_now(space)) != space["digest"]:
            found = f"the record of {short(space['digest'])} now has the digest {short(now)}"
            yield Finding("spaces", "spaces", found, REPAIR)
        if name not in store.table_names():
            found = f"the space {short(space['digest'])} has no table {name}"
            yield Finding("spaces", "spaces", found, ANEW)
        elif name in names:
            held = dim_of(store, name)
            if held != space["dim"]:
                yield Finding("dim", name, f"vectors of {held} numbers where spaces says {space['dim']}", REPAIR)
    for name in unrecorded(names, spaces):
        if store.dataset(name).count_rows():
            yield Finding("spaces", name, "vectors of a space that is not in spaces", RECORD)


def unrecorded(names: Sequence[str], spaces: Sequence[SpaceRow]) -> list[str]:
    """Return the tables of vectors whose space is not in `spaces`."""
    known = {embeddings_name(space["digest"]) for space in spaces}
    return [name for name in names if name.startswith(EMBEDDINGS_PREFIX) and name not in known]


def digest_now(row: SpaceRow) -> str:
    """Return the digest that a row of `spaces` makes as it now is."""
    values: dict[str, Any] = dict(row)
    known = {field.name: values[field.name] for field in fields(Space) if field.name not in LATER_FIELDS}
    later = {name: values.get(name) or "" for name in LATER_FIELDS}  # a store of format 1 has no such columns
    return Space(**known | later | {"roles": tuple(row["roles"])}).digest


def dim_of(store: Store, name: str) -> int:
    """Return how long the vectors of a table are."""
    return int(store.dataset(name).schema.field("vector").type.list_size)


def check_splits(store: Store) -> Iterator[Finding]:
    """Yield splits whose groups or spec are no longer those that their digest froze."""
    for name in changed_splits(store):
        found = f"the split {name} has changed since it was frozen"
        yield Finding("splits", "splits", found, f"do not trust scores made with it; {REPAIR}")


def changed_splits(store: Store) -> Iterator[str]:
    """Yield the names of splits whose groups or spec are no longer those that their digest froze."""
    for split in store.read("splits", ["name", "spec", "digest"]).to_pylist():
        sql = "SELECT group_id, fold FROM split_groups WHERE name = $name ORDER BY group_id"
        groups = select(store, sql, {"name": split["name"]}, tables=["split_groups"]).to_pylist()
        if split_digest(json.loads(split["spec"]), {g["group_id"]: g["fold"] for g in groups}) != split["digest"]:
            yield split["name"]


def check_removal(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield a removal that is running, or that was stopped before its end."""
    if PENDING not in store.tags([name for name in names if name in ROOTS]):
        return
    run = unfinished_removal(store)
    if run is None or run["status"] == KILLED:
        yield Finding("removal", "images", "a removal was stopped before its end", REMOVE)
        return
    process = f"process {run['pid']} of {run['who']}, since {run['started']:%Y-%m-%d %H:%M} UTC"
    if run["status"] == RUNNING:
        yield Finding("removal", "images", f"a removal is running ({process})", WAIT)
    else:
        found = f"a removal was stopped before its end, or is running on another machine ({process})"
        yield Finding("removal", "images", found, f"unless it is running, {REMOVE}")


def check_entries(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield, as a note, entries whose tag is gone: their figures stay, what they were made from may not."""
    tags = store.tags(names)
    lost = [e["entry"] for e in store.read("entries", ["entry", "tag"]).to_pylist() if e["tag"] not in tags]
    if lost:
        found = counted(len(lost), "entries whose tag is gone", min(lost))
        yield Finding("tags", "entries", found, "their figures stay; they cannot be computed again", note=True)
