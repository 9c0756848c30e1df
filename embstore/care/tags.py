"""Tags: names for the present version of every table, which cleaning keeps."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypedDict

from embstore.errors import EmbstoreError, choices
from embstore.store import Store, refuse_reader
from embstore.tabular import Listing


class TagStatus(TypedDict):
    """One tag: how many tables it covers, when it was made, and how many entries cite it."""

    tag: str
    tables: int
    created: datetime | None
    entries: int


def list_tags(store: Store) -> Listing[TagStatus]:
    """Return the tags of the store, in order of name."""
    cited = _cited(store)
    created: dict[str, datetime | None] = {}
    for name in store.table_names():
        for tag, tagged in store.dataset(name).tags.list().items():
            created[tag] = max(filter(None, (created.get(tag), tagged["created_at"])), default=None)
    tags: list[TagStatus] = [
        {"tag": tag, "tables": len(versions), "created": created[tag], "entries": cited.count(tag)}
        for tag, versions in store.tags().items()
    ]
    return Listing(tags, TagStatus, "tag")


def create_tag(store: Store, name: str) -> dict[str, int]:
    """Tag the newest version of every table (writes); return table -> version.

    If a tag of that name exists with the same versions, it is completed; with other versions, EmbstoreError is raised,
    because what was cited under a name must not change.
    """
    if not re.fullmatch(r"\w[\w.-]*", name, flags=re.ASCII):
        raise EmbstoreError(f"the tag is called {name!r}; wanted letters, digits, '.', '_' and '-'")
    versions = store.versions()
    if versions != store.versions():
        raise EmbstoreError("the store changed while it was being tagged; run the same command again")
    known = store.tags().get(name, {})
    if any(versions.get(table) != version for table, version in known.items()):
        raise EmbstoreError(f"a tag {name} exists already, with other versions; choose another name")
    store.tag(name, {table: version for table, version in versions.items() if table not in known})
    return versions


def delete_tag(store: Store, name: str) -> dict[str, int]:
    """Delete a tag (writes), so that the next cleaning may delete its versions; EmbstoreError if an entry cites it.

    Returns the table -> version that it named.
    """
    refuse_reader(store)
    tags = store.tags()
    if name not in tags:
        raise EmbstoreError(choices(name, "tag", tags))
    if cited := _cited(store).count(name):
        raise EmbstoreError(f"{cited} entries cite the tag {name}; it is kept so that they can be computed again")
    return store.untag(name)


def _cited(store: Store) -> list[str]:
    if "entries" not in store.table_names():
        return []
    cited: list[str] = store.read("entries", ["tag"])["tag"].to_pylist()
    return cited
