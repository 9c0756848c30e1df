"""The TypedDicts of stored rows are spelled as the tables are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import GenericAlias, NoneType, UnionType
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest

from embstore.store import TABLES, row_types
from embstore.store.schema import IMAGE_FILE

ROW_TYPES: dict[str, type] = {
    "store_meta": row_types.MetaRow,
    "images": row_types.ImageRow,
    "cells": row_types.CellRow,
    "ingested": row_types.IngestedRow,
    "profiles": row_types.ProfileRow,
    "imported": row_types.ImportedRow,
    "proteins": row_types.ProteinRow,
    "labels": row_types.LabelRow,
    "spaces": row_types.CanarySpaceRow,
    "splits": row_types.SplitRow,
    "split_groups": row_types.SplitGroupRow,
    "entries": row_types.EntryRow,
    "runs": row_types.RunRow,
    "results": row_types.ResultRow,
    "predictions": row_types.PredictionRow,
    "failures": row_types.FailureRow,
    "ingests": row_types.IngestsRow,
    "location_maps": row_types.LocationMapRow,
}


PYTHON_TYPES: dict[Callable[[pa.DataType], bool], type] = {
    pa.types.is_boolean: bool,
    pa.types.is_integer: int,
    pa.types.is_floating: float,
    pa.types.is_string: str,
    pa.types.is_binary: bytes,
    pa.types.is_timestamp: datetime,
    pa.types.is_struct: row_types.FileRow,
}


def python_type(kind: pa.DataType) -> Any:
    """Return the Python type of what `to_pylist` gives for an Arrow type."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return GenericAlias(list, (python_type(kind.value_type),))
    return next(python for holds, python in PYTHON_TYPES.items() if holds(kind))


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return a hint without its `| None`, and whether it had one."""
    if not isinstance(hint, UnionType):
        return hint, False
    (kind,) = (part for part in get_args(hint) if part is not NoneType)
    return kind, True


def test_every_table_has_a_type_of_its_rows():
    assert ROW_TYPES.keys() == TABLES.keys()


@pytest.mark.parametrize("name", TABLES)
def test_a_row_type_has_the_columns_of_its_table_and_no_other(name):
    assert set(get_type_hints(ROW_TYPES[name])) == set(TABLES[name].schema.names)


@pytest.mark.parametrize("name", TABLES)
def test_a_row_type_has_the_types_of_its_table(name):
    hints = get_type_hints(ROW_TYPES[name])
    kinds = {field.name: python_type(field.type) for field in TABLES[name].schema}
    assert {column: without_none(hint)[0] for column, hint in hints.items()} == kinds


def test_the_type_of_a_file_has_the_fields_of_an_item_of_images_files():
    assert get_type_hints(row_types.FileRow) == {field.name: python_type(field.type) for field in IMAGE_FILE}


@pytest.mark.parametrize("name", TABLES)
def test_a_key_is_never_none(name):
    hints = get_type_hints(ROW_TYPES[name])
    assert not any(without_none(hints[column])[1] for column in TABLES[name].key)
