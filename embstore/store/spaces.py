"""Find one space: from a backbone spec or a digest to a row of `spaces`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from embstore.errors import EmbstoreError
from embstore.ids import short
from embstore.pixels.intensity import intensity_name
from embstore.space import SPEC_KEYS, BackboneSpec, parse_spec
from embstore.store.query import rows
from embstore.store.row_types import SpaceRow
from embstore.store.schema import embeddings, embeddings_name
from embstore.store.store import Store, now
from embstore.store.upkeep import make_table
from embstore.store.vectors import vector_rows
from embstore.tabular import Listing

# (spec, names of the store's backbones) -> the command line that computes its vectors, "" if there is none
Advice = Callable[[BackboneSpec, Collection[str]], str]


def list_spaces(store: Store) -> Listing[SpaceRow]:
    """Return every row of `spaces`, without canaries, ordered by backbone, strategy and digest."""
    return Listing(cast(list[SpaceRow], rows(store, *list_spaces_sql())), SpaceRow, "space")


def list_spaces_sql() -> tuple[str, dict[str, Any]]:
    """Return the SQL that `list_spaces` runs, and its parameters."""
    return "SELECT * EXCLUDE (canary) FROM spaces ORDER BY backbone, strategy, digest", {}


def add_space(
    store: Store, record: Mapping[str, Any], dim: int, *, half: bool, canary: Sequence[float] = ()
) -> dict[str, int]:
    """Record a space and make its empty table (writes); a space that is already recorded is not changed.

    Returns table -> version, for `spaces` and the table of vectors.
    """
    store._ready_to_write()
    table = embeddings(record["digest"], dim, half=half)
    version = make_table(store, table)
    known = store.read("spaces", ["digest"], pc.field("digest") == record["digest"]).num_rows
    row = dict(record) | {"dim": dim, "canary": list(canary), "created": now()}
    return {"spaces": store.upsert("spaces", [] if known else [row]), table.name: version}


def put_vectors(store: Store, space: str, ids: Sequence[str], vectors: npt.NDArray[np.floating[Any]]) -> int:
    """Insert vectors (n, dim) under their ids (writes), cast to the space's type; StoreError if not finite.

    Returns the new version of the space's table.
    """
    name = embeddings_name(space)
    return store.upsert(name, vector_rows(ids, vectors, space, store.dataset(name).schema))


def find_space(
    store: Store, spec: str | None = None, *, digest: str | None = None, advice: Advice | None = None
) -> SpaceRow:
    """Return the one space that a backbone spec or the beginning of a digest matches; with neither, the only space.

    Parts that the spec omits match anything. If no space or several match, raises EmbstoreError listing the specs of
    those that exist; if none matches, the message ends with what `advice` returns (or `advice` raises its own).
    """
    spaces = list_spaces(store)
    described = None if spec is None else parse_spec(spec)
    matching = [space for space in spaces if matches(space, described, digest)]
    if len(matching) == 1:
        return matching[0]
    wanted = " ".join(filter(None, [spec, f"--space {digest}" if digest else ""]))
    if matching:
        count = f"{len(matching)} spaces match {wanted}" if wanted else f"there are {len(matching)} spaces"
        listed = ", ".join(distinguishing_specs(matching, spaces))
        raise EmbstoreError(f"{count}; choose one with --backbone: {listed}")
    todo = advice(described, {space["backbone"] for space in spaces}) if described and advice else ""
    raise EmbstoreError(_none_matches(spaces, wanted, todo))


def _none_matches(spaces: Sequence[SpaceRow], wanted: str, todo: str) -> str:
    listed = f"no space matches {wanted}; the store's spaces are: {', '.join(distinguishing_specs(spaces))}"
    line = listed if spaces else "the store has no vectors yet"
    return f"{line}; {todo or 'ingest images or import embeddings first'}" if todo or not spaces else line


def label(space: SpaceRow) -> str:
    """Return `NAME:strategy`, or NAME alone if the embeddings are external."""
    return str(space["backbone"] if space["strategy"] == "brought" else f"{space['backbone']}:{space['strategy']}")


def spec_of(space: SpaceRow) -> BackboneSpec:
    """Return the most specific spec that matches a space; values that were not recorded are None."""
    external, px = space["strategy"] == "brought", space["input_px"]
    native = px is None and space["unit"] == "image" and not external
    return BackboneSpec(
        space["backbone"],
        None if external else space["strategy"],
        unit=space["unit"],
        pooling=_recorded(space["pooling"]),
        masked=space["masked"],
        input_px=0 if native else px,
        crop_um=space["crop_um"],
        fill=space.get("filling") or space["fill"],  # stores of format 1 have no such column
        roles=tuple(space["roles"] or ()) if space["strategy"] == "replication" else None,
        intensity=_recorded(intensity_name(space["intensity"] or "")),
        precision=(space["precision"] or "").partition("-")[0] or None,
    )


def _recorded(value: str | None) -> str | None:
    """Return a value that a spec can name, else None: how external embeddings were computed is unknown."""
    return None if not value or value.startswith("as brought") else value


def distinguishing_specs(spaces: Sequence[SpaceRow], among: Sequence[SpaceRow] | None = None) -> list[str]:
    """Return for each space the shortest spec that no other space of `among` (default: `spaces`) matches.

    It names the strategy, and those keys in which spaces of the same name and strategy differ. If no spec is enough
    (because revisions or weights differ), ` --space DIGEST` follows, as on the command line.
    """
    others = spaces if among is None else among
    return [_shortest(space, [other for other in others if other["backbone"] == space["backbone"]]) for space in spaces]


def _shortest(space: SpaceRow, others: Sequence[SpaceRow]) -> str:
    own = spec_of(space)
    alike = [spec_of(other) for other in others if label(other) == label(space)]
    keys = [key for key in SPEC_KEYS if any(getattr(other, key) != getattr(own, key) for other in alike)]
    spec = BackboneSpec(own.name, own.strategy, **{key: getattr(own, key) for key in keys})
    unique = sum(matches(other, spec) for other in others) <= 1
    return str(spec) if unique else f"{spec} --space {short(space['digest'])}"


def matches(space: SpaceRow, spec: BackboneSpec | None, digest: str | None = None) -> bool:
    """True if a spec and the beginning of a digest, if given, match this space."""
    if digest is not None and not space["digest"].startswith(digest):
        return False
    if spec is None:
        return True
    own = spec_of(space)
    return own.name == spec.name and all(getattr(own, key) == value for key, value in spec.given.items())
