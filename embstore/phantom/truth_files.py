"""What is true of a written atlas, beside its images: masks, every cell's mixture, proteins, plates and fields.

`truth/masks/<key>_nuclei.png` and `_cells.png` are instance masks, uint16 (y, x), labels shared. Tables are CSV:
`cells` (one row a cell: its share of each location, its phase), `proteins`, `looks` (how a protein's structures at one
location differ from another's), `fields` (the field's own effects and its plate's). Shares are of the pattern light and
sum to 1; lengths are in µm, brightness is a factor.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError
from embstore.phantom import names

if TYPE_CHECKING:
    from types import TracebackType

    from embstore.phantom.v1.field import Field
    from embstore.phantom.v1.proteins import Protein

ATLAS = "phantom.json"
Labels = npt.NDArray[np.int32]


class TruthFiles:
    """Writes the truth of an atlas field by field, so that memory does not grow with it."""

    def __init__(self, folder: Path, layout: str) -> None:
        self._folder, self._layout = folder, layout
        self._files: dict[str, IO[str]] = {}
        self._tables: dict[str, Any] = {}

    def __enter__(self) -> TruthFiles:
        from embstore.phantom.v1.law import LOCATIONS

        (self._folder / "masks").mkdir(parents=True, exist_ok=True)
        # opened before the first cell: an atlas may hold none
        self._open("cells", ["image", "label", "phase", "brightness", *LOCATIONS])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

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
        effects = {f"{of} {k}": _rounded(v) for of in ("field", "plate") for k, v in asdict(getattr(field, of)).items()}
        gene = names.gene(protein.seed, protein.index)
        self._write("fields", {"image": key, "gene": gene, "n_cells": len(field.truths)} | effects)
        for truth in field.truths:
            row = {"image": key, "label": truth.label, "phase": truth.phase, "brightness": _rounded(truth.brightness)}
            self._write("cells", row | _shares(truth.shares))

    def _open(self, table: str, columns: Sequence[str]) -> None:
        # "w": the same call writes the same truth, whatever a stopped one left
        self._files[table] = (self._folder / f"{table}.csv").open("w", newline="", encoding="utf-8")
        self._tables[table] = csv.DictWriter(self._files[table], columns, lineterminator="\n")
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
        "grades": _graded(protein.grades),
        "published": _graded(protein.published),
        "wrong": int(protein.wrong),
        "expression": _rounded(protein.expression),
        "haze": _rounded(protein.haze),
        **_shares(protein.shares),
    }


def _graded(grades: Mapping[str, int]) -> str:
    return ";".join(f"{location}:{grade}" for location, grade in grades.items())


def _shares(shares: Mapping[str, float]) -> dict[str, Any]:
    from embstore.phantom.v1.law import LOCATIONS

    return {location: _rounded(shares[location]) if location in shares else "" for location in LOCATIONS}


def _rounded(value: float) -> float:
    return round(value, 5)


def mask_path(truth: Path, key: str, name: str) -> Path:
    """Return where the instance masks (`nuclei` or `cells`) of a field are."""
    return truth / "masks" / f"{key}_{name}.png"


def read_mask(truth: Path, key: str, name: str) -> Labels:
    """Return a field's instance mask, int32 (y, x)."""
    from PIL import Image

    path = mask_path(truth, key, name)
    try:
        with Image.open(path) as image:
            return np.asarray(image, dtype=np.int32)
    except OSError as error:
        raise EmbstoreError(f"{path} cannot be read ({error}); write the atlas again with the same command") from error


def read_cell_truth(truth: Path) -> dict[str, dict[int, dict[str, float]]]:
    """Return image key -> label -> location -> share, of every cell of an atlas."""
    from embstore.phantom.v1.law import LOCATIONS
    from embstore.sources.tables import read_table

    found: dict[str, dict[int, dict[str, float]]] = {}
    for row in read_table(truth / "cells.csv"):
        shares = {location: float(row[location]) for location in LOCATIONS if row[location]}
        found.setdefault(row["image"], {})[int(row["label"])] = shares
    return found
