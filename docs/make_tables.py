"""Make docs/tables.md: every table and column of a store, from the schema and embstore/store/tables.toml."""

from __future__ import annotations

import tempfile
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa

import embstore as es
from embstore.store.query import SQL_VIEWS
from embstore.store.schema import TABLES, embeddings

PAGE = Path(__file__).with_name("tables.md")
VECTORS = "emb_<digest>"

INTRODUCTION = """\
# Tables of a store

This page is made from the schema by `make docs`; do not edit it by hand. `embstore sql "SELECT ..."` reads all of
these tables ([examples](search.md#ask-in-sql)). A cell, image or external embedding has the same id in every table.
**Bold** columns together identify a row. Columns that contain JSON are text.

- **Images and cells**: `images`, `cells`, `failures`
- **Proteins and their locations**: `proteins`, `labels`
- **Vectors**: `spaces`, `emb_<digest>`, `profiles` (external embeddings), `ingested` (what is done)
- **Scores**: `splits`, `split_groups`, `entries`, `runs`, `results`, `predictions`
- **History**: `ingests`, `store_meta`
- **Views**: `cells`, `image_current`, `units`

The scores of `predictions` are lists whose order is that of the locations in `entries.classes`. This lists one row for
each class of each unit:

```sql
SELECT p.id, unnest(e.classes) AS location, unnest(p.scores) AS score, unnest(p.actual) AS actual
FROM predictions AS p JOIN entries AS e USING (entry)
WHERE p.seed = 0
```
"""


def meanings() -> dict[str, Any]:
    """Return what every table and column means: table -> {row, columns: {name -> meaning}}."""
    return tomllib.loads(files("embstore.store").joinpath("tables.toml").read_text(encoding="utf-8"))


def schemas() -> dict[str, pa.Schema]:
    """Return the schema of every table and view, by its heading in tables.toml."""
    tables = {name: table.schema for name, table in TABLES.items()} | {
        VECTORS: embeddings("0" * 12, 1, half=True).schema
    }
    with tempfile.TemporaryDirectory() as folder:
        store = es.open(folder, create=True)
        views = {view: es.query(store, f'SELECT * FROM "{view}" LIMIT 0').to_arrow().schema for view in SQL_VIEWS}
    return tables | {f"view {view}": schema for view, schema in views.items()}


def described_columns(name: str) -> dict[str, str]:
    """Return the meaning of each column that the page lists for a table or view: those that are its own."""
    columns: dict[str, str] = meanings()[name].get("columns", {})
    return columns


def stored_columns(name: str) -> list[str]:
    """Return the columns whose meaning another section of the page gives: those of the table that a view extends."""
    base = {"view cells": "cells", "view image_current": "images"}.get(name)
    return TABLES[base].schema.names if base else []


def type_name(kind: pa.DataType) -> str:
    """Return an Arrow type in words: `text`, `int32`, `list of float32`."""
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"struct ({', '.join(field.name for field in kind)})"
    if pa.types.is_timestamp(kind):
        return "time (UTC)"
    names = {"string": "text", "binary": "bytes", "double": "float64", "float": "float32", "halffloat": "float16"}
    return names.get(str(kind), str(kind))


def section(name: str, schema: pa.Schema) -> str:
    """Return the part of the page that describes one table or view."""
    keys = () if name.startswith("view ") else TABLES[name].key if name in TABLES else ("id",)
    own = described_columns(name)
    lines = [f"## {name.removeprefix('view ')}{' (view)' if name.startswith('view ') else ''}", ""]
    lines += [f"One row is {meanings()[name]['row']}."]
    lines += ["", "| column | type | meaning |", "|---|---|---|"] if own else []
    for field in schema:
        if field.name in own:
            column = f"**`{field.name}`**" if field.name in keys else f"`{field.name}`"
            lines.append(f"| {column} | {type_name(field.type)} | {own[field.name]} |")
    return "\n".join(lines) + "\n"


def tables_page(known: dict[str, pa.Schema]) -> str:
    """Return the whole page as Markdown, given the schema of every table and view."""
    return "\n".join([INTRODUCTION, *(section(name, known[name]) for name in meanings())]).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(tables_page(schemas()), encoding="utf-8")
