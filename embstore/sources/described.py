"""A table with a row for each image, next to images whose names contain little: proteins, wells, locations and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.sources.cell_names import cell_naming, labels_of_cells_error
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
from embstore.sources.joining import note_on_join, note_on_shared, well_name
from embstore.sources.record import Failure, Source, SourceImage, labels_of
from embstore.sources.tables import Renaming, text_table


def with_descriptions(source: Source, path: Path, renaming: Renaming | None = None) -> Source:
    """Add a table's descriptions of the images of a source: by key, file or well (`image_rows`).

    Two different rows of one image are a failure, and the first is used. Raises EmbstoreError if no column names
    images.
    """
    table = text_table(path, renaming, as_written=True)
    rows = table.numbered
    known = known_columns(rows[0][1]) if rows else {}
    missing = tidy_rows(rows, known)
    by_row = image_rows(path, rows, known, source.root, source.images)
    if by_row.failures and "locations" in known and cell_naming(path, rows, taken=[known["locations"]], asked=False):
        raise labels_of_cells_error(path)
    images: list[SourceImage] = []
    keyed: list[tuple[str, TextRow]] = []
    failures = list(by_row.failures)
    for image in source.images:
        line, row = by_row.by_image.get(image.key, (0, {}))
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
    locations = locations_of(path, keyed, known)
    return replace(
        source,
        images=tuple(images),
        labels=labels_of(locations, path.name),
        asked=tuple(locations),
        failures=(*source.failures, *failures),
        notes=(
            *source.notes,
            _note_on_join(path, source, keyed, by_row),
            *notes_on(table, known),
            *note_on_shared(by_row.shared),
            *missing,
            *unknown_ids((row for _, row in keyed), known),
        ),
        sound=(*source.sound, str(path)),
    )


def _note_on_join(path: Path, source: Source, keyed: Sequence[tuple[str, TextRow]], by_row: ImageRows) -> str:
    described = {key for key, _ in keyed}
    without = [image.key for image in source.images if image.key not in described]
    return note_on_join(path.name, "image", len(keyed), without, [*by_row.unmet, *by_row.shared])


def _with(image: SourceImage, row: TextRow, known: Mapping[str, str]) -> SourceImage:
    fields = description(row, known)
    if fields["pixel_size_um"] is None:
        del fields["pixel_size_source"]
    if image.well and fields["well"] and well_name(fields["well"]) == well_name(image.well):
        del fields["well"]  # A01 in the table is A1 of the plate
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    return replace(image, **given)
