"""`embstore verify`, `maintain`, `tag`, `remove` and `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from embstore.errors import EmbstoreError
from embstore_cli import completion
from embstore_cli.context import Dataset, Format, Output, open_store, state
from embstore_cli.progress import ProgressForm, ProgressOption, show_progress
from embstore_cli.removed import RemovedOption, without_options
from embstore_cli.render import emit, say

if TYPE_CHECKING:
    from embstore.care.findings import Finding
    from embstore.care.remove import Removed

_FINDING = ("check", "table", "found", "todo")
_SIZES = ("bytes", "fragments", "versions")


@without_options(RemovedOption("--mend", "write --repair", is_flag=True))
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="First take out what is damaged, repeated or belongs to nothing.")
    ] = False,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Read everything and report what is wrong: exit 1 where anything is.

    With --repair, what is wrong is taken out first, and the same ingest, embed or bench then brings it again. Run it
    while nothing else writes to the store.

    Example: `embstore verify --format json`
    """
    from embstore.care.verify import verify as run

    store = open_store(write=repair)
    with show_progress(progress_form) as progress:
        if repair:
            from embstore.care.repair import repair as run_repair

            for repaired in run_repair(store, progress=progress):
                rows = f" ({repaired.rows} rows)" if repaired.rows else ""
                say(f"repaired: {repaired.table}: {repaired.change}{rows}")
        verdict = run(store, progress=progress)
    if verdict.wrong or form is not Format.table:
        emit([asdict(finding) for finding in verdict.wrong], _FINDING, form)
    else:
        typer.echo(f"all is well: {verdict.rows} rows in {verdict.tables} tables")
    for note in verdict.notes:
        say(_note(note))
    if verdict.wrong:
        raise typer.Exit(1)


def _note(note: Finding) -> str:
    return f"note: {note.table}: {note.found}; {note.todo}"


def maintain(
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", help="Untagged versions of more days than this go.")
    ] = 7.0,
    progress_form: ProgressOption = ProgressForm.auto,
    form: Output = Format.table,
) -> None:
    """Join small files and remove old versions; those that a tag names stay.

    Example: `embstore maintain --older-than 30`
    """
    from embstore.care.maintain import maintain as run

    store = open_store(write=True)
    with show_progress(progress_form) as progress:
        records = run(store, older_than_days=older_than, progress=progress)
    columns = [f"{size}_{when}" for size in _SIZES for when in ("before", "after")]
    emit(records, ("table", *columns), form)
    before = sum(record["bytes_before"] for record in records)
    after = sum(record["bytes_after"] for record in records)
    say(f"{before} bytes before, {after} after; untagged versions stay for {older_than:g} days")
    if kept := sum(record["tagged_bytes"] for record in records):
        versions = sum(record["tagged_versions"] for record in records)
        say(f"tags keep {versions} older versions of tables, {kept} bytes that no newest one needs (`embstore tag`)")


def tag(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", autocompletion=completion.tags, help="Without one, the tags are listed."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away; one that a score cites stays.")] = False,
    form: Output = Format.table,
) -> None:
    """Name the store as it is now, or list the names; `embstore --at NAME` then reads it as it was.

    Example: `embstore tag paper-v1`, then `embstore --at paper-v1 status`
    """
    from embstore.care.tags import create_tag, delete_tag, list_tags

    store = open_store(write=name is not None)
    if name is None:
        if delete:
            raise EmbstoreError("--delete needs the tag's name: `embstore tag NAME --delete`")
        emit(list_tags(store), ("tag", "tables", "created", "entries"), form)
    elif delete:
        delete_tag(store, name)
        typer.echo(f"{name} is gone; its versions go at the next `embstore maintain`")
    else:
        typer.echo(f"{name} names this state of {len(create_tag(store, name))} tables: embstore --at {name} status")


def remove(
    where: Annotated[
        str, typer.Option("--where", metavar="SQL", help="A condition over images, cells or brought profiles.")
    ],
    dataset: Dataset = None,
    purge: Annotated[bool, typer.Option("--purge", help="Out of tagged and older versions too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, write nothing.")] = False,
    form: Output = Format.table,
) -> None:
    """Take images out, with their cells, vectors and labels; an image goes when it, or any of its cells, matches.

    Tagged and older versions keep theirs until `--purge`. Ingesting the same source again brings everything back.

    Example: `embstore remove --where "plate = '57' AND well = 'F11'" --dry-run`
    """
    from embstore.care.remove import remove as run

    removed = run(open_store(write=True), where, dataset=dataset, purge=purge, dry_run=dry_run)
    if form is Format.table:
        typer.echo(_summary(removed, dry_run=dry_run))
    else:
        record = asdict(removed)
        emit([record], list(record), form)
    if removed.tags:
        verb = "would be" if dry_run else "were"
        say(f"tags {verb} given up: {', '.join(removed.tags)}; {removed.entries} scores cite them, their figures stay")
    for later in removed.still_on_disk:
        say(f"note: the tag {later} came later and keeps the old files: `embstore tag {later} --delete`, then again")


def _summary(removed: Removed, *, dry_run: bool) -> str:
    if not removed.images and not removed.profiles:
        return "nothing to take out: no image, cell or profile matches"
    counts = [
        (n, what) for what in ("images", "cells", "profiles", "vectors", "labels") if (n := getattr(removed, what))
    ]
    return f"{', '.join(f'{n} {what}' for n, what in counts)} {'would go' if dry_run else 'are out'}"


def doctor(form: Output = Format.table) -> None:
    """Is this machine fit: file system, disk, processors, GPU, weights, engines; exit 1 where something fails.

    Example: `embstore doctor`
    """
    from embstore.care.doctor import doctor as run

    checks = run(state.store)
    emit([asdict(check) for check in checks], ("check", "result", "found", "todo"), form)
    if any(check.result == "fail" for check in checks):
        raise typer.Exit(1)
