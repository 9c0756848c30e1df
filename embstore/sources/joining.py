"""How names in a table meet names of images and wells: as people write them, and what did not meet."""

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
    """Return a well as row and column: `A1` for A01, a1, A/1 and `row A column 1`; other text as it is."""
    found = _WELL.fullmatch(text.strip())
    return f"{found['row'].upper()}{found['column']}" if found else text.strip()


def loose_name(text: str) -> str:
    """Return a name of an image without what differs from system to system.

    That is case, Unicode form, backslashes and the suffix of an image.
    """
    name = unicodedata.normalize("NFC", text.strip()).casefold().replace("\\", "/").removeprefix("./")
    return bare_name(name) if is_image(Path(name)) else name


def keys_by_name(keys: Iterable[str], spelled: Callable[[str], str] = str) -> dict[str, list[str]]:
    """Return name -> the keys that are, or whose file is, called so, as `spelled`."""
    by_name: dict[str, list[str]] = {}
    for key in keys:
        for name in dict.fromkeys((spelled(key), spelled(PurePosixPath(key).name))):
            by_name.setdefault(name, []).append(key)
    return by_name


def said_of_shared(shared: Mapping[str, Sequence[str]], dataset: str = "") -> tuple[str, ...]:
    """Return a note on names that fit several images, given as name -> keys; none where there are none."""
    if not shared:
        return ()
    of = f" of {dataset}" if dataset else ""
    listed = abridged([f"{name}: {', '.join(keys)}" for name, keys in shared.items()])
    return (f"names that fit several images{of}, so that none of these has a row: {listed}; give their folders too",)


def said_of_join(table: str, things: str, joined: int, without_row: Sequence[str], unmet: Sequence[str]) -> str:
    """Return how many images have a row, with examples of those without one and of rows that met no image.

    Where nothing joined, the note begins with `warning`.
    """
    of = joined + len(without_row)
    said = f"labels: {joined} of {of} {things}s have a row in {table}"
    if of and not joined:
        said = f"warning: nothing joined: {said.removeprefix('labels: ')}"
    if unmet:
        said += f"; rows that met no {things}: {abridged(unmet)}"
    return said + (f"; {things}s without a row: {abridged(without_row)}" if without_row else "")
