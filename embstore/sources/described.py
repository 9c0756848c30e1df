"""A table with a row an image, beside images whose names say little: proteins, places, locations, anything further."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from embstore.errors import EmbstoreError
from embstore.sources.columns import TextRow, description, known_columns, locations_of, tidy_rows, unknown_ids
from embstore.sources.record import Failure, Source, SourceImage, labels_of
from embstore.sources.tables import abridged, numbered_rows

Key = tuple[str, ...]
WELL = re.compile(r"([A-Za-z]{1,2})[/_ -]?0*(\d{1,2})")


def with_descriptions(source: Source, path: Path) -> Source:
    """Add what a table says of the images of a source: by their key or name, or by plate and well (a plate map).

    Two different rows of one image are a failure, and the first is taken. EmbstoreError where no column names images.
    """
    rows = numbered_rows(path, as_written=True)
    known = known_columns(rows[0][1]) if rows else {}
    missing = tidy_rows(rows, known)
    keys_of, row_key = _ways(path, rows, known)
    by_key, failures = _by_key(path, rows, row_key)
    images: list[SourceImage] = []
    keyed: list[tuple[str, TextRow]] = []
    met: set[Key] = set()
    for image in source.images:
        key = next((key for key in keys_of(image) if key in by_key), None)
        if key is None:
            images.append(image)
            continue
        met.add(key)
        line, row = by_key[key]
        try:
            images.append(_with(image, row, known))
            keyed.append((image.key, row))
        except EmbstoreError as error:
            failures.append(
                Failure(f"{path}:{line}", "plan", str(error), "correct the row; until then its image stays out")
            )
    said = locations_of(keyed, known)
    return replace(
        source,
        images=tuple(images),
        labels=labels_of(said, path.name),
        asked=tuple(said),
        failures=(*source.failures, *failures),
        notes=(
            *source.notes,
            *_joined(path, source, keyed, [key for key in by_key if key not in met]),
            *missing,
            *unknown_ids((row for _, row in keyed), known),
        ),
        sound=(*source.sound, str(path)),
    )


def _ways(
    path: Path, rows: Sequence[tuple[int, TextRow]], known: Mapping[str, str]
) -> tuple[Callable[[SourceImage], Sequence[Key]], Callable[[TextRow], Key]]:
    """Return how an image and how a row say which image it is."""
    if "key" in known:
        column = known["key"]
        return lambda image: ((image.key,), (PurePosixPath(image.key).name,)), lambda row: (row[column].strip(),)
    if "well" in known:
        place = [meaning for meaning in ("plate", "well") if meaning in known]
        columns = [known[meaning] for meaning in place]
        return (
            lambda image: (tuple(_place(meaning, getattr(image, meaning) or "") for meaning in place),),
            lambda row: tuple(_place(m, row[c]) for m, c in zip(place, columns, strict=True)),
        )
    found = ", ".join(rows[0][1]) if rows else "no row"
    raise EmbstoreError(
        f"{path} has {found}; wanted a column that names images (image_id, key, cell) or wells (well); "
        "a table of proteins goes in later, with embstore labels add"
    )


def _place(meaning: str, text: str) -> str:
    """Return a plate as it is named, and a well by row and column: A1, a01, A/1 and A-01 are one well."""
    parts = WELL.fullmatch(text.strip()) if meaning == "well" else None
    return f"{parts[1].upper()}{int(parts[2])}" if parts else text.strip()


def _joined(path: Path, source: Source, keyed: Sequence[tuple[str, TextRow]], unused: Sequence[Key]) -> list[str]:
    """Return notes on how a table met the images: how many have a row, and examples of what did not meet."""
    with_row = {key for key, _ in keyed}
    notes = [f"labels: {len(keyed)} of {len(source.images)} images have a row in {path.name}"]
    without = [image.key for image in source.images if image.key not in with_row]
    rows = [" ".join(key) for key in unused]
    if without and rows:
        notes.append(f"no row for {abridged(without)}; no image for the rows {abridged(rows)}")
    return notes


def _by_key(
    path: Path, rows: Sequence[tuple[int, TextRow]], row_key: Callable[[TextRow], Key]
) -> tuple[dict[Key, tuple[int, TextRow]], list[Failure]]:
    found: dict[Key, tuple[int, TextRow]] = {}
    failures = []
    for line, row in rows:
        if found.setdefault(row_key(row), (line, row))[1] != row:
            error = f"{' '.join(row_key(row))} has another row before this one, which was taken"
            failures.append(Failure(f"{path}:{line}", "plan", error, "keep one row of it"))
    return found, failures


def _with(image: SourceImage, row: TextRow, known: Mapping[str, str]) -> SourceImage:
    fields = description(row, known)
    if fields["pixel_size_um"] is None:
        del fields["pixel_size_source"]
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    return replace(image, **given)
