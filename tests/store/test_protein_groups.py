"""Proteins that occur together are of one group, whoever adds them and when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from embstore.care.repair import repair
from embstore.care.verify import verify
from embstore.store import Store, add_proteins, join_groups

P1, P2, P3 = "uniprot:P1", "uniprot:P2", "uniprot:P3"


def groups(store: Store) -> dict[str, str]:
    return {row["protein_id"]: row["group_id"] for row in store.read("proteins").to_pylist()}


def add_late(store: Store, other: Store, ids: Sequence[str], others: Sequence[str]) -> None:
    """Add the proteins of one process when it has read and not yet written those of another."""
    write = store.upsert
    left = [others]

    def upsert(name: str, rows: Any) -> int:
        if left:
            add_proteins(other, [(left.pop(), [])])
        return write(name, rows)

    store.upsert = upsert  # type: ignore[method-assign]
    add_proteins(store, [(ids, [])])


def add_images(store: Store, *named: Sequence[str]) -> None:
    store.upsert(
        "images",
        [{"image_id": f"toy/{i}", "revision": 1, "dataset": "toy", "protein_ids": ids} for i, ids in enumerate(named)],
    )


@pytest.mark.parametrize(("late", "early"), [((P1, P2), (P2, P3)), ((P2, P3), (P1, P2))])
def test_processes_that_interleave_end_in_the_groups_of_one_after_the_other(
    tmp_path: Path, late: Sequence[str], early: Sequence[str]
) -> None:
    """Whatever one overwrites of the other, the images of both join the groups at the end."""
    store, other = Store.open(tmp_path, create=True), Store.open(tmp_path)
    add_late(store, other, late, early)
    add_images(store, late, early)
    join_groups(other)
    assert groups(store) == {P1: P1, P2: P1, P3: P1}
    assert join_groups(store) == 0


def test_a_divided_group_is_found_and_joined(tmp_path: Path) -> None:
    """verify names an image whose proteins are in several groups, and its repair joins them."""
    store = Store.open(tmp_path, create=True)
    add_proteins(store, [([P1], []), ([P2], [])])
    add_images(store, [P1, P2])
    (finding,) = [finding for finding in verify(store).wrong if finding.check == "groups"]
    assert finding.found.startswith("1 images or profiles name proteins of several groups")
    assert finding.found.endswith("toy/0")
    repair(store)
    assert groups(store) == {P1: P1, P2: P1}
    assert not [finding for finding in verify(store).wrong if finding.check == "groups"]
