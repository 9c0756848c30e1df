"""Match names in a table with names of images and wells, as people write them, and note what did not match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from embstore.sources.tables import abridged, bare_name, is_image

_WELL = re.compile(
    r"(?:row[\s_-]*)?(?P<row>[a-z]{1,2})[\s/_,.-]*(?:col(?:umn)?[\s_-]*)?0*(?P<column>[1-9]\d{0,2})", re.IGNORECASE
)


def well_name(text: str) -> str:
    """Return a well as row and column: `A1` for A01, a1, A/1 and `row A column 1`; other text unchanged."""
    match = _WELL.fullmatch(text.strip())
    return f"{match['row'].upper()}{match['column']}" if match else text.strip()


def loose_name(text: str) -> str:
    """Return an image's name without what differs between systems.

    These are case, Unicode form, backslashes and the suffix of an image.
    """
    name = unicodedata.normalize("NFC", text.strip()).casefold().replace("\\", "/").removeprefix("./")
    return bare_name(name) if is_image(Path(name)) else name


def keys_by_name(keys: Iterable[str], spelled: Callable[[str], str] = str) -> dict[str, list[str]]:
    """Return name -> the keys that are, or whose file is, named so, after `spelled`."""
    by_name: dict[str, list[str]] = {}
    for key in keys:
        for name in dict.fromkeys((spelled(key), spelled(PurePosixPath(key).name))):
            by_name.setdefault(name, []).append(key)
    return by_name


def note_on_shared(shared: Mapping[str, Sequence[str]], dataset: str = "") -> tuple[str, ...]:
    """Return a note on names that match several images, given as name -> keys; empty if there are none."""
    if not shared:
        return ()
    where = f" of {dataset}" if dataset else ""
    listed = abridged([f"{name}: {', '.join(sorted(keys))}" for name, keys in shared.items()])
    todo = "give their folders too"
    return (f"names that match several images{where}, so that none of these has a row: {listed}; {todo}",)


def note_on_join(table: str, things: str, joined: int, without_row: Sequence[str], unmet: Sequence[str]) -> str:
    """Return how many images have a row, with examples of those without one and of rows that matched no image.

    If nothing joined, the note begins with `warning`.
    """
    total = joined + len(without_row)
    note = f"labels: {joined} of {total} {things}s have a row in {table}"
    if total and not joined:
        note = f"warning: nothing joined: {note.removeprefix('labels: ')}"
    if unmet:
        note += f"; rows that match no {things}: {abridged(unmet)}"
    return note + (f"; {things}s without a row: {abridged(without_row)}" if without_row else "")
