"""Ways to damage a store that its own methods refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embstore.store import Store


def write_raw(store: Store, table: str, rows: Any) -> None:
    """Append rows as another program could: no key, size or number is looked at."""
    import lance

    data = store.dataset(table)
    given = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=data.schema)
    lance.write_dataset(given, data.uri, mode="append")


def vectors(store: Store, table: str, ids: list[str], numbers: Any) -> pa.Table:
    """Return rows of a table of vectors."""
    schema = store.dataset(table).schema
    kind = schema.field("vector").type
    flat = np.broadcast_to(numbers, (len(ids), kind.list_size)).astype(kind.value_type.to_pandas_dtype()).ravel()
    columns = [pa.array(ids), pa.FixedSizeListArray.from_arrays(pa.array(flat), kind.list_size)]
    return pa.Table.from_arrays(columns, schema=schema)


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Return table -> its sorted keys and numbers that do not hang on the clock: what two stores have in common."""
    columns = {
        "cells": ["cell_id"],
        "images": ["image_id", "revision"],
        "ingested": ["image_id", "space", "n_cells"],
        "labels": ["label_set", "level", "subject_id", "location"],
        "proteins": ["protein_id"],
    }
    spaces = {name: ["id", "vector"] for name in store.table_names() if name.startswith("emb_")}
    return {
        name: sorted(str(row) for row in store.read(name, wanted).to_pylist())
        for name, wanted in (columns | spaces).items()
    }


@pytest.fixture
def store(phantom_copy: Path) -> Store:
    """Three phantom proteins under pixel-stats, to be changed."""
    return Store.open(phantom_copy)


@pytest.fixture
def space_table(store: Store) -> str:
    return next(name for name in store.table_names() if name.startswith("emb_"))


Damage = Callable[[Store, str], Any]
