"""Which file each external embedding is from: one row of `imported` for each profile in each space."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from embstore.store.removal import delete_ids
from embstore.store.schema import TABLES
from embstore.store.store import Store, quoted
from embstore.store.upkeep import make_table


def import_sources(store: Store, space: str) -> pa.Table:
    """Return the file that each vector of a space was imported from: columns `profile_id` and `source`.

    Vectors that were imported before the table `imported` existed have no row.
    """
    columns = ["profile_id", "source"]
    if "imported" not in store.table_names():
        return TABLES["imported"].schema.empty_table().select(columns)
    return store.read("imported", columns, pc.field("space") == space)


def put_import_records(store: Store, space: str, profiles: Sequence[str], source: str, rows: pa.Array) -> None:
    """Record that the vectors of some profiles are those of these rows of a file (writes)."""
    if "imported" not in store.table_names():
        make_table(store, TABLES["imported"])
    n = len(profiles)
    columns = [pa.array(profiles), pa.array([space] * n), pa.array([source] * n), rows]
    store.upsert("imported", pa.table(columns, schema=TABLES["imported"].schema))


def delete_import_records(store: Store, space: str, profiles: Sequence[str]) -> None:
    """Delete the records of profiles whose vectors are out of a space (writes)."""
    if "imported" in store.table_names():
        delete_ids(store, "imported", "profile_id", profiles, f"space = {quoted(space)} AND ")
