"""Pictures of several channels, next to the files of the channels: recognised by their names and left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from embstore.sources.tables import abridged, bare_name

COLOURS = ("_blue", "_green", "_red", "_yellow")
COMPOSITE_WORD = re.compile(
    r"(?:^|[ _.\-])(?:merged?|overlay|composite|rgba?|colou?r|multi[ _\-]?channel)$", re.IGNORECASE
)


def named_composite(file: str) -> bool:
    """True if a file's name ends in a word for a picture of several channels (`merge`, `overlay`, `rgb`)."""
    return COMPOSITE_WORD.search(bare_name(file)) is not None


def composite_files(named: Iterable[tuple[str, str, str]], endings: Collection[str] = ()) -> set[str]:
    """Return the files among (file, key, role) whose names end in several channels (HPA's `x_blue_red_green.jpg`).

    Such a file is alone with its key `x_blue_red`, which ends in a colour, or in another of the `endings` after the key
    of a field of this source. `cells_gfp` with both `_dapi` and `_gfp` is a field with that name.
    """
    named = list(named)
    files = Counter(key for _, key, _ in named)
    lone = {file: key for file, key, _ in named if files[key] == 1}
    return {
        file
        for file, key in lone.items()
        if _without(key, COLOURS) != key or ((base := _without(key, endings)) != key and base in files)
    }


def composites_note(files: Sequence[str]) -> Iterator[str]:
    """Yield the note on composite pictures that were left out, if there are any."""
    if files:
        yield f"composite pictures of several channels, left out: {abridged(sorted(files))}"


def _without(key: str, endings: Collection[str]) -> str:
    """Return a key without any of the endings at its end."""
    while ending := next((e for e in endings if e and key.lower().endswith(e.lower())), ""):
        key = key[: -len(ending)]
    return key
