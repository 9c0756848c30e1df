"""Make tables readable: remove the parts that cannot be opened or read, and keep the rest as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embstore.care.reading import UNREADABLE, bad_at, bad_files, read_batches
from embstore.errors import StoreError
from embstore.files import delete_file, last_bytes, sizes
from embstore.store import Store, Table, drop_fragments, make_table

MAGIC = b"LANC"  # the last bytes of a manifest: https://lance.org/format/table/
NEWEST = (  # since format v2, a manifest is named by this minus its version: the newest comes first
    2**64 - 1
)  # since format v2, a manifest's name is this number minus its version, so that the newest comes first


@dataclass(frozen=True)
class Repaired:
    """One thing that was removed or made again; `rows` is how many rows the table lost."""

    table: str
    change: str
    rows: int = 0


def repair_table(store: Store, table: Table) -> Iterator[Repaired]:
    """Make a table readable (writes): see `reopen`, `release_tags` and `drop_unreadable`."""
    yield from reopen(store, table)
    yield from release_tags(store, table.name)
    yield from drop_unreadable(store, table.name)


def reopen(store: Store, table: Table) -> Iterator[Repaired]:
    """Reset a table to the newest version whose manifest is complete, or make an empty one if there is none (writes).

    Raises StoreError if it cannot be opened although its newest manifest is complete: that may not be damage.
    """
    broken = _broken_manifests(store, table.name)
    for path in broken:
        delete_file(_folder(store, table.name), path)
    lost = f"{len(broken)} manifests were truncated: " if broken else ""
    if not _manifests(store, table.name):
        make_table(store, table)
        for tag in store.tags([table.name]):  # their versions' numbers will be used again
            store.untag(tag, [table.name])
        yield Repaired(table.name, f"{lost}made again, empty")
        return
    try:
        newest = store.dataset(table.name).version
    except StoreError as error:
        todo = f"move {_folder(store, table.name)} away, and `embstore verify --repair` makes it again, empty"
        raise StoreError(f"{str(error).split('; ')[0]}; restore it from a copy of the store, or {todo}") from error
    if broken:
        for tag, versions in store.tags([table.name]).items():
            if versions[table.name] > newest:
                store.untag(tag, [table.name])
        yield Repaired(table.name, f"{lost}reset to version {newest}")


def release_tags(store: Store, name: str) -> Iterator[Repaired]:
    """Remove tags from a table if files of the tagged version are missing; cleaning deletes the version later."""
    files = sizes(_folder(store, name))
    for tag, versions in store.tags([name]).items():
        if bad_at(store, name, versions[name], files):
            store.untag(tag, [name])
            yield Repaired(name, f"the tag {tag} no longer covers it: files of version {versions[name]} are missing")


def drop_unreadable(store: Store, name: str) -> Iterator[Repaired]:
    """Remove the fragments that cannot be read from a table (writes); older versions keep them."""
    _, broken = readable(store, name)
    if broken:
        before = store.dataset(name).count_rows()
        drop_fragments(store, name, [part.fragment_id for part in broken])
        rows = before - store.dataset(name).count_rows()
        yield Repaired(name, f"{len(broken)} fragments that cannot be read were removed", rows)


def readable(store: Store, name: str) -> tuple[list[Any], list[Any]]:
    """Return the fragments of a table that can be read to the end, and those that cannot."""
    files = sizes(_folder(store, name))
    fragments = store.dataset(name).get_fragments()
    sound = [part for part in fragments if not bad_files([part], files) and _can_be_read(part)]
    known = {part.fragment_id for part in sound}
    return sound, [part for part in fragments if part.fragment_id not in known]


def is_lost(store: Store, name: str) -> bool:
    """True if a table needs `reopen`: it has no manifest, or its newest one is truncated."""
    return not _manifests(store, name) or bool(_broken_manifests(store, name))


def _can_be_read(fragment: Any) -> bool:
    try:
        for _ in read_batches(fragment):
            pass
    except UNREADABLE:
        return False
    return True


def _broken_manifests(store: Store, name: str) -> list[str]:
    """Return the newest manifests that are truncated, up to the first complete one."""
    broken = []
    for path in _manifests(store, name):
        if last_bytes(_folder(store, name), path, len(MAGIC)) == MAGIC:
            break
        broken.append(path)
    return broken


def _manifests(store: Store, name: str) -> list[str]:
    """Return the paths of a table's manifests, newest first."""
    stems = {path: path.removeprefix("_versions/").removesuffix(".manifest") for path in sizes(_folder(store, name))}
    numbers = {path: int(stem) for path, stem in stems.items() if path.startswith("_versions/") and stem.isdecimal()}
    return sorted(numbers, key=lambda path: numbers[path] if len(stems[path]) == 20 else NEWEST - numbers[path])


def _folder(store: Store, name: str) -> str:
    return f"{store.uri.rstrip('/')}/{name}.lance"
