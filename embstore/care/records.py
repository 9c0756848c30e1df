"""Do records still say what they were frozen with? Spaces and splits by their digests, entries by their tags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from embstore.backbones.record import LATER_FIELDS, Space
from embstore.care.findings import FROM_COPY, REINGEST, Finding, counted
from embstore.care.remove import PENDING, ROOTS
from embstore.ids import short, split_digest
from embstore.query import query
from embstore.schema import EMBEDDINGS_PREFIX, embeddings_name
from embstore.store import Store


def check_spaces(store: Store, names: Sequence[str], spaces: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield spaces whose record, name, table or length of vectors do not go together."""
    for space in spaces:
        name = embeddings_name(space["digest"])
        if (now := _space(space).digest) != space["digest"]:
            found = f"the record of {short(space['digest'])} now has the digest {short(now)}"
            yield Finding("spaces", "spaces", found, FROM_COPY)
        if name not in store.table_names():
            found = f"the space {short(space['digest'])} has no table {name}"
            yield Finding("spaces", "spaces", found, "embed with its backbone again")
        elif name in names:
            yield from _dim(store, name, space["dim"])
    known = {embeddings_name(space["digest"]) for space in spaces}
    for name in names:
        if name.startswith(EMBEDDINGS_PREFIX) and name not in known:
            yield Finding("spaces", name, "vectors of a space that is not in spaces", REINGEST)


def _space(row: Mapping[str, Any]) -> Space:
    held = {field.name: row[field.name] for field in fields(Space) if field.name not in LATER_FIELDS}
    later = {name: row.get(name) or "" for name in LATER_FIELDS}  # a store of format 1 has no such columns
    return Space(**held | later | {"roles": tuple(row["roles"])})


def _dim(store: Store, name: str, dim: int) -> Iterator[Finding]:
    held = store.dataset(name).schema.field("vector").type.list_size
    if held != dim:
        yield Finding("dim", name, f"vectors of {held} numbers where spaces says {dim}", FROM_COPY)


def check_splits(store: Store) -> Iterator[Finding]:
    """Yield splits whose groups or spec are no longer those that their digest froze."""
    for split in store.read("splits", ["name", "spec", "digest"]).to_pylist():
        sql = "SELECT group_id, fold FROM split_groups WHERE name = $name ORDER BY group_id"
        groups = query(store, sql, {"name": split["name"]}, tables=["split_groups"]).to_pylist()
        if split_digest(json.loads(split["spec"]), {g["group_id"]: g["fold"] for g in groups}) != split["digest"]:
            found = f"the split {split['name']} has changed since it was frozen"
            yield Finding("splits", "splits", found, "do not trust scores made with it; bench with another seed")


def check_removal(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield a removal that was stopped before its end."""
    if PENDING in store.tags([name for name in names if name in ROOTS]):
        yield Finding("removal", "images", "a removal was stopped before its end", "run `embstore remove` again")


def check_entries(store: Store, names: Sequence[str]) -> Iterator[Finding]:
    """Yield, as a note, entries whose tag is gone: their figures stay, what they were made from may not."""
    tags = store.tags(names)
    lost = [e["entry"] for e in store.read("entries", ["entry", "tag"]).to_pylist() if e["tag"] not in tags]
    if lost:
        found = counted(len(lost), "entries whose tag is gone", min(lost))
        yield Finding("tags", "entries", found, "their figures stay; they cannot be computed again", note=True)
