"""Make a store whole: remove what is damaged, repeated or without owner, so that the next ingest writes it again.

Rows are first removed from the tables that declare them complete, so that after an interruption the next run finds
everything that is left to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from embstore.care.damage import Repaired, drop_unreadable, is_lost, readable, release_tags, reopen, repair_table
from embstore.care.reading import not_finite, read_batches
from embstore.care.records import changed_splits, digest_now, dim_of, unrecorded
from embstore.care.relations import (
    MISCOUNTED,
    absent,
    bad_rows,
    cell_spaces,
    foreign_keys,
    miscounted,
    repeated,
)
from embstore.errors import StoreError
from embstore.progress import Progress, tell
from embstore.store import (
    LATER_TABLES,
    PENDING,
    TABLES,
    Store,
    delete_ids,
    drop_repeats,
    drop_table,
    embeddings,
    embeddings_name,
    finish_removal,
    join_groups,
    quoted,
    refuse_reader,
    select,
)
from embstore.tabular import Listing

_log = logging.getLogger(__name__)


def repair(store: Store, *, progress: Progress | None = None) -> Listing[Repaired]:
    """Remove what `verify` reports as wrong (writes); the same ingest, embed or bench then writes it again.

    This removes fragments that cannot be read; images that may have lost a cell (with all cells, vectors and completion
    records); rows whose key another row has; vectors that are not finite; rows without an owner; completion records
    whose image or space is incomplete; and records of spaces and splits that do not match their digest. Missing tables
    are made again, empty. A tag whose files are missing no longer covers their table. Everything else stays, including
    older and tagged versions. If the record of a space is lost, its vectors stay: the next ingest or embed with its
    backbone records it again, or the next repair removes them.

    May be interrupted at any moment and run again. Run it while nothing else writes to the store: the rows of an ingest
    have no owner until it is done with an image. Returns what was done, in order.
    """
    refuse_reader(store)
    steps = (_records, _cells, _spaces, _removal, _vectors, _rows, _groups, _counts, _splits)
    done: list[Repaired] = []
    for number, step in enumerate(steps, start=1):
        for repaired in list(step(store, any(before.table == "spaces" for before in done))):
            _log.warning("repaired %s: %s (%d rows)", repaired.table, repaired.change, repaired.rows)
            done.append(repaired)
        tell(progress, "repairs", number, len(steps))
    return Listing(done, Repaired, "repair")


def _records(store: Store, _: bool) -> Iterator[Repaired]:
    present = store.table_names()
    for table in TABLES.values():
        if table.name != "cells" and (table.name not in LATER_TABLES or table.name in present):
            yield from repair_table(store, table)


def _cells(store: Store, _: bool) -> Iterator[Repaired]:
    """Remove images that may have lost cells, before the remaining cells look complete."""
    lost = is_lost(store, "cells")
    yield from reopen(store, TABLES["cells"])
    sound, broken = readable(store, "cells")
    if lost or broken:
        yield from _take_out(store, _without_cells(store, sound), "images that may have lost cells were removed")
    yield from release_tags(store, "cells")
    yield from drop_unreadable(store, "cells")


def _without_cells(store: Store, sound: Sequence[Any]) -> list[str]:
    """Return the images of which these fragments have no current cell, or fewer than a completion record counts.

    Images without cells are returned too: checking them again costs little, and flagged cells without a vector are in
    no completion record.
    """
    columns = ["image_id", "segmentation"]
    schema = pa.schema([TABLES["cells"].schema.field(column) for column in columns])
    batches = [batch.select(columns) for part in sound for batch in read_batches(part, columns)]
    cells = pa.Table.from_batches(batches).cast(schema) if batches else schema.empty_table()
    rows = cells.group_by(columns).aggregate([([], "count_all")]).to_pylist()
    counts = {(row["image_id"], row["segmentation"]): row["count_all"] for row in rows}
    sql = """
        SELECT i.image_id, i.segmentation, greatest(1, max(m.n_cells)) AS wanted
        FROM image_current AS i
        LEFT JOIN ingested AS m ON m.image_id = i.image_id AND m.segmentation = i.segmentation
        GROUP BY ALL ORDER BY ALL"""
    images = select(store, sql, tables=["images", "ingested"]).to_pylist()
    return [i["image_id"] for i in images if counts.get((i["image_id"], i["segmentation"]), 0) < i["wanted"]]


def _take_out(store: Store, images: Sequence[str], why: str) -> Iterator[Repaired]:
    """Delete images, so that everything that depends on them has no owner any more."""
    if images:
        delete_ids(store, "images", "image_id", images)
        yield Repaired("images", why, len(images))


def _spaces(store: Store, _: bool) -> Iterator[Repaired]:
    """Make the tables of recorded spaces readable, and delete records that do not match their vectors."""
    for space in store.read("spaces").to_pylist():
        half = space["precision"].startswith("float16")
        table = embeddings(space["digest"], space["dim"], half=half)
        yield from repair_table(store, table)
        other = dim_of(store, table.name) != space["dim"]
        if other or digest_now(space) != space["digest"]:
            store.delete("spaces", f"digest = {quoted(space['digest'])}")
            yield Repaired("spaces", f"the record of {table.name} did not match its vectors", 1)
        if other:
            for name in {"ingested", "imported"}.intersection(store.table_names()):
                store.delete(name, f"space = {quoted(space['digest'])}")
            drop_table(store, table.name)
            yield Repaired(table.name, "was removed with its tags: vectors of another length")


def _vectors(store: Store, records_lost: bool) -> Iterator[Repaired]:
    """Delete vectors of spaces that are not recorded, and vectors that are not finite.

    If records were lost just now, their vectors stay: the next ingest or embed with the backbone records the space
    again.
    """
    spaces = store.read("spaces").to_pylist()
    for name in () if records_lost else unrecorded(store.table_names(), spaces):
        try:
            rows = store.dataset(name).count_rows()
            store.delete(name, "true")
        except StoreError:  # its columns are unknown
            drop_table(store, name)
            yield Repaired(name, "could not be opened and belongs to no space: it was removed with its tags")
        else:
            yield from _done(name, "vectors of a space that is not in spaces", rows)
            yield from release_tags(store, name)
    for name in map(embeddings_name, (space["digest"] for space in spaces)):
        batches = (batch for part in store.dataset(name).get_fragments() for batch in read_batches(part))
        ids = [bad for batch in batches for bad in not_finite(batch)]
        delete_ids(store, name, "id", ids)
        yield from _done(name, "vectors that are not finite", len(ids))


def _removal(store: Store, _: bool) -> Iterator[Repaired]:
    if PENDING in store.tags():
        try:
            finish_removal(store)
        except StoreError:  # the earlier rows cannot be read; rows without owner are deleted below in any case
            store.untag(PENDING)
        yield Repaired("images", "the interrupted removal was finished")


def _rows(store: Store, records_lost: bool) -> Iterator[Repaired]:
    """Delete repeated rows of a key, then images whose number of cells differs, then rows without owner."""
    spaces = store.read("spaces").to_pylist()
    for name in store.table_names():
        if bad_rows(store, repeated(name)):
            before = store.dataset(name).count_rows()
            drop_repeats(store, name)
            yield from _done(name, "rows whose key another row has", before - store.dataset(name).count_rows())
    wrong = [row for space in cell_spaces(spaces) for row in bad_rows(store, miscounted(space))]
    short = sorted({row["image_id"] for row in wrong if not row["has_cells"]})
    yield from _take_out(store, short, "images whose cells differ from their completion records were removed")
    for want in foreign_keys(spaces):
        if want.note or (records_lost and want.holder == "spaces"):
            continue
        if values := [row["example"] for row in bad_rows(store, absent(want))]:
            before = store.dataset(want.table).count_rows()
            delete_ids(store, want.table, want.column, values, f"{want.where} AND ")
            yield from _done(want.table, want.found, before - store.dataset(want.table).count_rows())


def _groups(store: Store, _: bool) -> Iterator[Repaired]:
    yield from _done(
        "proteins", "proteins were put into the group of proteins named by the same image", join_groups(store)
    )


def _counts(store: Store, _: bool) -> Iterator[Repaired]:
    """Delete completion records of images that have cells but not all vectors, so that these are computed again."""
    for space in cell_spaces(store.read("spaces").to_pylist()):
        images = [row["image_id"] for row in bad_rows(store, miscounted(space))]
        delete_ids(store, "ingested", "image_id", images, f"space = {quoted(space['digest'])} AND ")
        yield from _done(
            "ingested", f"completion records of {MISCOUNTED} ({embeddings_name(space['digest'])})", len(images)
        )


def _splits(store: Store, _: bool) -> Iterator[Repaired]:
    for name in list(changed_splits(store)):
        store.delete("splits", f"name = {quoted(name)}")
        store.delete("split_groups", f"name = {quoted(name)}")
        yield Repaired("splits", f"the split {name}, which had changed since it was frozen, was removed", 1)


def _done(table: str, what: str, rows: int) -> Iterator[Repaired]:
    if rows:
        yield Repaired(table, what, rows)
