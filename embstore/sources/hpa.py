"""The Human Protein Atlas layout: one grey (or pseudo-coloured) file a channel, named by its colour.

Names, colours and pixel size as published at https://www.proteinatlas.org: red microtubules, green protein, blue
nucleus, yellow endoplasmic reticulum; 0.0800885 µm a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from embstore.ids import protein_ids, split_list
from embstore.sources.record import Fault, Label, Source, SourceImage
from embstore.sources.tables import find_column, image_files, read_table

COLOURS = {"blue": "nucleus", "green": "protein", "red": "microtubules", "yellow": "er"}
PIXEL_SIZE_UM = 0.0800885
FILE = re.compile(r"^(?P<key>.+)_(?P<colour>red|green|blue|yellow)$")
KNOWN_COLUMNS = ("Gene", "ENSG", "Cellline", "Antibody", "licence")
KEY = re.compile(r"^(?P<plate>\d+)_(?P<well>[A-H]\d{1,2})_(?P<site>\d+)$")


def read_hpa(source: Path, labels: Path | None) -> Source:
    """Return the images of an HPA folder; `labels` names each image's `ID` and its locations in `Label_idx`."""
    root, paths = image_files(source)
    fields: dict[str, dict[str, str]] = {}
    faults = []
    for path in paths:
        name = FILE.match(path.stem)
        if not name:
            continue
        relative = path.relative_to(root)
        # HPA's own names are unique; others only within their folder
        key = name["key"] if KEY.match(name["key"]) else (relative.parent / name["key"]).as_posix()
        files = fields.setdefault(key, {})
        rival = next((f for c, f in files.items() if c == name["colour"] or Path(f).parent != relative.parent), None)
        if rival:
            error = f"{rival} and {relative.as_posix()} both claim to be of field {key}"
            faults.append(Fault(str(path), "plan", error, "keep one field of this name in this source"))
        else:
            files[name["colour"]] = relative.as_posix()

    table, contradictions = _read_labels(labels) if labels else ({}, [])
    faults += contradictions
    images = [_image(key, files, table.get(key, {})) for key, files in fields.items()]
    notes = []
    if labels:
        absent = sorted(set(table) - set(fields))
        notes.append(f"labels: {len(table) - len(absent)} of {len(table)} rows have an image here")
        if absent:
            notes.append(
                f"labels without an image, left out: {', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}"
            )
    asked = tuple(("main", "image", key) for key in fields if key in table)
    return Source(root, tuple(images), tuple(_labels(table, fields, labels)), tuple(faults), tuple(notes), asked)


def _image(key: str, files: dict[str, str], row: dict[str, str]) -> SourceImage:
    colours = [c for c in COLOURS if c in files]
    place = KEY.match(key)
    genes = row.get("Gene", "")
    return SourceImage(
        key=key,
        files=tuple(files[c] for c in colours),
        roles=tuple(COLOURS[c] for c in colours),
        pixel_size_um=PIXEL_SIZE_UM if place else None,
        protein_ids=tuple(protein_ids(row.get("ENSG", ""), genes)),
        genes=tuple(split_list(genes)),
        plate=place["plate"] if place else None,
        well=place["well"] if place else None,
        site=place["site"] if place else None,
        cell_line=row.get("Cellline") or None,
        antibody=row.get("Antibody") or None,
        licence=row.get("licence") or None,
        extra={k: v for k, v in row.items() if k not in KNOWN_COLUMNS and v},
    )


def _read_labels(path: Path) -> tuple[dict[str, dict[str, str]], list[Fault]]:
    """Return the rows by image, and a fault for each image of several rows that say different things of it."""
    rows = read_table(path)
    key = find_column(path, rows, "ID", "Id")
    find_column(path, rows, "Label_idx")
    table: dict[str, dict[str, str]] = {}
    contradicted = {row[key] for row in rows if table.setdefault(row[key], row) != row}
    todo = "keep one row an image, then run the same command again; until then it has neither labels nor protein"
    faults = [
        Fault(f"{path}:{image}", "plan", f"{path.name} has several different rows of {image}", todo)
        for image in sorted(contradicted)
    ]
    return {image: row for image, row in table.items() if image not in contradicted}, faults


def _labels(table: dict[str, dict[str, str]], fields: dict[str, dict[str, str]], path: Path | None) -> Iterator[Label]:
    for key in fields:
        for location in split_list(table.get(key, {}).get("Label_idx", ""), ","):
            yield Label("main", "image", key, location, None, path.name if path else "")
