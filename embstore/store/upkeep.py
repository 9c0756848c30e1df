"""Table operations for the packages that maintain a store; not part of its public interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embstore.store.schema import Table, key_of
from embstore.store.store import Store
from embstore.store.tables import writing
from embstore.store.upsert import delete_fragments, extra_rows

ROWS_PER_DELETE = 5_000


def refuse_reader(store: Store) -> None:
    """Raise a StoreError if the store is open at a tag."""
    store._tables.refuse_reader()


def make_table(store: Store, table: Table) -> int:
    """Make a table, empty, unless one exists that can be opened (writes); return its version."""
    return store._tables.make(table)


def put_rows(store: Store, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write rows of a table that a store may lack, since it is of later versions (writes); return its version."""
    if table.name not in store.table_names():
        make_table(store, table)
    return store.upsert(table.name, list(rows))


def drop_table(store: Store, name: str) -> None:
    """Delete a table with all of its versions and tags (writes)."""
    store._tables.drop(name)


def drop_fragments(store: Store, name: str, fragments: Sequence[int]) -> int:
    """Remove fragments from a table without reading them (writes); return its new version (older ones keep them)."""
    store._ready_to_write()
    with writing(f"remove fragments from {name}"):
        return delete_fragments(store.dataset(name), fragments)


def drop_repeats(store: Store, name: str) -> int:
    """Delete rows whose key an earlier row already has (writes); return the table's new version."""
    data = store._open_to_write(name)
    with writing(f"delete from {name}"):
        extra = extra_rows(data, key_of(name))
        for start in range(0, len(extra), ROWS_PER_DELETE):
            data.delete(f"_rowid IN ({', '.join(map(str, extra[start : start + ROWS_PER_DELETE]))})")
        return int(data.version)
