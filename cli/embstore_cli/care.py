"""`embstore verify`, `maintain`, `tag`, `remove` and `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError, choices
from embstore_cli import completion
from embstore_cli.context import Dataset, Format, Output, open_store, state
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.removed import RemovedOption, without_options
from embstore_cli.render import emit_table, print_line, say

if TYPE_CHECKING:
    from embstore.care.findings import Finding
    from embstore.care.maintain import KeptByTag
    from embstore.care.remove import Removed
    from embstore.store import Store

_FINDING = ("check", "table", "found", "todo")
TAGS_SHOWN = 5  # of the tags that keep older versions, the largest
_SIZES = ("bytes", "fragments", "versions")


@without_options(RemovedOption("--mend", "write --repair", is_flag=True))
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="First remove what is damaged, repeated or without owner.")
    ] = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Read everything and report what is wrong; exit 1 if anything is.

    With --repair, what is wrong is removed first, and the same ingest, embed or bench then writes it again. Run it
    while nothing else writes to the store.

    Example: `embstore verify --format json`
    """
    from embstore.care.findings import Finding
    from embstore.care.verify import verify as run
    from embstore.tabular import Listing

    store = open_store(write=repair)
    with show_progress(progress_form) as progress:
        if repair:
            from embstore.care.repair import repair as run_repair

            for repaired in run_repair(store, progress=progress):
                rows = f" ({repaired.rows} rows)" if repaired.rows else ""
                say(f"repaired: {repaired.table}: {repaired.change}{rows}")
        verdict = run(store, progress=progress)
    if verdict.wrong or form is not Format.table:
        emit_table(Listing(verdict.wrong, Finding, "finding").to_arrow().select(_FINDING), form)
    else:
        print_line(f"all is well: {verdict.rows} rows in {verdict.tables} tables")
    for note in verdict.notes:
        say(_note(note))
    if verdict.wrong:
        raise typer.Exit(1)


def _note(note: Finding) -> str:
    return f"note: {note.table}: {note.found}; {note.todo}"


def maintain(
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", help="Remove untagged versions older than this.")
    ] = 7.0,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Join small files and remove old versions; those that a tag names are kept.

    Example: `embstore maintain --older-than 30`
    """
    from embstore.care.maintain import kept_by_tags
    from embstore.care.maintain import maintain as run

    store = open_store(write=True)
    with show_progress(progress_form) as progress:
        records = run(store, older_than_days=older_than, progress=progress)
    columns = [f"{size}_{when}" for size in _SIZES for when in ("before", "after")]
    emit_table(records.to_arrow().select(["table", *columns]), form)
    before = sum(record["bytes_before"] for record in records)
    after = sum(record["bytes_after"] for record in records)
    say(f"{before} bytes before, {after} after; untagged versions stay for {older_than:g} days")
    young = sum(record["versions_after"] - record["tagged_versions"] - 1 for record in records)
    if after > before and young > 0:
        say(
            f"it grew because files were joined and {young} untagged versions still need the old ones; "
            "`embstore maintain --older-than 0` removes them; run it when nothing else reads the store"
        )
    kept = [tag for tag in kept_by_tags(store) if tag["bytes"]]
    for tag in kept[:TAGS_SHOWN]:
        say(_kept(tag))
    if len(kept) > TAGS_SHOWN:
        say(f"{len(kept) - TAGS_SHOWN} more tags keep older versions; `embstore tag` lists them")


def _kept(tag: KeptByTag) -> str:
    since = f" since {tag['created']:%Y-%m-%d}" if tag["created"] else ""
    return (
        f"the tag {tag['tag']} keeps {tag['versions']} older versions of tables{since}, {tag['bytes']} bytes that the "
        f"newest versions do not need; `embstore tag {tag['tag']} --delete`, then maintain, frees {tag['freed_bytes']}"
    )


def tag(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=completion.tags, help="Name of the tag [default: list all tags]."
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the tag; one that a score cites is kept.")] = False,
    form: Output = Format.table,
) -> None:
    """Tag the present state of the store, or list the tags; `embstore --at NAME` then reads that state.

    Example: `embstore tag paper-v1`, then `embstore --at paper-v1 status`
    """
    from embstore.care.tags import create_tag, delete_tag, list_tags

    store = open_store(write=name is not None)
    if name is None:
        if delete:
            raise EmbstoreError("--delete needs the tag's name: `embstore tag NAME --delete`")
        emit_table(list_tags(store), form)
    elif delete:
        delete_tag(store, name)
        print_line(f"{name} was deleted; the next `embstore maintain` deletes its versions")
    else:
        n_tables = len(create_tag(store, name))
        print_line(f"{name} tags the present versions of {n_tables} tables: embstore --at {name} status")


def remove(
    where: Annotated[str, typer.Option("--where", metavar="SQL", help="A condition over images, cells or profiles.")],
    dataset: Dataset = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove them from tagged and older versions too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be removed; write nothing.")] = False,
    form: Output = Format.table,
) -> None:
    """Remove images with their cells, vectors and labels; an image is removed if it, or any of its cells, matches.

    What will be removed is printed first, with the tag that still reads it until `--purge`. Ingesting the same source
    again restores everything.

    Example: `embstore remove --where "plate = '57' AND well = 'F11'" --dry-run`
    """
    from embstore.care.remove import remove as run

    store = open_store(write=True)
    planned = run(store, where, dataset=dataset, purge=purge, dry_run=True)
    _announce(store, planned, dataset, dry_run=dry_run)
    removed = planned if dry_run else run(store, where, dataset=dataset, purge=purge)
    if form is Format.table:
        print_line(_summary(removed, dry_run=dry_run))
    else:
        emit_table(removed, form)
    for later in removed.still_on_disk:
        again = f"`embstore tag {later} --delete`, then run this again"
        say(f"note: the tag {later} was made later and keeps the old files: {again}")


def _announce(store: Store, planned: Removed, dataset: str | None, *, dry_run: bool) -> None:
    """Print what a removal will remove, and where it can still be read."""
    from embstore.store import list_datasets

    verb = "would be" if dry_run else "will be"
    if planned.images or planned.profiles:
        kept = "only the same ingest or import restores it"
        if planned.tag:
            kept = f"`embstore --at {planned.tag} ...` still reads it, until `embstore tag {planned.tag} --delete`"
        say(f"{_counts(planned)} {verb} removed; {kept}")
    elif dataset is not None and dataset not in (names := list_datasets(store)):
        say(choices(dataset, "dataset", names))
    if planned.tags:
        cited = f"{planned.entries} scores cite them, and their figures stay"
        say(f"tags {verb} deleted: {', '.join(planned.tags)}; {cited}")


def _summary(removed: Removed, *, dry_run: bool) -> str:
    if not removed.images and not removed.profiles:
        return "nothing to remove: no image, cell or profile matches"
    return f"{_counts(removed)} {'would be removed' if dry_run else 'were removed'}"


def _counts(removed: Removed) -> str:
    counts = ((getattr(removed, what), what) for what in ("images", "cells", "profiles", "vectors", "labels"))
    return ", ".join(f"{n} {what}" for n, what in counts if n) or "nothing"


def doctor(form: Output = Format.table) -> None:
    """Check this machine: file system, disk, processors, GPU, weights, versions; exit 1 if a check fails.

    Example: `embstore doctor`
    """
    from embstore.care.doctor import doctor as run

    checks = run(state.store)
    emit_table(checks, form)
    if any(check.result == "fail" for check in checks):
        raise typer.Exit(1)
