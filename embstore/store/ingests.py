"""The runs of ingest, embed and import that wrote to a store: one row each in the table `ingests`."""

from __future__ import annotations

import os
import platform
from typing import cast

from embstore.store.row_types import IngestsRow
from embstore.store.schema import TABLES
from embstore.store.store import Store
from embstore.store.upkeep import make_table
from embstore.tabular import Listing

RUNNING = "running"
KILLED = "killed"
KILLED_OR_RUNNING = "killed or still running"  # on another machine, or on one where processes cannot be looked up


def list_ingests(store: Store) -> Listing[IngestsRow]:
    """Return the runs of ingest, embed and import that wrote to the store, newest first.

    A run that did not record its end has the status `running` or `killed` if it was started on this machine (depending
    on whether its process is alive), else `killed or still running`.
    """
    stored: list[IngestsRow] = []
    if "ingests" in store.table_names():  # stores made before this table existed have none until their next ingest
        stored = cast("list[IngestsRow]", store.read("ingests").to_pylist())
    newest_first = sorted(stored, key=lambda row: (row["started"], row["run"]), reverse=True)
    return Listing([{**row, "status": _status(row)} for row in newest_first], IngestsRow, "run")


def put_ingest(store: Store, row: IngestsRow) -> int:
    """Write one row of `ingests`, replacing the row of the same run (writes); return the table's new version."""
    if "ingests" not in store.table_names():
        make_table(store, TABLES["ingests"])
    return store.upsert("ingests", [row])


def _status(row: IngestsRow) -> str:
    if row["status"] != RUNNING:
        return row["status"]
    here = row["who"].rpartition("@")[2] == platform.node()
    if not here or os.name != "posix":
        return KILLED_OR_RUNNING
    return RUNNING if _is_alive(row["pid"]) else KILLED


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        return True
    return True
