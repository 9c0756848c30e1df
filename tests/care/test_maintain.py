"""maintain makes files fewer and bytes less, and what a tag names stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embstore.care.maintain import kept_by_tags, maintain
from embstore.care.tags import create_tag, delete_tag
from embstore.care.verify import verify
from embstore.errors import EmbstoreError, StoreError, first_line
from embstore.store import Store, put_vectors


def grow(store: Store, times: int) -> None:
    for i in range(times):
        protein = f"gene:P{i}"
        store.upsert("proteins", [{"protein_id": protein, "gene": f"P{i}", "group_id": protein}])


def test_small_files_are_joined_and_old_versions_go(store: Store) -> None:
    """Thirty small writes become one fragment and one version, with the same rows; a second run changes nothing."""
    grow(store, 30)
    rows = store.read("proteins").num_rows
    record = {r["table"]: r for r in maintain(store, older_than_days=0)}["proteins"]
    assert record["fragments_before"] >= 30
    assert record["versions_before"] > 30
    assert (record["fragments_after"], record["versions_after"]) == (1, 1)
    assert record["bytes_after"] < record["bytes_before"] / 5
    assert store.read("proteins").num_rows == rows
    assert verify(store).wrong == ()
    versions = store.versions()
    assert all(r["bytes_after"] == r["bytes_before"] for r in maintain(store, older_than_days=0))
    assert store.versions() == versions


def test_tagged_versions_stay_whole(store: Store, space_table: str) -> None:
    """After compacting and cleaning, a tag gives the very vectors that it gave before, and other old ones are gone."""
    digest = store.read("spaces")["digest"][0].as_py()
    ids, then = store.vectors(digest)
    create_tag(store, "paper")
    put_vectors(store, digest, ids, np.zeros_like(then))
    untagged = store.versions()[space_table]
    put_vectors(store, digest, ids, np.ones_like(then))
    maintain(store, older_than_days=0)
    np.testing.assert_array_equal(Store.open(store.uri, at="paper").matrix(digest, ids), then)
    assert (store.matrix(digest, ids) == 1).all()
    with pytest.raises(StoreError, match=f"no version {untagged}"):
        store.dataset(space_table, untagged)
    assert verify(store).wrong == ()


def test_young_versions_stay(store: Store) -> None:
    """By default no version of the last week goes."""
    grow(store, 3)
    old = store.versions()["proteins"]
    grow(store, 1)
    maintain(store)
    assert store.dataset("proteins", old).count_rows() > 0
    with pytest.raises(EmbstoreError, match="wanted 0 or more"):
        maintain(store, older_than_days=-1)


def test_a_store_at_a_tag_is_not_maintained(store: Store) -> None:
    """Opened at a tag, nothing is compacted or cleaned."""
    create_tag(store, "paper")
    with pytest.raises(StoreError, match="can only be read"):
        maintain(Store.open(store.uri, at="paper"))


def test_what_tags_keep_is_counted(store: Store, space_table: str) -> None:
    """Files that only a tagged version needs are counted with their bytes; without a tag there are none."""
    assert all(r["tagged_versions"] == r["tagged_bytes"] == 0 for r in maintain(store, older_than_days=0))
    create_tag(store, "paper")
    (part,) = store.dataset(space_table).get_fragments()
    kept = sum(file.file_size_bytes for file in part.data_files())
    put_vectors(store, digest := store.read("spaces")["digest"][0].as_py(), *_zeros(store, digest))
    record = next(r for r in maintain(store, older_than_days=0) if r["table"] == space_table)
    assert (record["tagged_versions"], record["tagged_bytes"]) == (1, kept)


def test_each_tag_says_what_it_keeps(store: Store, space_table: str) -> None:
    """Bytes that no newest version needs, and those that deleting this very tag would free."""
    create_tag(store, "first")
    assert list(kept_by_tags(store)) == []
    (part,) = store.dataset(space_table).get_fragments()
    kept = sum(file.file_size_bytes for file in part.data_files())
    grow(store, 1)  # the second tag shares the vectors with the first
    create_tag(store, "second")
    put_vectors(store, digest := store.read("spaces")["digest"][0].as_py(), *_zeros(store, digest))
    first, second = sorted(kept_by_tags(store), key=lambda row: row["tag"])
    assert (first["tag"], first["versions"], first["bytes"], first["freed_bytes"]) == ("first", 2, kept, 0)
    assert (second["tag"], second["versions"], second["bytes"]) == ("second", 1, kept)
    assert first["created"] < second["created"]
    delete_tag(store, "first")
    (second,) = kept_by_tags(store)
    assert second["freed_bytes"] == kept


def _zeros(store: Store, digest: str) -> tuple[list[str], np.ndarray]:
    ids, then = store.vectors(digest)
    return ids, np.zeros_like(then)


def test_a_full_disk_is_reported_in_plain_words() -> None:
    """Whichever engine reported it, the line states what to do, once."""
    with pytest.raises(OSError) as full, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
    message = "the disk is full; free some space, then run the same command again"
    assert first_line(full.value) == message
    assert first_line(RuntimeError("lance error: IO: ... (os error 28), /root/x.rs:1:1")) == message
    assert first_line(RuntimeError("something else (os error 2)")) == "something else (os error 2)"
