"""The simulated proteins: how often each location occurs, how it is shared, graded and mislabelled."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from embstore.phantom.names import HPA_NAMES
from embstore.phantom.v1 import law
from embstore.phantom.v1.patterns import PATTERNS
from embstore.phantom.v1.proteins import Protein, plan_proteins

OPENCELL = "labels/opencell_public_annotations_flat.csv"


@pytest.fixture(scope="module")
def many() -> list[Protein]:
    return plan_proteins(3000, 7)


def main_of(protein: Protein) -> str:
    return next(iter(protein.shares))


def test_the_locations_are_opencells_seventeen(samples: Path) -> None:
    """The simulator knows each name of OpenCell's public annotations and no other, and can draw each."""
    with (samples / OPENCELL).open(newline="") as file:
        published = {row["annotation_name"] for row in csv.DictReader(file)} - {""}
    assert set(law.LOCATIONS) == published == set(PATTERNS) == set(law.FURTHER) == set(law.MISTAKEN)
    assert len(published) == 17


def test_frequencies_follow_opencells(samples: Path) -> None:
    """A location that more OpenCell proteins have at grade 3 is no rarer in the atlas, and the rarest get 2 in 60."""
    with (samples / OPENCELL).open(newline="") as file:
        counts = Counter(r["annotation_name"] for r in csv.DictReader(file) if r["annotation_grade"] == "3")
    ranked = [law.PER_BLOCK[name] for name, _ in counts.most_common()]
    assert ranked == sorted(ranked, reverse=True)
    assert min(ranked) == 2
    assert sum(ranked) == law.BLOCK == 60


def test_a_block_has_every_location_as_often_as_specified(many: list[Protein]) -> None:
    """Sixty successive proteins of one seed have exactly the specified main locations, in a random order."""
    first, second = ([main_of(p) for p in many[start : start + 60]] for start in (0, 60))
    assert Counter(first) == Counter(second) == law.PER_BLOCK
    assert first != second


def test_two_hundred_proteins_ask_all_seventeen() -> None:
    """Each of five folds can contain a protein of every location, by the labels as published, for several seeds."""
    for seed in range(8):
        at_three = Counter(o for p in plan_proteins(200, seed) for o, g in p.published.items() if g == 3)
        assert set(at_three) == set(law.LOCATIONS)
        assert min(at_three.values()) >= 5


def test_shares_sum_to_one_and_the_main_location_is_prominent(many: list[Protein]) -> None:
    """The light is shared out entirely; the main location has grade 3; three proteins in five have a further one."""
    for protein in many:
        assert sum(protein.shares.values()) == pytest.approx(1)
        assert protein.grades[main_of(protein)] == 3
        assert set(protein.looks) == set(protein.shares)
    several = np.mean([len(p.shares) > 1 for p in many])
    assert several == pytest.approx(1 - law.N_LOCATIONS[0], abs=0.03)


@pytest.mark.parametrize(("share", "grade"), [(1, 3), (0.3, 3), (0.29, 2), (0.15, 2), (0.149, 1), (0.05, 1), (0.04, 0)])
def test_grades_follow_from_shares(share: float, grade: int) -> None:
    """A location is prominent from 30 % of the light, and not graded below 5 %."""
    assert law.grade(share) == grade


def test_labels_are_wrong_at_the_stated_rate(many: list[Protein]) -> None:
    """One protein in twenty is published with one location changed for one that it is taken for, at the same grade."""
    wrong = [p for p in many if p.wrong]
    assert len(wrong) / len(many) == pytest.approx(law.WRONG_LABELS, abs=0.015)
    assert all(p.published == p.grades for p in many if not p.wrong)
    for protein in wrong:
        gone = set(protein.grades) - set(protein.published)
        come = set(protein.published) - set(protein.grades)
        assert len(gone) == 1
        assert len(come) <= 1
        for old, new in zip(gone, come, strict=False):
            assert new in law.MISTAKEN[old]
            assert protein.published[new] == protein.grades[old]


def test_a_larger_atlas_begins_with_the_smaller_one() -> None:
    """Asking for more proteins, or for some from the middle, changes nothing about them; another seed changes all."""
    whole = plan_proteins(150, 3)
    assert whole[:7] == plan_proteins(7, 3)
    assert whole[55:130] == plan_proteins(75, 3, start=55)
    assert all(a != b for a, b in zip(whole, plan_proteins(150, 4), strict=True))


def test_the_two_vocabularies_pair_as_subcells_table_does(samples: Path) -> None:
    """Each pair of an OpenCell and an HPA name is a row of the published mapping."""
    with (samples / "labels/subcell_location_group_mapping.tsv").open(newline="") as file:
        published = {r["Original annotation"]: r["Grouping OpenCell"] for r in csv.DictReader(file, delimiter="\t")}
    assert {published[theirs]: theirs for theirs in HPA_NAMES.values()} == HPA_NAMES
    assert set(HPA_NAMES) == set(law.LOCATIONS)
