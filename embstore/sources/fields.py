"""The fields layout: one file for each channel of a field, recognised by the endings of the files' names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from embstore.errors import EmbstoreError
from embstore.sources.channels import Reading
from embstore.sources.composites import composite_files, composites_note, named_composite
from embstore.sources.described import with_descriptions
from embstore.sources.grouped import grouped
from embstore.sources.record import Source
from embstore.sources.tables import abridged, bare_name, image_files

SEPARATORS = " _.-"


def read_field_files(source: Path, reading: Reading) -> Source:
    """Return the fields of a folder whose files are named `<field><ending>.tif`, with `--channels ENDING=ROLE,...`.

    In an ending, `*` matches anything (a site, a time), which stays part of the field's key. Files whose whole name is
    an ending show the field that their folder is named after. Files with none of the endings are left out and noted.
    `labels` has a row for each field. Raises EmbstoreError without channels.
    """
    endings = reading.channels.by_name
    if not endings:
        raise EmbstoreError(
            "the layout fields recognises channels by the endings of files' names; name what they show: "
            "--channels _dapi=nucleus,..."
        )
    if reading.root:
        raise EmbstoreError("--source-root does not go with --layout fields; give the folder itself")
    root, paths = image_files(source)
    files = [path.relative_to(root).as_posix() for path in paths]
    known = list(_named(root, files, endings))
    composites = composite_files([(file, key, role) for file, key, role, _ in known], endings)
    composites |= {file for file, *_ in known if _merged(file, endings)}
    images, failures = grouped(root, [item for item in known if item[0] not in composites])
    left_out = sorted({*files}.difference(file for file, *_ in known))
    notes = [f"channels: {', '.join(image.roles)}" for image in images]
    notes += composites_note(sorted(composites))
    if left_out:
        notes.append(f"left out, because their names end in none of {', '.join(endings)}: {abridged(left_out)}")
    described = Source(root, tuple(images), failures=tuple(failures), notes=tuple(dict.fromkeys(notes)))
    return with_descriptions(described, reading.labels, reading.renaming) if reading.labels else described


def _named(root: Path, files: Sequence[str], endings: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield (file, key, role, ending) of the files that have one of the endings, the longest that matches."""
    patterns = [(_pattern(ending), ending) for ending in sorted(endings, key=len, reverse=True)]
    for file in files:
        path = PurePosixPath(bare_name(file))
        matches = ((pattern.match(path.name), ending) for pattern, ending in patterns)
        match, ending = next(((match, ending) for match, ending in matches if match), (None, ""))
        if match:
            field = "_".join(part.strip(SEPARATORS) for part in match.groups() if part.strip(SEPARATORS))
            key = (path.parent / field).as_posix() if field else path.parent.as_posix()
            yield file, root.name if key == "." else key, endings[ending], f"ending {ending}"


def _merged(file: str, endings: Collection[str]) -> bool:
    """True if a file is named as a composite, and no ending asks for such files."""
    return named_composite(file) and not any(named_composite(f"x_{ending}") for ending in endings)


def _pattern(ending: str) -> re.Pattern[str]:
    return re.compile("(.*?)" + "(.+?)".join(map(re.escape, ending.split("*"))) + "$")
