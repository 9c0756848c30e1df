"""embstore: turn microscopy images into embeddings of their cells, in one versioned store, and search proteins.

>>> import embstore as es
>>> store = es.open("store")                              # doctest: +SKIP
>>> es.similar_proteins(store, "ACTN1", backbone="hpa")   # doctest: +SKIP

Each public name is imported when it is first used, so that importing embstore imports neither PyTorch nor LanceDB.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embstore.backbones.own import Encoder as Encoder
    from embstore.backbones.packages import RegisteredBackbone as RegisteredBackbone
    from embstore.care.doctor import doctor as doctor
    from embstore.care.maintain import maintain as maintain
    from embstore.care.remove import remove as remove
    from embstore.care.repair import repair as repair
    from embstore.care.tags import create_tag as create_tag
    from embstore.care.tags import delete_tag as delete_tag
    from embstore.care.tags import list_tags as list_tags
    from embstore.care.verify import verify as verify
    from embstore.errors import EmbstoreError as EmbstoreError
    from embstore.ingest import add_labels as add_labels
    from embstore.ingest import embed as embed
    from embstore.ingest import import_embeddings as import_embeddings
    from embstore.ingest import ingest as ingest
    from embstore.ingest import list_labels as list_labels
    from embstore.ingest import list_labels_sql as list_labels_sql
    from embstore.ingest import set_seen as set_seen
    from embstore.phantom import write_phantom as write_phantom
    from embstore.search import draw_sheet as draw_sheet
    from embstore.search import open_index as open_index
    from embstore.search import similar_cells as similar_cells
    from embstore.search import similar_proteins as similar_proteins
    from embstore.search.thumbnails import thumbnails as thumbnails
    from embstore.store import Store as Store
    from embstore.store import list_ingests as list_ingests
    from embstore.store import list_spaces as list_spaces
    from embstore.store import list_spaces_sql as list_spaces_sql
    from embstore.store import query as query

    open = Store.open
    __version__: str

# embstore logs under its own name; the program that uses it decides whether and where the log is written
logging.getLogger("embstore").addHandler(logging.NullHandler())

# public name -> module that defines it
_PUBLIC = {
    "EmbstoreError": "embstore.errors",
    "Encoder": "embstore.backbones.own",
    "RegisteredBackbone": "embstore.backbones.packages",
    "Store": "embstore.store",
    "add_labels": "embstore.ingest",
    "create_tag": "embstore.care.tags",
    "delete_tag": "embstore.care.tags",
    "doctor": "embstore.care.doctor",
    "draw_sheet": "embstore.search",
    "embed": "embstore.ingest",
    "import_embeddings": "embstore.ingest",
    "ingest": "embstore.ingest",
    "list_ingests": "embstore.store",
    "list_labels": "embstore.ingest",
    "list_labels_sql": "embstore.ingest",
    "list_spaces": "embstore.store",
    "list_spaces_sql": "embstore.store",
    "list_tags": "embstore.care.tags",
    "maintain": "embstore.care.maintain",
    "open_index": "embstore.search",
    "query": "embstore.store",
    "remove": "embstore.care.remove",
    "repair": "embstore.care.repair",
    "set_seen": "embstore.ingest",
    "similar_cells": "embstore.search",
    "similar_proteins": "embstore.search",
    "thumbnails": "embstore.search.thumbnails",
    "verify": "embstore.care.verify",
    "write_phantom": "embstore.phantom",
}
__all__ = sorted([*_PUBLIC, "__version__", "open"])  # noqa: PLE0605  # the table above is the one list


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("embstore")
    if name == "open":
        return import_module("embstore.store").Store.open
    if name not in _PUBLIC:
        raise AttributeError(f"module 'embstore' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__


class _Face(ModuleType):
    """Keeps `embstore.ingest` the function: importing the package of that name would replace it by the package."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
