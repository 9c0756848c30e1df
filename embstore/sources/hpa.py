"""The Human Protein Atlas layout: one grey (or pseudo-coloured) file for each channel, named by its colour.

Names, colours and pixel size as published at https://www.proteinatlas.org: red microtubules, green protein, blue
nucleus, yellow endoplasmic reticulum; 0.0800885 µm per pixel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from embstore.sources.cell_names import labels_of_cells_error
from embstore.sources.channels import Reading
from embstore.sources.columns import DEFAULT_SCHEME, TextRow, description, known_columns
from embstore.sources.composites import composite_files, composites_note, named_composite
from embstore.sources.described import with_descriptions
from embstore.sources.joining import keys_by_name, note_on_shared
from embstore.sources.labels import LabelTable, only_describes, read_label_table
from embstore.sources.record import Failure, Source, SourceImage, Subject, labels_of
from embstore.sources.tables import bare_name, image_files

ROLE_OF_COLOUR = {"blue": "nucleus", "green": "protein", "red": "microtubules", "yellow": "er"}
HPA_PIXEL_SIZE_UM = 0.0800885
HPA_FILE = re.compile(r"^(?P<key>.+)_(?P<colour>red|green|blue|yellow)$")
Locations = Mapping[str, int | None]  # with their grades
HPA_KEY = re.compile(r"^(?P<plate>\d+)_(?P<well>[A-H]\d{1,2})_(?P<site>\d+)$")

HPA_COMPOSITE = re.compile(r"^\d+_[A-H]\d{1,2}_\d+(?:_(?:red|green|blue|yellow)){2,}$")


def read_hpa(source: Path, reading: Reading) -> Source:
    """Return the images of an HPA folder, including files packed with gzip.

    `labels` gives the locations of each image (columns `ID, Label_idx`, or a Kaggle train.csv) or of each protein
    (`subcellular_location.tsv`), or describes images (proteins, cell lines, ...) without locations.
    """
    labels, renaming = reading.labels, reading.renaming
    root, paths = image_files(source)
    paths, composites = _channels(root, paths)
    fields: dict[str, dict[str, str]] = {}
    failures = []
    for path in paths:
        key, colour = _field(root, path)
        relative = path.relative_to(root)
        files = fields.setdefault(key, {})
        rival = next((f for c, f in files.items() if c == colour or Path(f).parent != relative.parent), None)
        if rival:
            error = f"{rival} and {relative.as_posix()} are both of field {key}"
            failures.append(Failure(str(path), "plan", error, "keep one field of this name in this source"))
        else:
            files[colour] = relative.as_posix()

    if labels is None or only_describes(labels, renaming):
        images = tuple(_image(key, files, {}) for key, files in fields.items())
        source_images = Source(root, images, failures=tuple(failures), notes=tuple(composites_note(composites)))
        return with_descriptions(source_images, labels, renaming) if labels else source_images
    table = read_label_table(labels, rather="image", renaming=renaming)
    if table.level == "cell":
        raise labels_of_cells_error(labels)
    rows = table.rows
    known_as = _row_names(fields, rows)
    images = tuple(_image(key, files, rows.get(known_as.get(key, ""), {})) for key, files in fields.items())
    locations, notes = _joined_labels(table, known_as, set(fields))
    failures += table.failures
    sound = (str(table.path),)
    return Source(
        root,
        images,
        labels_of(locations, table.path.name),
        tuple(failures),
        (*composites_note(composites), *notes),
        tuple(locations),
        sound,
    )


def _channels(root: Path, paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files that show one channel, and the names of composites (`..._blue_red_green.jpg`)."""
    files = {path.relative_to(root).as_posix(): path for path in paths}
    named = [(file, *_field(root, path)) for file, path in files.items() if HPA_FILE.match(bare_name(path.name))]
    of_hpa = {file for file, _, _ in named if HPA_COMPOSITE.match(bare_name(files[file].name))}
    composites = composite_files(named) | of_hpa
    left_out = [file for file in files if file in composites or named_composite(file)]
    return [files[file] for file, _, _ in named if file not in composites], left_out


def _field(root: Path, path: Path) -> tuple[str, str]:
    """Return the key and the colour of a file; HPA's own names are unique, others only within their folder."""
    name = HPA_FILE.match(bare_name(path.name))
    key, colour = (name["key"], name["colour"]) if name else ("", "")
    return key if HPA_KEY.match(key) else (path.relative_to(root).parent / key).as_posix(), colour


def _joined_labels(
    table: LabelTable, known_as: Mapping[str, str], fields: set[str]
) -> tuple[dict[Subject, Locations], list[str]]:
    """Return a table's locations of proteins, or of the images of this source, and notes on how they joined."""
    if table.level == "protein":
        proteins = len({subject for _, _, subject in table.locations})
        note = (
            f"labels: {proteins} proteins have a row in {table.path.name}, joined to 0 of {len(fields)} images: HPA's "
        )
        note += "names contain no protein. Give a table of image_id, gene, ensg_id with --labels, "
        note += "then this to labels add"
        return dict(table.locations), [note, *table.notes]
    scheme = table.schemes[0] if table.locations else DEFAULT_SCHEME
    locations = {(scheme, "image", key): table.locations[(scheme, "image", name)] for key, name in known_as.items()}
    absent = sorted(set(table.rows).difference(known_as.values()))
    by_name = keys_by_name(fields)
    shared = {name: by_name[name] for name in absent if len(by_name.get(name, ())) > 1}
    notes = [f"labels: {len(table.rows) - len(absent)} of {len(table.rows)} rows have an image here"]
    if absent:
        notes.append(f"labels without an image, left out: {', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}")
    return locations, [*notes, *note_on_shared(shared), *table.notes]


def _row_names(fields: Collection[str], rows: Mapping[str, TextRow]) -> dict[str, str]:
    """Return key -> the field's name in the table: its key, or its name without folders if no other field has it."""
    by_name = keys_by_name(fields)
    names: dict[str, str] = {}
    for key in fields:
        name = PurePosixPath(key).name
        if key in rows:
            names[key] = key
        elif name in rows and len(by_name[name]) == 1:
            names[key] = name
    return names


def _image(key: str, files: dict[str, str], row: TextRow) -> SourceImage:
    colours = [c for c in ROLE_OF_COLOUR if c in files]
    place = HPA_KEY.match(key)
    fields = description(row, known_columns(row))
    if place:
        fields |= {"plate": place["plate"], "well": place["well"], "site": place["site"]}
        if fields["pixel_size_um"] is None:
            fields |= {"pixel_size_um": HPA_PIXEL_SIZE_UM, "pixel_size_source": "layout"}
    return SourceImage(
        key=key,
        files=tuple(files[c] for c in colours),
        roles=tuple(ROLE_OF_COLOUR[c] for c in colours),
        role_reasons=tuple(f"colour {c}" for c in colours),
        **fields,
    )
