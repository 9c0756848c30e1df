"""The cells of a field: sizes, neighbours, borders, divisions."""

from __future__ import annotations

import numpy as np
import pytest

from embstore.phantom.v1 import law
from embstore.phantom.v1.anatomy import Anatomy, grow
from embstore.phantom.v1.outlines import place_shapes

UM = law.LAYOUTS["opencell"].drawn_um
SIDE = 420


@pytest.fixture(scope="module")
def fields() -> list[Anatomy]:
    return [grow(np.random.default_rng([1, seed]), SIDE, UM, law.HEK) for seed in range(40)]


def areas_um2(anatomy: Anatomy) -> np.ndarray:
    return np.bincount(anatomy.nuclei.ravel(), minlength=len(anatomy.drawn) + 1)[1:] * anatomy.um**2


def inner(anatomy: Anatomy) -> list[int]:
    """Return the labels of cells whose window does not reach the border."""
    return [c.label for c in anatomy.drawn if all(s.start > 0 and s.stop < SIDE for s in c.window) and not c.phase]


def test_nuclei_are_twelve_micrometres_wide(fields: list[Anatomy]) -> None:
    """The median nucleus has the width by which unknown pixel sizes are estimated, and sizes vary."""
    diameters = [2 * np.sqrt(areas_um2(f)[label - 1] / np.pi) for f in fields for label in inner(f)]
    assert 11.5 < float(np.median(diameters)) < 13.5
    assert float(np.std(diameters)) > 1


def test_each_nucleus_lies_inside_its_cell(fields: list[Anatomy]) -> None:
    """A nucleus and its cell bear one label, and cells reach beyond their nuclei."""
    for anatomy in fields:
        inside = anatomy.nuclei > 0
        np.testing.assert_array_equal(anatomy.cells[inside], anatomy.nuclei[inside])
    grown = [(f.cells > 0).sum() / (f.nuclei > 0).sum() for f in fields if len(f.drawn)]
    assert float(np.median(grown)) > 1.8


@pytest.mark.slow
def test_density_varies_and_some_fields_are_empty(fields: list[Anatomy]) -> None:
    """Fields have from a handful of cells to a full layer; about one in fifty has none at all."""
    counts = [len(f.drawn) for f in fields]
    assert min(n for n in counts if n) < 12
    assert max(counts) > 25
    empty = [not place_shapes(np.random.default_rng([2, seed]), SIDE, UM, law.HEK) for seed in range(400)]
    assert 0.005 < np.mean(empty) < 0.045


def test_some_cells_touch_and_some_overlap(fields: list[Anatomy]) -> None:
    """Neighbouring nuclei touch, and light of two cells lies on top of each other."""
    touching = overlapping = 0
    for anatomy in fields:
        a, b = anatomy.nuclei[:, :-1], anatomy.nuclei[:, 1:]
        touching += len(set(zip(*(x[(a > 0) & (b > 0) & (a != b)] for x in (a, b)), strict=True)))
        depth = np.zeros(anatomy.cells.shape)
        for cell in anatomy.drawn:
            depth[cell.window] += cell.in_cell_um > 0
        overlapping += (depth > 1).sum() / max((depth > 0).sum(), 1)
    assert touching > 20
    assert 0.02 < overlapping / len(fields) < 0.3


def test_the_border_cuts_cells(fields: list[Anatomy]) -> None:
    """Some nuclei are cut by the field's edge."""
    cut = 0
    for anatomy in fields:
        edge = np.concatenate([anatomy.nuclei[0], anatomy.nuclei[-1], anatomy.nuclei[:, 0], anatomy.nuclei[:, -1]])
        cut += len(set(edge[edge > 0]))
    assert cut > 40


def test_a_few_cells_divide(fields: list[Anatomy]) -> None:
    """One cell in twenty-five divides: condensed chromosomes, no nucleolus, brighter DNA."""
    cells = [c for f in fields for c in f.drawn]
    dividing = [c for c in cells if c.phase]
    assert 0.015 < len(dividing) / len(cells) < 0.08
    assert {c.phase for c in dividing} <= {"prometaphase", "metaphase", "anaphase"}
    assert all(not c.nucleoli.any() for c in dividing)
    others = [c for c in cells if not c.phase]
    assert np.median([c.dna.max() for c in dividing]) > np.median([c.dna.max() for c in others])


@pytest.mark.slow
def test_cell_lines_differ() -> None:
    """U-2 OS cells are larger and sparser than A-431 cells."""
    a431, u2os, _ = law.HPA_LINES
    count = {
        line.name: [len(grow(np.random.default_rng([3, s]), 400, 0.3, line).drawn) for s in range(12)]
        for line in (a431, u2os)
    }
    assert np.mean(count["A-431"]) > 1.5 * np.mean(count["U-2 OS"])
