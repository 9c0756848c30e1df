"""Delete images or profiles with everything that depends on them; the next removal finishes one that was killed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow.compute as pc

from embstore.store.schema import EMBEDDINGS_PREFIX
from embstore.store.store import Store, quoted

# the name of the tag that marks the versions from before a removal, until it is finished
PENDING = "removal-under-way"
ROOTS = {"images": "image_id", "profiles": "profile_id"}
IDS_PER_CONDITION = 5_000


def finish_removal(store: Store) -> None:
    """Finish an interrupted removal, if there is one (writes): delete what belongs to images or profiles that are gone.

    Gone is what the tagged versions contain and the newest do not, so images that an ingest is writing are not touched.
    """
    before = store.tags().get(PENDING)
    if before is None:
        return
    for table, version in before.items():
        column = ROOTS[table]
        was = store.read(table, [column], version=version)[column]
        gone = was.filter(pc.invert(pc.is_in(was, value_set=store.read(table, [column])[column])))
        _delete_dependants(store, table, sorted(set(gone.to_pylist())))
    store.untag(PENDING)


def take_back(store: Store, images: Sequence[str], cells: Sequence[str]) -> None:
    """Delete images that were removed while they were being written, and the `cells` written for them (writes).

    If this is interrupted, ingesting the images again deletes the rest.
    """
    _delete_dependants(store, "images", images, cells)
    delete_ids(store, "images", "image_id", images)


def _delete_dependants(store: Store, table: str, ids: Sequence[str], cells: Sequence[str] = ()) -> None:
    units = list(ids)
    if table == "images":
        units = [*cells, *(cell for chunk in chunks(ids) for cell in cells_of(store, chunk))]
        delete_ids(store, "ingested", "image_id", ids)
        for level, subjects in (("image", ids), ("cell", units)):
            delete_ids(store, "labels", "subject_id", subjects, f"level = {quoted(level)} AND ")
    names = store.table_names()
    if table == "profiles" and "imported" in names:
        delete_ids(store, "imported", "profile_id", ids)
    for name in (name for name in names if name.startswith(EMBEDDINGS_PREFIX)):
        delete_ids(store, name, "id", [*units, *ids])
    if table == "images":
        delete_ids(store, "cells", "image_id", ids)


def delete_ids(store: Store, table: str, column: str, ids: Sequence[str], also: str = "") -> None:
    """Delete the rows whose `column` is one of `ids`, subject to an additional condition, `... AND ` (writes)."""
    for chunk in chunks(ids):
        store.delete(table, f"{also}{column} IN ({', '.join(map(quoted, chunk))})")


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in pieces short enough for one SQL condition."""
    return (ids[start : start + IDS_PER_CONDITION] for start in range(0, len(ids), IDS_PER_CONDITION))


def cells_of(store: Store, images: Sequence[str]) -> list[str]:
    """Return the ids of all cells of the given images, including those of earlier segmentations."""
    cells: list[str] = store.read("cells", ["cell_id"], pc.field("image_id").isin(list(images)))["cell_id"].to_pylist()
    return cells
