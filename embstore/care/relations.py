"""Do the tables agree with each other? Keys once, nothing without what it belongs to, counts as recorded.

Every question goes over hashed parts of its key, so that memory is bounded by a part, not by the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embstore.care.findings import REINGEST, Finding, counted
from embstore.query import VIEWS, query, sql_text
from embstore.schema import TABLES, embeddings_name
from embstore.store import Store

PART_ROWS = 1_000_000
DAY_S = 86_400.0
UNITS = {"cell": ("cells", "cell_id"), "image": ("images", "image_id"), "protein": ("profiles", "profile_id")}
REBENCH = "the same bench again completes them"


@dataclass(frozen=True)
class Reference:
    """Values of `column` that must be in `holder.key`; `where` narrows them."""

    table: str
    column: str
    holder: str
    key: str
    found: str
    todo: str
    where: str = "true"
    note: bool = False


REFERENCES = (
    Reference("cells", "image_id", "images", "image_id", "images of cells that are not in images", REINGEST),
    Reference("ingested", "image_id", "images", "image_id", "markers of no image", REINGEST),
    Reference("ingested", "space", "spaces", "digest", "spaces of markers that are not recorded", REINGEST),
    Reference("split_groups", "name", "splits", "name", "splits cut off while written", REBENCH, note=True),
    *(
        Reference(table, "entry", "entries", "entry", "entries cut off while written", REBENCH, note=True)
        for table in ("runs", "results", "predictions")
    ),
    *(
        Reference(
            "labels",
            "subject_id",
            holder,
            key,
            f"labelled {level} ids that are not in {holder}",
            "harmless: labels of what was never ingested or was taken out",
            where=f"level = '{level}'",
            note=True,
        )
        for level, holder, key in (
            ("cell", "cells", "cell_id"),
            ("image", "images", "image_id"),
            ("protein", "proteins", "protein_id"),
        )
    ),
)


def relate(store: Store, names: Sequence[str], spaces: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what does not agree among the tables `names`, the readable ones; `spaces` are rows of that table."""
    rows = {name: store.dataset(name).count_rows() for name in names}
    parts = 1 + max(rows.values(), default=0) // PART_ROWS
    for name in (name for name in names if rows[name]):
        yield from _twice(store, name, parts)
    for reference in (*REFERENCES, *_vectors(spaces)):
        if rows.get(reference.table) and reference.holder in rows:
            yield from _absent(store, reference, parts)
    if {"ingested", "cells"} <= set(names):
        yield from _miscounted(store, names, spaces, parts)


def _twice(store: Store, name: str, parts: int) -> Iterator[Finding]:
    key = ", ".join(TABLES[name].key if name in TABLES else ("id",))
    n, example = _ask(store, "verify_keys", [name], parts, key=key, table=_in_sql(name))
    if n:
        yield Finding("keys", name, counted(n, "keys have several rows", example), REINGEST)


def _vectors(spaces: Sequence[Mapping[str, Any]]) -> Iterator[Reference]:
    for space in (space for space in spaces if space["unit"] in UNITS):
        holder, key = UNITS[space["unit"]]
        found = f"vectors of no {space['unit']} in {holder}"
        yield Reference(embeddings_name(space["digest"]), "id", holder, key, found, REINGEST)
    for space in (space for space in spaces if space["unit"] == "image"):
        found, where = "images marked as done that have no vector", f"space = '{space['digest']}'"
        yield Reference("ingested", "image_id", embeddings_name(space["digest"]), "id", found, REINGEST, where=where)


def _absent(store: Store, want: Reference, parts: int) -> Iterator[Finding]:
    holder = {"holder": _in_sql(want.holder), "key": want.key}
    tables = [want.table, want.holder]
    asked = {"table": _in_sql(want.table), "column": want.column, "where": want.where}
    n, example = _ask(store, "verify_absent", tables, parts, **asked, **holder)
    if n:
        yield Finding("orphans", want.table, counted(n, want.found, example), want.todo, want.note)


def _miscounted(
    store: Store, names: Sequence[str], spaces: Sequence[Mapping[str, Any]], parts: int
) -> Iterator[Finding]:
    """Compare each marker's count with the cells of its image and with the vectors in its space."""
    for space in (space for space in spaces if space["unit"] == "cell"):
        table = embeddings_name(space["digest"])
        if table not in names:
            continue
        asked = {"table": table, "space": space["digest"]}
        n, example = _ask(store, "verify_counts", ["ingested", "cells", table], parts, **asked)
        if n:
            found = counted(n, "images whose marker, cells and vectors differ in number", example)
            yield Finding("markers", table, found, "take these images out with `embstore remove` and ingest them again")


def _ask(store: Store, sql: str, tables: Sequence[str], parts: int, **names: str) -> tuple[int, str]:
    """Return how many rows a question finds over all parts, and the first example."""
    statement = sql_text(sql).format(**names)
    total, first = 0, ""
    for part in range(parts):
        found = query(store, statement, {"parts": parts, "part": part}, timeout_s=DAY_S, tables=list(set(tables)))
        row = found.to_pylist()[0]
        total, first = total + row["n"], first or row["example"] or ""
    return total, first


def _in_sql(name: str) -> str:
    return f"{name}_raw" if name in VIEWS else name
