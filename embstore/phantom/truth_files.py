"""The truth of a written atlas, next to its images: masks, every cell's mixture, proteins, plates and fields.

`truth/masks/<key>_nuclei.png` and `_cells.png` are instance masks, uint16 (y, x), with shared labels. Tables are CSV:
`cells` (one row per cell: its share of each location, its phase), `proteins`, `looks` (how a protein's structures at
one location differ from another's), `fields` (the effects of the field and of its plate). Shares are fractions of the
pattern's light and sum to 1; lengths are in µm, brightness is a factor.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError
from embstore.files import whole_file
from embstore.phantom import names
from embstore.phantom.versions import atlas_digest
from embstore.sources.record import ATLAS

if TYPE_CHECKING:
    from types import TracebackType

    from embstore.phantom.v1.field import Field
    from embstore.phantom.v1.proteins import Protein

WRITE_AGAIN = "write the atlas again with the same command"


class AtlasRequest(TypedDict):
    """What an atlas was requested with, as recorded in its `phantom.json`."""

    version: str
    digest: str  # of the simulator version, 64 hex
    layout: str
    proteins: int
    fields: int  # of each protein
    seed: int
    field_px: int


class TruthFiles:
    """Writes the truth of an atlas field by field, so that memory does not grow with the atlas."""

    def __init__(self, folder: Path, layout: str) -> None:
        self._folder, self._layout = folder, layout
        self._files = ExitStack()  # written as a whole, so that an interrupted call leaves no half table
        self._tables: dict[str, Any] = {}

    def __enter__(self) -> TruthFiles:
        from embstore.phantom.v1.law import LOCATIONS

        (self._folder / "masks").mkdir(parents=True, exist_ok=True)
        # opened before the first cell, because an atlas may contain none
        self._open("cells", ["image", "label", "phase", "brightness", *LOCATIONS])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.__exit__(kind, error, at)

    def add_protein(self, protein: Protein) -> None:
        """Write one row of `proteins`, and one of `looks` for each of its locations."""
        gene = names.gene(protein.seed, protein.index)
        self._write("proteins", _protein_row(gene, protein))
        for location, look in protein.looks.items():
            factors = {name: _rounded(value) for name, value in asdict(look).items()}
            self._write("looks", {"gene": gene, "location": location} | factors)

    def add_field(self, protein: Protein, number: int, field: Field) -> None:
        """Write one field's masks, its row of `fields`, and the rows of its cells."""
        from PIL import Image

        key = names.image_key(self._layout, protein.seed, protein.index, number)
        for name, labels in (("nuclei", field.nuclei), ("cells", field.cells)):
            Image.fromarray(labels.astype(np.uint16)).save(mask_path(self._folder, key, name), compress_level=1)
        levels = ("field", "plate")
        effects = {f"{at} {k}": _rounded(v) for at in levels for k, v in asdict(getattr(field, at)).items()}
        gene = names.gene(protein.seed, protein.index)
        self._write("fields", {"image": key, "gene": gene, "n_cells": len(field.truths)} | effects)
        for truth in field.truths:
            row = {"image": key, "label": truth.label, "phase": truth.phase, "brightness": _rounded(truth.brightness)}
            self._write("cells", row | _shares(truth.shares))

    def _open(self, table: str, columns: Sequence[str]) -> None:
        unfinished = self._files.enter_context(whole_file(self._folder / f"{table}.csv"))
        file = self._files.enter_context(unfinished.open("w", newline="", encoding="utf-8"))
        self._tables[table] = csv.DictWriter(file, columns, lineterminator="\n")
        self._tables[table].writeheader()

    def _write(self, table: str, row: Mapping[str, Any]) -> None:
        if table not in self._tables:
            self._open(table, list(row))
        self._tables[table].writerow(row)


def _protein_row(gene: str, protein: Protein) -> dict[str, Any]:
    from embstore.phantom.v1.field import plate_number

    return {
        "gene": gene,
        "ensg_id": names.ensg_id(protein.seed, protein.index),
        "plate": plate_number(protein),
        "grades": _joined(protein.grades),
        "published": _joined(protein.published),
        "wrong": int(protein.wrong),
        "expression": _rounded(protein.expression),
        "haze": _rounded(protein.haze),
        **_shares(protein.shares),
    }


def _joined(grades: Mapping[str, int]) -> str:
    return ";".join(f"{location}:{grade}" for location, grade in grades.items())


def _shares(shares: Mapping[str, float]) -> dict[str, Any]:
    from embstore.phantom.v1.law import LOCATIONS

    return {location: _rounded(shares[location]) if location in shares else "" for location in LOCATIONS}


def _rounded(value: float) -> float:
    return round(value, 5)


def mask_path(truth: Path, key: str, name: str) -> Path:
    """Return the path of a field's instance masks (`nuclei` or `cells`)."""
    return truth / "masks" / f"{key}_{name}.png"


def read_true_mask(truth: Path, key: str, name: str) -> npt.NDArray[np.int32]:
    """Return a field's instance mask, int32 (y, x); EmbstoreError if it cannot be read."""
    from PIL import Image

    path = mask_path(truth, key, name)
    try:
        with Image.open(path) as image:
            labels = np.asarray(image, dtype=np.int32)
    except OSError as error:
        raise EmbstoreError(f"{path} cannot be read ({error}); {WRITE_AGAIN}") from error
    if labels.ndim != 2:
        raise EmbstoreError(f"{path} has the shape {labels.shape}, wanted one label per pixel; {WRITE_AGAIN}")
    return labels


def read_field_keys(truth: Path) -> list[str]:
    """Return the keys of all images of an atlas, in order."""
    return [row["image"] for row in _rows(truth / "fields.csv", "image")]


def read_cell_truth(truth: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Return image key -> label -> location -> share for all cells; EmbstoreError if a table is damaged."""
    from embstore.phantom.v1.law import LOCATIONS

    path = truth / "cells.csv"
    shares_of: dict[str, dict[int, dict[str, float]]] = {}
    for number, row in enumerate(_rows(path, "image", "label", *LOCATIONS), start=2):
        try:
            shares = {location: float(row[location]) for location in LOCATIONS if row[location]}
            label = int(row["label"])
        except ValueError as error:
            raise EmbstoreError(f"{path}, line {number}: {error}; {WRITE_AGAIN}") from error
        if abs(sum(shares.values()) - 1) > 1e-3:
            raise EmbstoreError(f"{path}, line {number}: shares of {sum(shares.values()):g}, wanted 1; {WRITE_AGAIN}")
        shares_of.setdefault(row["image"], {})[label] = shares
    return shares_of


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    from embstore.sources.tables import read_table

    try:
        rows = read_table(path)
    except EmbstoreError as error:
        raise EmbstoreError(f"{str(error).split('; ')[0]}; {WRITE_AGAIN}") from error
    if rows and (absent := [column for column in columns if column not in rows[0]]):
        raise EmbstoreError(f"{path} has no column {absent[0]}; {WRITE_AGAIN}")
    return rows


def read_request(atlas: Path) -> AtlasRequest:
    """Return what an atlas was requested with; EmbstoreError if it is no atlas or its version is unknown."""
    note = atlas / ATLAS
    try:
        request: AtlasRequest = json.loads(note.read_text("utf-8"))
    except FileNotFoundError:
        raise EmbstoreError(f"{atlas} has no {ATLAS}; give the folder that `embstore phantom write` made") from None
    except (OSError, ValueError) as error:
        raise EmbstoreError(f"{note} cannot be read ({error}); delete it, then {WRITE_AGAIN}") from error
    from embstore.phantom.v1.law import LAYOUTS

    if (
        not isinstance(request, dict)
        or request.get("layout") not in LAYOUTS
        or not {"version", "digest"} <= set(request)
    ):
        raise EmbstoreError(f"{note} does not describe an atlas; delete it, then {WRITE_AGAIN}")
    if request["digest"] != atlas_digest(str(request["version"])):
        raise EmbstoreError(
            f"{atlas} was simulated by another version ({str(request['digest'])[:12]}); {WRITE_AGAIN} to a new folder"
        )
    return request
