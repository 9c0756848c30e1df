"""docs/tables.md describes every table and column of a store, and is what the schema and tables.toml make of it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embstore.store import Store, query

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """The functions of docs/make_tables.py."""
    return runpy.run_path(str(DOCS / "make_tables.py"))


@pytest.fixture(scope="module")
def schemas(maker: dict[str, Any]) -> dict[str, pa.Schema]:
    """The schema of every table and view."""
    known: dict[str, pa.Schema] = maker["schemas"]()
    return known


def test_every_table_and_column_is_described(maker: dict[str, Any], schemas: dict[str, pa.Schema]) -> None:
    """tables.toml has a meaning for each table, view and column, and for nothing else."""
    assert set(maker["meanings"]()) == set(schemas)
    for name, schema in schemas.items():
        described = set(maker["described_columns"](name))
        inherited = set(maker["stored_columns"](name)) - described
        assert described <= set(schema.names), f"{name} has no such column: correct embstore/store/tables.toml"
        assert set(schema.names) - inherited == described, f"describe {name} in embstore/store/tables.toml"


def test_the_page_is_up_to_date(maker: dict[str, Any], schemas: dict[str, pa.Schema]) -> None:
    """The page is what `make docs` writes."""
    assert (DOCS / "tables.md").read_text(encoding="utf-8") == maker["tables_page"](schemas), "run `make docs`"


def test_the_sql_of_the_page_runs(tmp_path: Path) -> None:
    """The SELECT that pairs scores with their locations is one that the store's tables can answer."""
    store = Store.open(tmp_path / "store", create=True)
    [sql] = re.findall(r"^```sql\n(.*?)^```", (DOCS / "tables.md").read_text(encoding="utf-8"), re.M | re.S)
    assert query(store, sql).to_arrow().schema.names == ["id", "location", "score", "actual"]
