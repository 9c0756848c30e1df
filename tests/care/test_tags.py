"""Tags: a name for the whole store, and the store read as it was under one."""

from __future__ import annotations

import pytest

from embstore.care.tags import create_tag, delete_tag, list_tags
from embstore.errors import EmbstoreError, StoreError
from embstore.search import similar_proteins
from embstore.store import Store, add_space, put_vectors, query, rows


def test_a_store_is_read_as_it_was_under_a_tag(store: Store, space_table: str) -> None:
    """Rows, vectors, SQL and search under a tag are those of its day, whatever came or went since."""
    before = store.status()
    cells = rows(store, "SELECT cell_id FROM cells ORDER BY cell_id")
    neighbours = similar_proteins(store, "PHN001").rows
    assert create_tag(store, "then") == store.versions()
    for table in ("cells", "images", "ingested", space_table):
        store.delete(table, "true")
    store.upsert("proteins", [{"protein_id": "gene:NEW", "gene": "NEW", "group_id": "gene:NEW"}])
    then = Store.open(store.uri, at="then")
    kept = ("name", "rows", "version", "bytes", "fragments")
    assert [[row[c] for c in kept] for row in then.status()] == [[row[c] for c in kept] for row in before]
    assert rows(then, "SELECT cell_id FROM cells ORDER BY cell_id") == cells
    assert similar_proteins(then, "PHN001").rows == neighbours
    digest = rows(then, "SELECT digest FROM spaces")[0]["digest"]
    assert len(then.matrix(digest, [cell["cell_id"] for cell in cells])) == len(cells)
    assert store.read("cells").num_rows == 0


def test_a_store_under_a_tag_cannot_be_written(store: Store, space_table: str) -> None:
    """Every write is refused in one line, and nothing changes."""
    create_tag(store, "then")
    versions = store.versions()
    then = Store.open(store.uri, at="then")
    space = store.read("spaces").to_pylist()[0]
    for write in (
        lambda: then.upsert("proteins", [{"protein_id": "p"}]),
        lambda: then.upsert("proteins", []),
        lambda: then.delete("cells", "true"),
        lambda: put_vectors(then, space["digest"], ["a"], then.vectors(space["digest"])[1][:1]),
        lambda: add_space(then, space | {"digest": "ab" * 32}, 2, half=False),
        lambda: then.tag("other", {"cells": 1}),
        lambda: then.untag("then"),
    ):
        with pytest.raises(StoreError, match="open at tag then, and can only be read; leave out --at"):
            write()
    assert store.versions() == versions
    assert list(store.tags()) == ["then"]


def test_a_name_keeps_its_meaning(store: Store) -> None:
    """Tagging again is nothing to do while the store is the same, completes a tag cut off, and else is refused."""
    versions = create_tag(store, "v1")
    assert create_tag(store, "v1") == versions
    store.untag("v1", ["labels"])  # as a kill between two tables leaves it
    assert create_tag(store, "v1") == store.tags()["v1"] == versions
    store.delete("labels", "true")
    with pytest.raises(EmbstoreError, match="a tag v1 exists already, with other versions; choose another name"):
        create_tag(store, "v1")
    for name in ("", "a b", "../x", "é", "-x"):
        with pytest.raises(EmbstoreError, match="wanted letters, digits"):
            create_tag(store, name)
    (listed,) = list_tags(store)
    assert (listed["tag"], listed["tables"], listed["entries"]) == ("v1", len(versions), 0)
    assert listed["created"].tzinfo


def test_a_tag_that_a_score_cites_cannot_be_deleted(store: Store) -> None:
    """Deleting takes a tag off every table, unless an entry cites it."""
    for name in ("cited", "free"):
        create_tag(store, name)
    store.upsert("entries", [{"entry": "e", "tag": "cited"}])
    delete_tag(store, "free")
    assert list(store.tags()) == ["cited"]
    with pytest.raises(EmbstoreError, match="1 entries cite the tag cited"):
        delete_tag(store, "cited")
    with pytest.raises(EmbstoreError, match="there is no tag 'free'; choose from: cited"):
        delete_tag(store, "free")


def test_a_tag_that_covers_some_tables_shows_those(store: Store) -> None:
    """A tag of bench covers what it read: other tables are missing, in SQL too, and a wrong tag lists the tags."""
    store.tag("bench-1", {"proteins": store.versions()["proteins"]})
    part = Store.open(store.uri, at="bench-1")
    assert part.table_names() == ["proteins"]
    assert len(query(part, "SELECT * FROM proteins")) == store.read("proteins").num_rows
    with pytest.raises(StoreError, match="no table 'cells' at tag bench-1; choose from: proteins"):
        part.read("cells")
    with pytest.raises(StoreError, match="there is no tag 'bench-2'; choose from: bench-1"):
        Store.open(store.uri, at="bench-2")
