"""A table with a row an image, beside images whose names say little: proteins, places, locations, anything further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
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
from embstore.sources.image_rows import ImageRows, image_rows
from embstore.sources.joining import said_of_join, said_of_shared, well_name
from embstore.sources.record import Failure, Source, SourceImage, labels_of
from embstore.sources.tables import Renaming, text_table


def with_descriptions(source: Source, path: Path, renaming: Renaming | None = None) -> Source:
    """Add what a table says of the images of a source: by key, file or place (`image_rows`).

    Two different rows of one image are a failure, and the first is taken. EmbstoreError where no column names images.
    """
    table = text_table(path, renaming, as_written=True)
    rows = table.numbered
    known = known_columns(rows[0][1]) if rows else {}
    missing = tidy_rows(rows, known)
    found = image_rows(path, rows, known, source.root, source.images)
    images: list[SourceImage] = []
    keyed: list[tuple[str, TextRow]] = []
    failures = list(found.failures)
    for image in source.images:
        line, row = found.by_image.get(image.key, (0, {}))
        if not line:
            images.append(image)
            continue
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
            _said(path, source, keyed, found),
            *notes_on(table, known),
            *said_of_shared(found.shared),
            *missing,
            *unknown_ids((row for _, row in keyed), known),
        ),
        sound=(*source.sound, str(path)),
    )


def _said(path: Path, source: Source, keyed: Sequence[tuple[str, TextRow]], found: ImageRows) -> str:
    described = {key for key, _ in keyed}
    without = [image.key for image in source.images if image.key not in described]
    return said_of_join(path.name, "image", len(keyed), without, [*found.unmet, *found.shared])


def _with(image: SourceImage, row: TextRow, known: Mapping[str, str]) -> SourceImage:
    fields = description(row, known)
    if fields["pixel_size_um"] is None:
        del fields["pixel_size_source"]
    if image.well and fields["well"] and well_name(fields["well"]) == well_name(image.well):
        del fields["well"]  # A01 in the table is A1 of the plate
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    return replace(image, **given)
