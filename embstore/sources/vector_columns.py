"""Which columns of a file of embeddings mean what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.sources.columns import hidden_columns

# what `--columns` may call a column of embeddings, and which field says so
MEANINGS_OF = {"ensg_id": "identifier", "uniprot_id": "identifier", "gene": "gene", "locations": "label"}


@dataclass(frozen=True)
class Columns:
    """Which columns (tables) or arrays mean what; `embeddings` is a key, or patterns such as `FS*,FP*`.

    Without `embeddings`, the vectors are all columns of a table that have no other meaning. Without `identifier` and
    `gene` the rows name no protein. The columns of a table without a `header` are called 1, 2, 3, ...; `table` names
    the rows of a .npy.
    """

    embeddings: str | None = None
    identifier: str | None = None
    gene: str | None = None
    label: str | None = None
    unlabelled: str | None = None  # the value that stands for no label
    header: bool = True
    table: str | Path | None = None
    ours: Mapping[str, str] = field(default_factory=dict)  # what the user's columns are called here

    @property
    def named(self) -> list[str]:
        """The columns of text."""
        return list(dict.fromkeys(c for c in (self.identifier, self.gene, self.label) if c))

    @property
    def scheme(self) -> str | None:
        """The name of the label set: the column's, or `locations` where that is what it is called here."""
        return self.ours.get(self.label, self.label) if self.label else None

    def hidden(self, columns: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return the columns that are left out, as others have their meaning, and notes on those and what they mean."""
        return hidden_columns(columns, self.ours)


def with_names(columns: Columns, ours: Mapping[str, str] | None) -> Columns:
    """Return the columns with those of a user's own names; EmbstoreError for a name that embeddings have no use for."""
    named: dict[str, Any] = {}
    for column, name in (ours or {}).items():
        meaning = MEANINGS_OF.get(name)
        if meaning is None:
            raise EmbstoreError(f"--columns gives a column the name {name!r}; wanted one of: {', '.join(MEANINGS_OF)}")
        if rival := named.get(meaning) or getattr(columns, meaning):
            raise EmbstoreError(
                f"the columns {rival!r} and {column!r} are given one meaning ({name}); wanted one of them"
            )
        named[meaning] = column
    return replace(columns, ours=dict(ours or {}), **named)
