"""Which datasets the store contains."""

from __future__ import annotations

from embstore.errors import EmbstoreError, choices
from embstore.store.query import rows
from embstore.store.store import Store

DATASETS_SQL = "SELECT dataset FROM images UNION SELECT dataset FROM profiles ORDER BY dataset"


def list_datasets(store: Store) -> list[str]:
    """Return the names of the datasets of images or of external embeddings, sorted."""
    return [row["dataset"] for row in rows(store, DATASETS_SQL)]


def require_dataset(store: Store, name: str) -> None:
    """Raise an EmbstoreError that lists the datasets if the store has none of that name."""
    names = list_datasets(store)
    if name not in names:
        raise EmbstoreError(choices(name, "dataset", names))
