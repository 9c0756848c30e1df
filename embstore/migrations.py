"""What changes between one format of the store and the next, numbered; each can be run again after a kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embstore.store import Store


def to_2(store: Store) -> None:
    """`spaces` gets `filling` and `normalisation`, null for the spaces that are there: their digests stay."""
    store.add_columns("spaces", ["filling", "normalisation"])


MIGRATIONS: dict[int, Callable[[Store], None]] = {2: to_2}
