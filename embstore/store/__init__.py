"""The store: versioned Lance tables and SQL over them; the only room that imports lance, lancedb and DuckDB."""

from embstore.store.proteins import add_proteins, find_proteins
from embstore.store.query import VIEWS, Answer, query, rows, select, sql_text
from embstore.store.removal import PENDING, ROOTS, cells_of, chunks, delete_ids, finish_removal, take_back
from embstore.store.schema import EMBEDDINGS_PREFIX, TABLES, Table, embeddings, embeddings_name
from embstore.store.spaces import find_space, label, list_spaces, matches, told_apart
from embstore.store.store import Store, code_version, now, quoted, read_only
from embstore.store.vectors import Vectors

__all__ = [
    "EMBEDDINGS_PREFIX",
    "PENDING",
    "ROOTS",
    "TABLES",
    "VIEWS",
    "Answer",
    "Store",
    "Table",
    "Vectors",
    "add_proteins",
    "cells_of",
    "chunks",
    "code_version",
    "delete_ids",
    "embeddings",
    "embeddings_name",
    "find_proteins",
    "find_space",
    "finish_removal",
    "label",
    "list_spaces",
    "matches",
    "now",
    "query",
    "quoted",
    "read_only",
    "rows",
    "select",
    "sql_text",
    "take_back",
    "told_apart",
]
