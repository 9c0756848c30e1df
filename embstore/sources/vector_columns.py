"""The meaning of the columns of a file of embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.sources.columns import hidden_columns

# the meanings that `--columns` may give a column of embeddings, and their fields
MEANINGS_OF = {"ensg_id": "identifier", "uniprot_id": "identifier", "gene": "gene", "locations": "label"}


@dataclass(frozen=True)
class Columns:
    """The meanings of columns (of tables) or arrays; `embeddings` is a key, or patterns such as `FS*,FP*`.

    Without `embeddings`, the vectors are all columns of a table without another meaning. Without `identifier` and
    `gene`, the rows name no protein. The columns of a table without a `header` are called 1, 2, 3, ...; `table` names
    the rows of a .npy.
    """

    embeddings: str | None = None
    identifier: str | None = None
    gene: str | None = None
    label: str | None = None
    unlabelled: str | None = None  # the value that means no label
    header: bool = True
    table: str | Path | None = None
    ours: Mapping[str, str] = field(default_factory=dict)  # the meanings of the user's columns

    @property
    def named(self) -> list[str]:
        """The columns of text."""
        return list(dict.fromkeys(c for c in (self.identifier, self.gene, self.label) if c))

    @property
    def scheme(self) -> str | None:
        """The name of the label set: the column's, or `locations` if that is its meaning."""
        return self.ours.get(self.label, self.label) if self.label else None

    def hidden(self, columns: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
        """Return the columns that are left out because others have their meaning, and notes on them."""
        return hidden_columns(columns, self.ours)


def with_names(columns: Columns, ours: Mapping[str, str] | None) -> Columns:
    """Return the columns with those of a user's own names; EmbstoreError for a meaning that embeddings do not have."""
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
