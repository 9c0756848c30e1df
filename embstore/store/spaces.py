"""Which space is meant: from `NAME[:strategy]` or a digest to one row of `spaces`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from embstore.errors import EmbstoreError, choices
from embstore.ids import short
from embstore.pixels.intensity import intensity_name
from embstore.space import split_spec
from embstore.store.query import rows
from embstore.store.row_types import SpaceRow
from embstore.store.schema import embeddings, embeddings_name
from embstore.store.store import Store, now
from embstore.store.upkeep import make_table
from embstore.store.vectors import vector_rows
from embstore.tabular import Listing

# what a bare NAME means, in this order
DEFAULT_STRATEGIES = ("mapping", "brought")
VECTOR_UNITS = ("cell", "image", "protein")  # what vectors can be of
# what two spaces of one label may differ in, and how it is said
DIFFERENCES: dict[str, Callable[[Any], str]] = {
    "unit": lambda unit: f"of a whole {unit}" if unit == "image" else f"of a {unit}",
    "revision": lambda revision: f"revision {revision}",
    "weights_sha256": lambda sha256: f"weights {short(sha256 or 'none')}",
    "pooling": lambda pooling: f"pooling {pooling}",
    "masked": lambda masked: "masked" if masked else "not masked",
    "crop_um": lambda crop_um: f"crop {crop_um:g} µm" if crop_um else "whole field",
    "input_px": lambda px: f"{px} px" if px else "native size",
    "roles": lambda roles: f"roles {','.join(roles or ())}",
    "fill": lambda fill: f"fill {fill or 0:g}",
    "filling": lambda how: f"filled by {how or 'a number'}",
    "normalisation": lambda spec: f"normalised by {spec or 'the record'}",
    "intensity": lambda spec: f"on {intensity_name(spec or 'no recorded scaling')}",
    "precision": str,
}


def list_spaces(store: Store) -> Listing[SpaceRow]:
    """Return every row of `spaces`, without canaries, ordered by backbone, strategy and digest."""
    return Listing(cast(list[SpaceRow], rows(store, *list_spaces_sql())), SpaceRow, "space")


def list_spaces_sql() -> tuple[str, dict[str, Any]]:
    """Return the SQL that `list_spaces` runs, and its parameters."""
    return "SELECT * EXCLUDE (canary) FROM spaces ORDER BY backbone, strategy, digest", {}


def add_space(
    store: Store, record: Mapping[str, Any], dim: int, *, half: bool, canary: Sequence[float] = ()
) -> dict[str, int]:
    """Record a space and make its empty table (writes); a space that is known is left as it is.

    Return table -> version, of `spaces` and of the table of vectors.
    """
    store._ready_to_write()
    table = embeddings(record["digest"], dim, half=half)
    version = make_table(store, table)
    known = store.read("spaces", ["digest"], pc.field("digest") == record["digest"]).num_rows
    row = dict(record) | {"dim": dim, "canary": list(canary), "created": now()}
    return {"spaces": store.upsert("spaces", [] if known else [row]), table.name: version}


def put_vectors(store: Store, space: str, ids: Sequence[str], vectors: npt.NDArray[np.floating[Any]]) -> int:
    """Insert vectors (n, dim) under their ids (writes), cast to what the space stores; non-finite ones are refused.

    Return the new version of the space's table.
    """
    name = embeddings_name(space)
    return store.upsert(name, vector_rows(ids, vectors, space, store.dataset(name).schema))


def find_space(
    store: Store,
    spec: str | None = None,
    *,
    digest: str | None = None,
    unit: str | None = None,
    todo: str = "",
) -> SpaceRow:
    """Return the one space that `NAME[:strategy]` or the start of a digest names; with neither, the only one.

    `unit` is what its vectors are of; unless it is named, spaces of whole images are meant only where no other fits.
    None or several matches are an EmbstoreError that lists the choices; `todo` is appended when there is none.
    """
    if unit not in (None, *VECTOR_UNITS):
        raise EmbstoreError(choices(str(unit), "unit", VECTOR_UNITS))
    spaces = [s for s in list_spaces(store) if unit in (None, s["unit"])]
    matching = [s for s in spaces if matches(s, spec, digest)]
    if unit is None and digest is None:
        matching = [s for s in matching if s["unit"] != "image"] or matching
    if len(matching) == 1:
        return matching[0]
    if not matching:
        wanted, kind = digest or spec or "any", f"space of unit {unit}" if unit else "space"
        line = choices(wanted, kind, {label(s) for s in spaces})
        raise EmbstoreError(f"{line}; {todo}" if todo else line)
    listed = ", ".join(
        f"{name} (--space {short(s['digest'])})" for name, s in zip(told_apart(matching), matching, strict=True)
    )
    raise EmbstoreError(f"{len(matching)} spaces match {spec or 'no --backbone'}: {listed}; name one of them")


def label(space: SpaceRow) -> str:
    """Return `NAME:strategy`, or NAME alone where the vectors were brought."""
    return str(space["backbone"] if space["strategy"] == "brought" else f"{space['backbone']}:{space['strategy']}")


def told_apart(spaces: Sequence[SpaceRow]) -> list[str]:
    """Return each space's label and, where several share it, what tells them apart: `name:mapping, pooling mean`."""
    alike = [[other for other in spaces if label(other) == label(space)] for space in spaces]
    return [", ".join([label(space), *_differing(space, others)]) for space, others in zip(spaces, alike, strict=True)]


def _differing(space: SpaceRow, others: Sequence[SpaceRow]) -> list[str]:
    return [
        say(space.get(column))
        for column, say in DIFFERENCES.items()
        if any(other.get(column) != space.get(column) for other in others)
    ]


def matches(space: SpaceRow, spec: str | None, digest: str | None) -> bool:
    """Tell whether `NAME[:strategy]` and the start of a digest, where they are given, name this space."""
    if digest is not None and not space["digest"].startswith(digest):
        return False
    if spec is None:
        return True
    name, strategy = split_spec(spec)
    return space["backbone"] == name and space["strategy"] in ((strategy,) if strategy else DEFAULT_STRATEGIES)
