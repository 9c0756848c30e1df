"""The runs of ingest, embed and import that wrote to a store, and removals under way: rows of the table `ingests`."""

from __future__ import annotations

import getpass
import json
import os
import platform
import secrets
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from embstore.store.row_types import IngestsRow
from embstore.store.schema import TABLES
from embstore.store.store import Store, code_version
from embstore.store.upkeep import put_rows
from embstore.tabular import Listing

LIBRARIES = ("lancedb", "pylance", "torch", "timm")  # which vectors and tables depend on
RUNNING = "running"
KILLED = "killed"
KILLED_OR_RUNNING = "killed or still running"  # on another machine, or on one where processes cannot be looked up


def list_ingests(store: Store) -> Listing[IngestsRow]:
    """Return the runs of ingest, embed and import that wrote to the store, and removals under way, newest first.

    A run that did not record its end has the status `running` or `killed` if it was started on this machine (depending
    on whether its process is alive), else `killed or still running`.
    """
    stored: list[IngestsRow] = []
    if "ingests" in store.table_names():  # stores made before this table existed have none until their next ingest
        stored = cast("list[IngestsRow]", store.read("ingests").to_pylist())
    newest_first = sorted(stored, key=lambda row: (row["started"], row["run"]), reverse=True)
    return Listing([{**row, "status": _status(row)} for row in newest_first], IngestsRow, "run")


def new_run(kind: str, dataset: str, arguments: Mapping[str, Any], started: datetime) -> IngestsRow:
    """Return the row of a run that begins in this process: its counts are 0, and its end is not known."""
    return {
        "run": f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        "kind": kind,
        "dataset": dataset,
        "status": RUNNING,
        "error": None,
        "who": f"{_user()}@{platform.node()}",
        "pid": os.getpid(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "arguments": json.dumps(arguments, default=str, ensure_ascii=False),
        "code_version": code_version(),
        "libraries": json.dumps({name: version(name) for name in LIBRARIES}),
        "device": "cpu",
        "backbones": [],
        "spaces": [],
        "planned": 0,
        "done": 0,
        "unchanged": 0,
        "failed": 0,
        "cells": 0,
        "vectors": 0,
        "started": started,
        "finished": None,
        "elapsed_s": None,
        "peak_memory_mb": None,
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def unfinished_removal(store: Store) -> IngestsRow | None:
    """Return the run of the newest removal that is running or was killed; None where there is none."""
    return next((row for row in list_ingests(store) if row["kind"] == "remove"), None)


def put_ingest(store: Store, row: IngestsRow) -> int:
    """Write one row of `ingests`, replacing the row of the same run (writes); return the table's new version."""
    return put_rows(store, TABLES["ingests"], [row])


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
