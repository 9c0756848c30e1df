"""New rows are appended without a look at every key, and still no key is there twice, whoever writes beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embstore.care.maintain import compact, maintain
from embstore.store import TABLES, Store
from embstore.store.upsert import Keys, append

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def proteins(*names: str, gene: str = "") -> pa.Table:
    rows = [{"protein_id": name, "gene": gene, "group_id": name} for name in names]
    return pa.Table.from_pylist(rows, schema=TABLES["proteins"].schema)


def stored_ids(store: Store) -> list[str]:
    return sorted(store.read("proteins", ["protein_id"])["protein_id"].to_pylist())


def race(store: Store, others: Callable[[], object], names: str = "b") -> int | None:
    """Append rows while another process writes, once, after the keys were looked at and before the commit."""
    todo = [others]

    def opened() -> Any:
        result = store.dataset("proteins")
        if todo:
            todo.pop()()
        return result

    return append(opened, Keys(["protein_id"]), proteins(*names))


def other(store: Store) -> Store:
    return Store.open(store.uri)


BESIDE: dict[str, Callable[[Store], object]] = {
    "appends": lambda store: store.upsert("proteins", proteins("z")),
    "replaces": lambda store: store.upsert("proteins", proteins("a", gene="new")),
    "merges": lambda store: store.upsert("proteins", proteins("a", "z", gene="new")),
    "deletes": lambda store: store.delete("proteins", "protein_id = 'a'"),
    "adds": lambda store: store.dataset("proteins").insert(proteins("z")),
}


@pytest.mark.parametrize("how", BESIDE)
def test_rows_go_in_beside_another_writer_of_other_keys(store: Store, how: str) -> None:
    """Whatever it does between our look and our commit, both are in afterwards."""
    store.upsert("proteins", proteins("a"))
    assert race(store, lambda: BESIDE[how](other(store))) is not None
    twin = {"appends": "abz", "replaces": "ab", "merges": "abz", "deletes": "b", "adds": "abz"}[how]
    assert stored_ids(store) == list(twin)


def test_a_key_that_another_writer_was_first_with_is_left_to_the_merge(store: Store) -> None:
    """Nothing is appended then, not even the rows of other keys, and an upsert replaces the other's row."""
    store.upsert("proteins", proteins("a"))
    assert race(store, lambda: other(store).upsert("proteins", proteins("b", gene="theirs")), "bc") is None
    assert stored_ids(store) == ["a", "b"]
    store.upsert("proteins", proteins("b", "c", gene="ours"))
    assert stored_ids(store) == ["a", "b", "c"]
    assert store.read("proteins").filter(pa.compute.field("protein_id") == "b")["gene"].to_pylist() == ["ours"]


def test_compacting_beside_an_append_is_done_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another append commits between the check of the keys and the commit, Lance refuses; the next try succeeds."""
    for name in "abc":
        store.upsert("proteins", proteins(name))
    real = Store.dataset
    beside = [lambda: other(store).upsert("proteins", proteins("d"))]

    def interrupted(self: Store, name: str, version: int | None = None) -> Any:
        result = real(self, name, version)
        if self is store and beside:
            beside.pop()()
        return result

    monkeypatch.setattr(Store, "dataset", interrupted)
    compact(store, "proteins")
    assert stored_ids(store) == ["a", "b", "c", "d"]
    assert len(store.dataset("proteins").get_fragments()) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["upsert", "delete", "compact"]), st.booleans(), NAMES), max_size=8))
def test_two_processes_stores_hold_what_a_dict_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool, list[str]]]
) -> None:
    """Two write in turn, each with the keys that it knows of: rows replaced, deleted, taken in again, compacted."""
    first = Store.open(tmp_path_factory.mktemp("s") / "store", create=True)
    stores = {True: first, False: other(first)}
    twin: dict[str, str] = {}
    for turn, (what, which, names) in enumerate(steps):
        if what == "upsert":
            stores[which].upsert("proteins", proteins(*names, gene=str(turn)))
            twin |= dict.fromkeys(names, str(turn))
        elif what == "delete":
            stores[which].delete("proteins", f"protein_id IN ({', '.join(map(repr, names))})")
            twin = {name: gene for name, gene in twin.items() if name not in names}
        else:
            maintain(stores[which], older_than_days=0)
    rows = first.read("proteins").to_pylist()
    assert len(rows) == len(twin)
    assert {row["protein_id"]: row["gene"] for row in rows} == twin


def test_new_rows_are_a_fragment_more_and_the_old_ones_are_as_they_were(store: Store) -> None:
    """No old file is written again or deleted: tags and readers see what they saw."""
    store.upsert("proteins", proteins("a", "b"))
    before = [part.metadata.to_json() for part in store.dataset("proteins").get_fragments()]
    store.upsert("proteins", proteins("c"))
    after = [part.metadata.to_json() for part in store.dataset("proteins").get_fragments()]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_rows_keep_their_values_where_a_table_has_its_columns_in_another_order(store: Store) -> None:
    """A migrated table has its newer columns last: columns go by name."""
    names = store.dataset("proteins").schema.names
    store.upsert("proteins", proteins("a", gene="A").select(names[::-1]))
    (row,) = store.read("proteins").to_pylist()
    assert (row["protein_id"], row["gene"], row["group_id"]) == ("a", "A", "a")
