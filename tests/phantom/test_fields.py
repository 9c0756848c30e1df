"""The pictures: light where the labels are, channels that show their roles, nuisances that are really present."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from embstore.phantom.v1 import law
from embstore.phantom.v1.anatomy import Anatomy, Cell, grow
from embstore.phantom.v1.field import Field, draw_field, plate_effects, plate_number
from embstore.phantom.v1.patterns import pattern
from embstore.phantom.v1.proteins import Look, Protein, plan_proteins
from embstore.pixels.segment import segment

Mask = npt.NDArray[np.bool_]
LOOKS = [Look(1.0, 1.0, kind, spread) for kind in (0.1, 0.9) for spread in (0.1, 0.9)]


def near(mask: Mask, px: float) -> Mask:
    return np.asarray(ndimage.distance_transform_edt(~mask) <= px)


def home(location: str, cell: Cell) -> Mask:
    """Return where a location's light belongs, by distances on the cell's masks and not by the painter's formula."""
    nucleus, body = cell.in_nucleus_um > 0, cell.in_cell_um > 0
    um = 1 / cell.grid.um
    pole = np.zeros(nucleus.shape, bool)
    y, x = np.clip(cell.pole.astype(int), 0, np.array(nucleus.shape) - 1)
    pole[y, x] = True
    nucleolar, rim = cell.nucleoli > 0.5, near(~body, 1.2 * um) & body
    return {
        "nucleoplasm": nucleus & ~nucleolar,
        "chromatin": nucleus & ~nucleolar,
        "nuclear_punctae": nucleus & ~nucleolar,
        "nucleolus_gc": nucleolar,
        "nucleolus_fc_dfc": near(nucleolar, 0.5 * um),
        "nuclear_membrane": near(nucleus, 0.6 * um) & near(~nucleus, 0.6 * um),
        "membrane": rim,
        "cell_contact": rim & near(cell.contact > 0, 0.5 * um),
        "focal_adhesions": near(~body, 5.0 * um) & body,
        "centrosome": near(pole, 3.5 * um),
        "golgi": near(pole, 6.0 * um) & ~nucleus,
    }.get(location, body & ~nucleus)


@cache
def anatomy() -> Anatomy:
    return grow(np.random.default_rng(4), 420, 0.206349, law.HEK)


def whole_cells() -> list[Cell]:
    """Return cells that are not cut, do not divide and touch a neighbour."""
    return [
        c
        for c in anatomy().drawn
        if not c.phase and all(s.start > 0 and s.stop < 420 for s in c.window) and c.contact.any()
    ]


def bare(location: str, **shares: float) -> Protein:
    """Return a bright protein at one location with hardly any haze."""
    wanted = {location: 1 - sum(shares.values()), **shares}
    looks = {name: Look(1.0, 1.0, 0.5, 0.3) for name in wanted}
    return Protein(0, 0, wanted, {}, False, 0, 2.0, 0.02, looks)


@pytest.mark.parametrize("location", law.LOCATIONS)
def test_a_location_is_bright_where_it_belongs(location: str) -> None:
    """Whatever a protein's looks, the brightest 3 % of a cell lie where the location belongs, far beyond chance."""
    rng, result, expected = np.random.default_rng(1), [], []
    for look in LOOKS:
        for cell in whole_cells():
            body = cell.in_cell_um > 0
            light, where = pattern(rng, cell, location, look)[body], home(location, cell)[body]
            result.append(where[light >= np.percentile(light, 97)].mean())
            expected.append(where.mean())
    # measured: 0.45 (centrosome, a spot of less than 3 %) to 1.00
    assert np.mean(result) > 0.35
    assert np.mean(result) > 1.15 * np.mean(expected)


def test_patterns_have_comparable_peaks() -> None:
    """The median peak of every pattern is between a half and three, so that shares of light are comparable."""
    rng = np.random.default_rng(2)
    for location in law.LOCATIONS:
        peaks = [pattern(rng, cell, location, look).max() for cell in whole_cells() for look in LOOKS]
        assert 0.5 < np.median(peaks) < 3, location


@pytest.mark.parametrize("layout", law.LAYOUTS)
def test_each_reference_channel_shows_its_role(layout: str) -> None:
    """The nucleus channel's light lies in the true nuclei, that of microtubules and ER in the cells outside them."""
    spec, px = law.LAYOUTS[layout], {"opencell": 300, "hpa": 800}[layout]
    field = next(f for i in range(9) if (f := draw_field(bare("vesicles"), i, layout, px)).truths)
    planes = dict(zip(spec.roles, field.pixels.astype(float), strict=True))
    nuclei, cells = field.nuclei > 0, field.cells > 0

    def mean(role: str, where: Mask) -> float:
        return float(planes[role][where].mean() - planes[role][~near(cells, 5)].mean())

    assert mean("nucleus", nuclei) > 4 * abs(mean("nucleus", cells & ~near(nuclei, 8)))
    for role in {"microtubules", "er"} & set(planes):
        assert mean(role, cells & ~nuclei) > 1.5 * mean(role, nuclei)


def test_a_second_location_adds_light_by_its_share() -> None:
    """The same cells get more light in their nuclei the larger the share of a nuclear second location."""

    def nuclear(**shares: float) -> float:
        field = draw_field(bare("cytoplasmic", **shares), 3, "opencell", 300)
        above = field.pixels[1].astype(float) - np.median(field.pixels[1][field.cells == 0])
        return float(above[field.nuclei > 0].sum() / above.sum())

    result = [nuclear(**({"nucleoplasm": share} if share else {})) for share in (0, 0.2, 0.4, 0.6)]
    assert result == sorted(result)
    assert result[-1] > 1.3 * result[0]


def test_cells_of_one_protein_mix_its_locations_anew() -> None:
    """Every cell has its own shares around the protein's, and its own brightness."""
    field = draw_field(bare("golgi", vesicles=0.3), 1, "opencell", 600)
    shares = np.array([t.shares["vesicles"] for t in field.truths])
    assert abs(shares.mean() - 0.3) < 0.1
    assert 0.04 < shares.std() < 0.25
    assert np.log([t.brightness for t in field.truths]).std() > 0.2


def test_truth_and_masks_share_their_labels() -> None:
    """Labels of the masks are those of the truth, on the files' own grid, in both layouts."""
    for layout, px in (("opencell", 251), ("hpa", 601)):
        field = draw_field(plan_proteins(4, 0)[3], 0, layout, px)
        assert field.pixels.shape[1:] == field.nuclei.shape == field.cells.shape == (px, px)
        known = {t.label for t in field.truths}
        assert set(np.unique(field.nuclei)) - {0} <= known
        assert set(np.unique(field.cells)) - {0} <= known


def test_cameras_have_twelve_or_sixteen_bits_and_saturate_now_and_then() -> None:
    """Plates differ in their camera; a few fields in a hundred clip their brightest pixels, most do not."""
    plates = [plate_effects(replace(bare("er"), index=96 * i), "opencell") for i in range(40)]
    assert {p.bits for p in plates} == {12, 16}
    clipped = []
    for protein in plan_proteins(60, 11):
        field = draw_field(protein, 0, "opencell", 150)
        ceiling = (1 << plate_effects(protein, "opencell").bits) - 1
        assert field.pixels.max() <= ceiling
        clipped.append((field.pixels == ceiling).mean() > 1e-4)
    assert 0 < np.mean(clipped) < 0.25


def test_a_plate_is_ninety_six_proteins_that_share_its_effects() -> None:
    """Neighbours on a plate share blur, haze and background; the next plate has others."""
    proteins = plan_proteins(97, 0)
    assert plate_number(proteins[95]) == 0
    assert plate_number(proteins[96]) == 1
    assert plate_effects(proteins[0], "opencell") == plate_effects(proteins[95], "opencell")
    assert plate_effects(proteins[0], "opencell") != plate_effects(proteins[96], "opencell")


def fields_of(count: int) -> list[Field]:
    return [draw_field(p, 0, "opencell", 300) for p in plan_proteins(count, 21)]


@pytest.mark.slow
def test_the_segmenter_finds_most_nuclei_and_none_in_an_empty_field() -> None:
    """What ingest's segmenter counts is within a fifth of the truth; noise and debris are no cells."""
    drawn = result = 0
    for field in fields_of(12):
        drawn += len(field.truths)
        result += int(segment(field.pixels[0], 0.206349).nuclei.max())
    assert abs(result - drawn) < 0.2 * drawn
    blank = [f for i in range(150) if not (f := draw_field(bare("er"), i, "opencell", 130)).truths]
    assert blank
    assert all(segment(field.pixels[0], 0.206349).nuclei.max() == 0 for field in blank)
