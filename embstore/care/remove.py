"""Remove images with everything that depends on them, and external profiles with their vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count

import pyarrow as pa
import pyarrow.compute as pc

from embstore.care.maintain import clean, compact
from embstore.errors import EmbstoreError, QueryLimitError, in_any_case
from embstore.store import (
    EMBEDDINGS_PREFIX,
    PENDING,
    ROOTS,
    Store,
    cells_of,
    chunks,
    delete_ids,
    finish_removal,
    forget_derived,
    new_run,
    now,
    put_ingest,
    quoted,
    refuse_no_condition,
    refuse_reader,
    select_in_process,
)
from embstore.tabular import Tabular, arrow_table

_log = logging.getLogger(__name__)

# what a SQL condition is evaluated on (the first relation whose columns it uses), and the tables that this reads
RELATIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "images": {"image_current": ("images",), "cells": ("cells", "images", "proteins")},
    "profiles": {"profiles": ("profiles",)},
}


@dataclass(frozen=True, repr=False)
class Removed(Tabular):
    """What a removal removed, or would remove; `tags` are those that a purge deletes, `entries` cite them.

    `tag` is the tag that still reads all of it; "" after a purge, or if there is nothing to remove.
    """

    images: int = 0
    profiles: int = 0
    cells: int = 0
    vectors: int = 0
    labels: int = 0
    tag: str = ""
    tags: tuple[str, ...] = ()
    entries: int = 0
    still_on_disk: tuple[str, ...] = ()  # later tags, whose files contain the deleted bytes

    @property
    def headline(self) -> str:
        """Return how much a removal removed, or would remove."""
        return f"removal of {self.images} images, {self.profiles} profiles and {self.cells} cells"

    def to_arrow(self) -> pa.Table:
        """Return one row with every count as a `pyarrow.Table`."""
        return arrow_table([self], Removed)


KEPT = "before-removal"
Chosen = dict[str, list[str]]  # images, profiles -> ids


def remove(
    store: Store, where: str, *, dataset: str | None = None, purge: bool = False, dry_run: bool = False
) -> Removed:
    """Remove the images, and the profiles, that match a SQL condition (writes, unless `dry_run`).

    `where` is evaluated on the columns of images, else of cells (an image is removed if any of its cells matches), and
    on those of profiles. An image is removed with its cells, vectors, completion records and labels at image or cell
    level; scores stay. A tag keeps the store as it was, a new one if none names its present state, until `purge`: this
    deletes every tag under which the condition matches, so that no version contains it any more. If a removal is
    interrupted, the next one finishes it; ingesting the same source again restores everything. Raises QueryError for an
    invalid condition.
    """
    refuse_reader(store)
    refuse_no_condition(where)
    chosen = _choose(store, where, dataset)
    keeps = any(chosen.values()) and not purge
    if dry_run:
        counted = _counted(store, chosen, _tags_with(store, where, dataset) if purge else [])
        return replace(counted, tag=_tag_of_now(store) if keeps else "")
    finish_removal(store)
    removed = replace(_counted(store, chosen, []), tag=_keep(store) if keeps else "")
    if any(chosen.values()):
        arguments = {"where": where, "dataset": dataset, "purge": purge}
        with _announced(store, arguments, removed.images + removed.profiles):
            store.tag(PENDING, {table: version for table, version in store.versions().items() if table in ROOTS})
            for table, ids in chosen.items():
                delete_ids(store, table, ROOTS[table], ids)
            finish_removal(store)
        _log.info("removed what matches %r: %s", where, removed)
    if purge:
        return _purge(store, replace(removed, tags=tuple(_tags_with(store, where, dataset))))
    return removed


@contextmanager
def _announced(store: Store, arguments: Mapping[str, object], planned: int) -> Iterator[None]:
    """Keep a row of `ingests` while a removal is running, so that `verify` and `status --runs` can report it (writes).

    At its end the row goes, with those of removals that were killed and are finished now.
    """
    run = new_run("remove", str(arguments["dataset"] or "all datasets"), arguments, now())
    if arguments["purge"]:  # nothing of what is removed may stay on the disk, and the condition may name it
        run["arguments"], run["command"] = "{}", ""
    put_ingest(store, {**run, "planned": planned})
    with in_any_case(lambda: store.delete("ingests", f"run = {quoted(run['run'])}")):
        yield
    store.delete("ingests", "kind = 'remove'")


def _keep(store: Store) -> str:
    """Tag the present state of the store, unless a tag names it; return the name of the tag."""
    name, versions = _tag_of_now(store), store.versions()
    known = store.tags().get(name, {})
    store.tag(name, {table: version for table, version in versions.items() if table not in known})
    return name


def _tag_of_now(store: Store) -> str:
    """Return the tag that names the present version of every table, or else the name of the one to make or finish.

    `ingests` does not count: a removal that was interrupted has left its row there, and taken out nothing yet.
    """
    versions = _without_runs(store.versions())
    tags = {tag: _without_runs(tagged) for tag, tagged in store.tags().items()}
    whole = (tag for tag, tagged in tags.items() if tag != PENDING and tagged == versions)
    names = (f"{KEPT}-{number}" for number in count(1))
    return next(chain(whole, (name for name in names if tags.get(name, {}).items() <= versions.items())))


def _without_runs(versions: Mapping[str, int]) -> dict[str, int]:
    return {table: version for table, version in versions.items() if table != "ingests"}


def _choose(store: Store, where: str, dataset: str | None) -> Chosen:
    """Return the ids that match the condition; QueryError if it uses columns that none of the tables has."""
    chosen: Chosen = {}
    refusals: list[EmbstoreError] = []
    for table, relations in RELATIONS.items():
        for relation, tables in relations.items():
            # the dataset is tested outside: no OR in the condition can reach beyond it
            sql = (
                f"SELECT DISTINCT id FROM (SELECT {ROOTS[table]} AS id, dataset FROM {relation} WHERE (\n{where}\n)) "
                "WHERE dataset = coalesce($dataset, dataset) ORDER BY id"
            )
            try:
                matching = select_in_process(store, sql, {"dataset": dataset}, tables=tables)
            except QueryLimitError:  # it may match rows all the same
                raise
            except EmbstoreError as error:  # StoreError if a tag covers none of the tables
                refusals.append(error)
            else:
                chosen[table] = matching["id"].to_pylist()
                break
    if not chosen:
        raise refusals[min(1, len(refusals) - 1)]
    return chosen


# -- counting and purging --------------------------------------------------------------------------------------------


def _counted(store: Store, chosen: Chosen, tags: list[str]) -> Removed:
    images, profiles = chosen.get("images", []), chosen.get("profiles", [])
    cells = [cell for chunk in chunks(images) for cell in cells_of(store, chunk)]
    spaces = [name for name in store.table_names() if name.startswith(EMBEDDINGS_PREFIX)]
    units = [*images, *profiles, *cells]
    return Removed(
        images=len(images),
        profiles=len(profiles),
        cells=len(cells),
        vectors=sum(_count(store, name, "id", units) for name in spaces),
        labels=_count(store, "labels", "subject_id", [*images, *cells], pc.field("level") != "protein"),
        tags=tuple(tags),
        entries=_citing(store, tags),
    )


def _count(store: Store, table: str, column: str, ids: Sequence[str], also: pc.Expression | None = None) -> int:
    total = 0
    for chunk in chunks(ids):
        picked = pc.field(column).isin(list(chunk))
        total += store.read(table, [column], picked if also is None else picked & also).num_rows
    return total


def _citing(store: Store, tags: Sequence[str]) -> int:
    return sum(tag in tags for tag in store.read("entries", ["tag"])["tag"].to_pylist())


def _tags_with(store: Store, where: str, dataset: str | None) -> list[str]:
    """Return the tags under which the condition matches anything."""
    return [tag for tag in store.tags() if tag != PENDING and _picks(Store.open(store.uri, at=tag), where, dataset)]


def _picks(store: Store, where: str, dataset: str | None) -> bool:
    try:
        return any(_choose(store, where, dataset).values())
    except QueryLimitError:
        raise
    except EmbstoreError:  # the tag covers none of the tables that the condition uses
        return False


def _purge(store: Store, removed: Removed) -> Removed:
    """Delete the tags, then rewrite and clean what a removal touches; only what other tags keep is left."""
    entries = _citing(store, removed.tags)
    for tag in removed.tags:
        store.untag(tag)
    tables = [
        n
        for n in store.table_names()
        if n in {*ROOTS, "cells", "imported", "ingested", "labels"} or n.startswith("emb_")
    ]
    forget_derived(store)
    for name in tables:
        compact(store, name, drop_deleted=True)
        clean(store, name, 0)
    still_on_disk = [
        tag
        for tag, versions in store.tags().items()
        if any(
            fragment.deletion_file()
            for name in tables
            if name in versions
            for fragment in store.dataset(name, versions[name]).get_fragments()
        )
    ]
    return replace(removed, entries=entries, still_on_disk=tuple(still_on_disk))
