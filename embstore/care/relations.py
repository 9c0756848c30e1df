"""Check that the tables agree with each other: unique keys, no row without its owner, counts as recorded.

Every query runs over hashed parts of its key, so that memory is bounded by the part, not by the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import pyarrow as pa

from embstore.care.findings import IMPORT, JOIN, RECORD, REPAIR, RERUN, Finding, counted
from embstore.store import SQL_VIEWS, TABLES, SpaceRow, Store, embeddings_name, select, sql_text

PART_ROWS = 8_000_000
DAY_S = 86_400.0
UNIT_TABLES = {"cell": ("cells", "cell_id"), "image": ("images", "image_id"), "protein": ("profiles", "profile_id")}
MISCOUNTED = "images whose completion record, cells and vectors differ in number"
UNEMBEDDED = "profiles have no vector in any space"
DIVIDED = "images or profiles name proteins of several groups, which a split may separate"
REBENCH = "the same bench again completes them"


@dataclass(frozen=True)
class ForeignKey:
    """Values of `column` that must be in `holder.key`; `where` restricts the rows."""

    table: str
    column: str
    holder: str
    key: str
    found: str
    todo: str
    where: str = "true"
    note: bool = False


FOREIGN_KEYS = (
    ForeignKey("cells", "image_id", "images", "image_id", "images of cells that are not in images", RERUN),
    ForeignKey("ingested", "image_id", "images", "image_id", "completion records without an image", RERUN),
    ForeignKey("ingested", "space", "spaces", "digest", "spaces of completion records that are not in spaces", RECORD),
    ForeignKey("imported", "profile_id", "profiles", "profile_id", "origins without a profile", REPAIR),
    ForeignKey("imported", "space", "spaces", "digest", "spaces of origins that are not in spaces", RECORD),
    ForeignKey("split_groups", "name", "splits", "name", "splits that were not written completely", REBENCH, note=True),
    *(
        ForeignKey(table, "entry", "entries", "entry", "entries that were not written completely", REBENCH, note=True)
        for table in ("runs", "results", "predictions")
    ),
    *(
        ForeignKey(
            "labels",
            "subject_id",
            holder,
            key,
            f"labelled {level} ids that are not in {holder}",
            "harmless: labels of something that was never ingested or was removed",
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


class BadRow(TypedDict):
    """A row of an `IntegrityQuery`; only `miscounted` returns more than the example."""

    example: str
    image_id: NotRequired[str]
    has_cells: NotRequired[bool]


@dataclass(frozen=True)
class IntegrityQuery:
    """A SELECT over one part of some tables: one row for each problem, with an `example` to print.

    `grouped` are the tables whose rows are counted to choose the number of parts: a part groups about that many keys.
    """

    sql: str
    tables: frozenset[str]
    grouped: frozenset[str]


def relate(store: Store, names: Sequence[str], spaces: Sequence[SpaceRow]) -> Iterator[Finding]:
    """Yield what does not match among the tables `names`, which can be read; `spaces` are rows of that table."""
    rows = {name: store.dataset(name).count_rows() for name in names}
    for name in (name for name in names if rows[name]):
        n, example = _tally(store, repeated(name))
        if n:
            yield Finding("keys", name, counted(n, "keys have several rows", example), REPAIR)
    for want in foreign_keys(spaces):
        n, example = _tally(store, absent(want)) if rows.get(want.table) and want.holder in rows else (0, "")
        if n:
            yield Finding("orphans", want.table, counted(n, want.found, example), want.todo, want.note)
    lacking = unembedded(spaces)
    if lacking.tables <= set(names):
        n, example = _tally(store, lacking)
        if n:
            yield Finding("vectors", "profiles", counted(n, UNEMBEDDED, example), IMPORT, note=True)
    if {"images", "profiles", "proteins"} <= set(names):
        n, example = _tally(store, divided())
        if n:
            yield Finding("groups", "proteins", counted(n, DIVIDED, example), JOIN)
    for space in cell_spaces(spaces) if {"ingested", "cells"} <= set(names) else ():
        table = embeddings_name(space["digest"])
        n, example = _tally(store, miscounted(space)) if table in names else (0, "")
        if n:
            yield Finding("completion records", table, counted(n, MISCOUNTED, example), REPAIR)


def cell_spaces(spaces: Sequence[SpaceRow]) -> list[SpaceRow]:
    """Return the spaces whose vectors describe cells."""
    return [space for space in spaces if space["unit"] == "cell"]


def foreign_keys(spaces: Sequence[SpaceRow]) -> Iterator[ForeignKey]:
    """Yield the foreign keys between tables, owners before what they own."""
    yield from FOREIGN_KEYS
    for space in (space for space in spaces if space["unit"] in UNIT_TABLES):
        holder, key = UNIT_TABLES[space["unit"]]
        problem = f"vectors without {space['unit']} in {holder}"
        yield ForeignKey(embeddings_name(space["digest"]), "id", holder, key, problem, RERUN)
    for space in (space for space in spaces if space["unit"] == "image"):
        problem, where = "images marked as done that have no vector", f"space = '{space['digest']}'"
        yield ForeignKey("ingested", "image_id", embeddings_name(space["digest"]), "id", problem, REPAIR, where=where)


def repeated(name: str) -> IntegrityQuery:
    """Return the query for keys of a table that have several rows."""
    key = ", ".join(TABLES[name].key if name in TABLES else ("id",))
    return _query("verify_keys", {name}, {name}, key=key, table=_in_sql(name))


def absent(want: ForeignKey) -> IntegrityQuery:
    """Return the query for values that their holder lacks; each is the `example` of its row."""
    holder = {"holder": _in_sql(want.holder), "key": want.key}
    asked = {"table": _in_sql(want.table), "column": want.column, "where": want.where}
    both = {want.table, want.holder}
    return _query("verify_absent", both, both, **asked, **holder)


def miscounted(space: SpaceRow) -> IntegrityQuery:
    """Return the query for images whose completion record counts other cells (not `has_cells`) or vectors."""
    table = embeddings_name(space["digest"])
    # cells and vectors are counted by image, and each part takes one pass over all of them
    tables = {"ingested", "cells", table}
    return _query("verify_counts", tables, {"ingested"}, table=table, space=space["digest"])


def unembedded(spaces: Sequence[SpaceRow]) -> IntegrityQuery:
    """Ask for the profiles that have no vector in any of the spaces of profiles."""
    tables = [embeddings_name(space["digest"]) for space in spaces if space["unit"] == "protein"]
    queries = [f'SELECT id FROM "{table}"' for table in tables] or ["SELECT '' AS id WHERE false"]
    return _query("verify_profiles", {"profiles", *tables}, {"profiles"}, vectors=" UNION ALL ".join(queries))


def divided() -> IntegrityQuery:
    """Return the query for images and profiles whose proteins are in several groups."""
    return _query("verify_groups", {"images", "profiles", "proteins"}, {"images", "profiles"})


def bad_rows(store: Store, query: IntegrityQuery) -> list[BadRow]:
    """Return every row that a query returns, in the order of its columns within each part."""
    sql = f"SELECT * FROM (\n{query.sql}\n) ORDER BY ALL"
    return [row for part in _parts(store, query, sql) for row in part.to_pylist()]


def _tally(store: Store, query: IntegrityQuery) -> tuple[int, str]:
    """Return how many rows a query returns over all parts, and the first example."""
    sql = f"SELECT count(*) AS n, min(example) AS example FROM (\n{query.sql}\n)"
    total, first = 0, ""
    for part in _parts(store, query, sql):
        (row,) = part.to_pylist()
        total, first = total + row["n"], first or row["example"] or ""
    return total, first


def _parts(store: Store, query: IntegrityQuery, sql: str) -> Iterator[pa.Table]:
    """Yield the answer for each part of the keys that the query groups."""
    parts = 1 + max(store.dataset(name).count_rows() for name in query.grouped) // PART_ROWS
    for part in range(parts):
        yield select(store, sql, {"parts": parts, "part": part}, timeout_s=DAY_S, tables=list(query.tables))


def _query(sql: str, tables: set[str], grouped: set[str], **names: str) -> IntegrityQuery:
    return IntegrityQuery(sql_text("embstore.store", sql, **names), frozenset(tables), frozenset(grouped))


def _in_sql(name: str) -> str:
    return f"{name}_raw" if name in SQL_VIEWS else name
