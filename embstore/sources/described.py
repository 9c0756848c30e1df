"""A table with a row an image, beside images whose names say little: proteins, places, locations, anything further."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from embstore.errors import EmbstoreError
from embstore.sources.columns import (
    TextRow,
    description,
    known_columns,
    locations_of,
    notes_on,
    tidy_rows,
    unknown_ids,
)
from embstore.sources.joining import (
    keys_by_name,
    loose_name,
    said_of_join,
    said_of_shared,
    unambiguous,
    well_name,
)
from embstore.sources.record import Failure, Source, SourceImage, labels_of
from embstore.sources.tables import Renaming, text_table

Key = tuple[str, ...]


def with_descriptions(source: Source, path: Path, renaming: Renaming | None = None) -> Source:
    """Add what a table says of the images of a source: by their key or name, or by plate and well (a plate map).

    Two different rows of one image are a failure, and the first is taken. EmbstoreError where no column names images.
    """
    table = text_table(path, renaming, as_written=True)
    rows = table.numbered
    known = known_columns(rows[0][1]) if rows else {}
    missing = tidy_rows(rows, known)
    keys_of, row_key = _ways(path, rows, known, source.images)
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
    said = locations_of(path, keyed, known)
    return replace(
        source,
        images=tuple(images),
        labels=labels_of(said, path.name),
        asked=tuple(said),
        failures=(*source.failures, *failures),
        notes=(
            *source.notes,
            _said(path, source, keyed, [" ".join(key) for key in by_key if key not in met]),
            *notes_on(table, known),
            *said_of_shared(_shared(source.images, by_key, met)),
            *missing,
            *unknown_ids((row for _, row in keyed), known),
        ),
        sound=(*source.sound, str(path)),
    )


def _said(path: Path, source: Source, keyed: Sequence[tuple[str, TextRow]], unmet: Sequence[str]) -> str:
    described = {key for key, _ in keyed}
    without = [image.key for image in source.images if image.key not in described]
    return said_of_join(path.name, "image", len(keyed), without, unmet)


def _shared(images: Iterable[SourceImage], by_key: Iterable[Key], met: set[Key]) -> dict[str, list[str]]:
    """Return the names of rows that fit several images, with their keys; a name of one that is its key means that."""
    by_name = keys_by_name(image.key for image in images)
    unmet = (key[0] for key in by_key if key not in met and len(key) == 1)
    return {name: by_name[name] for name in unmet if len(by_name.get(name, ())) > 1}


def _ways(
    path: Path, rows: Sequence[tuple[int, TextRow]], known: Mapping[str, str], images: Sequence[SourceImage]
) -> tuple[Callable[[SourceImage], Sequence[Key]], Callable[[TextRow], Key]]:
    """Return how an image and how a row say which image it is."""
    if "key" in known:
        column = known["key"]
        names = unambiguous(row[column].strip() for _, row in rows)
        files = keys_by_name(i.key for i in images)
        keys, stems = unambiguous(i.key for i in images), unambiguous((i.key for i in images), _loose_stem)

        def keys_of(image: SourceImage) -> Sequence[Key]:
            loose = [loose_name(image.key)] if keys.get(loose_name(image.key)) == image.key else []
            loose += [_loose_stem(image.key)] if stems.get(_loose_stem(image.key)) == image.key else []
            name = PurePosixPath(image.key).name
            exact = (image.key, name) if len(files[name]) == 1 else (image.key,)
            return [(name,) for name in (*exact, *(names[name] for name in loose if name in names))]

        return keys_of, lambda row: (row[column].strip(),)
    if "well" in known:
        place = [meaning for meaning in ("plate", "well") if meaning in known]
        columns = [known[meaning] for meaning in place]
        return (
            lambda image: (_place(getattr(image, meaning) or "" for meaning in place),),
            lambda row: _place(row[column] for column in columns),
        )
    found = ", ".join(rows[0][1]) if rows else "no row"
    raise EmbstoreError(
        f"{path} has {found}; wanted a column that names images (image_id, key, cell) or wells (well); "
        "a table of proteins goes in later, with embstore labels add"
    )


def _loose_stem(key: str) -> str:
    return loose_name(PurePosixPath(key).name)


def _place(texts: Iterable[str]) -> Key:
    """Return plate and well, or the well alone, the well as row and column."""
    *plate, well = (text.strip() for text in texts)
    return (*plate, well_name(well))


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
    if image.well and fields["well"] and well_name(fields["well"]) == well_name(image.well):
        del fields["well"]  # A01 in the table is A1 of the plate
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    return replace(image, **given)
