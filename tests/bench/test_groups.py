"""`bench --by image|cell` where no protein is known: units are grouped by well, or by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Filler

from embstore.errors import EmbstoreError
from embstore_bench import bench
from embstore_bench.splits import load_split

HOW: dict[str, Any] = {"folds": 3, "seeds": 1, "heads": ["knn"], "dataset": "screen"}


def add_screen(filler: Filler, *, wells: int = 6, known_wells: int = 12) -> list[str]:
    """Add 12 images of no protein in `wells` wells, 4 cells each with a location of their own; return the cells."""
    for i in range(12):
        place = {"plate": "P1", "well": f"A{i % wells + 1}"} if i < known_wells else {}
        filler.images("screen", {f"screen/f{i:02d}": []}, **place)
    cells = {f"screen/f{i:02d}:seg00000:{c}": f"screen/f{i:02d}" for i in range(12) for c in range(4)}
    filler.cells(cells)
    locations = {cell: [("er", "golgi")[at % 2]] for at, cell in enumerate(cells)}
    filler.labels("screen/main", "cell", locations)
    signal = np.array([[names == ["er"], names == ["golgi"]] for names in locations.values()], np.float32)
    filler.space("drawn", list(cells), signal + np.random.default_rng(0).normal(0, 0.1, signal.shape).astype("f4"))
    return list(cells)


@pytest.mark.parametrize(
    ("wells", "known", "grouping", "groups"), [(6, 12, "well", 6), (2, 12, "image", 12), (6, 11, "image", 12)]
)
def test_without_proteins_no_well_or_image_is_divided(
    filler: Filler, wells: int, known: int, grouping: str, groups: int
) -> None:
    """By image, groups are wells where all units have one and there are as many as folds, else images; it is stated."""
    add_screen(filler, wells=wells, known_wells=known)
    report = bench(filler.store, backbones=["drawn"], by="image", **HOW)
    best = next(row for row in report.entries if not row.floor)
    assert (best.n_test, best.n_groups) == (48, groups)
    assert best.mean > 0.9
    assert f"no protein is known: a group is {'a well' if grouping == 'well' else 'an image'}" in best.note
    assert "plumbing" in best.note
    split = load_split(filler.store, "screen/main/image-k3-s0")
    assert (split.grouping, len(split.folds)) == (grouping, groups)
    assert split.audit[grouping].with_kin == 0
    assert (bench(filler.store, backbones=["drawn"], by="image", **HOW).made, report.left_out.no_protein) == (0, 0)


def test_without_proteins_a_split_by_cell_shows_the_leak(filler: Filler) -> None:
    """Cells are dealt one by one; the interval is still over wells, and the note states the leak."""
    add_screen(filler)
    report = bench(filler.store, backbones=["drawn"], by="cell", **HOW)
    (note,) = {row.note for row in report.entries}
    assert "a group is a well (plate/well), and its units are on both sides of the folds" in note
    assert load_split(filler.store, "screen/main/cell-k3-s0").audit["well"].share == 1


def test_a_split_by_protein_without_proteins_says_what_to_do(filler: Filler) -> None:
    """The error counts the units and names --by image; nothing is written."""
    add_screen(filler)
    with pytest.raises(
        EmbstoreError, match=r"none of the 48 units that screen/main labels names a protein; .*--by image"
    ):
        bench(filler.store, backbones=["drawn"], **HOW)
    assert filler.store.read("splits").num_rows == 0


def test_units_without_a_protein_are_left_out_beside_units_with_one(atlas: Filler) -> None:
    """Where proteins are known, a split by image is of the very units that a split by protein is of."""
    cells = add_screen(atlas)
    atlas.labels("toy/mixed", "cell", {cell: ["er"] for cell in cells})
    report = bench(atlas.store, backbones=["good"], by="image", folds=3, seeds=1, heads=["knn"], dataset="toy")
    assert report.entries[0].n_test == 96
    assert "a protein's units are on both sides" in report.entries[0].note


def test_suspect_names_say_why_a_location_is_left_out_or_the_task_refused(atlas: Filler) -> None:
    """A location under two names is two classes: the note, and the error where too few are left, name both."""
    proteins = [f"ensembl:ENSG{i:011d}" for i in range(24)]
    names = ["ER"] * 3 + ["er"] * 2 + ["golgi"] * 4
    atlas.labels("toy/messy", "protein", {p: [name] for p, name in zip(proteins, names, strict=False)})
    how: dict[str, Any] = {"folds": 3, "seeds": 1, "heads": ["knn"], "dataset": "toy", "task": "localization:messy"}
    report = bench(atlas.store, backbones=["good"], **how)
    assert "locations with more than one name: ER (3) = er (2), HPA's Endoplasmic reticulum" in report.notes
    with pytest.raises(EmbstoreError, match=r"more than one name: ER \(3\) = er \(2\).*--location-map FILE"):
        bench(atlas.store, backbones=["good"], **(how | {"folds": 4}))
