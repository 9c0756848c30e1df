"""What the phantom atlas holds: which proteins, where each of them sits, and how brightly it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# OpenCell's name -> HPA's name for the same place, in the pairs of SubCell's location_group_mapping.tsv
# (there "Nuclear speckles" means OpenCell's chromatin, so that OpenCell's nuclear_punctae are "Nuclear bodies").
LOCATIONS: dict[str, str] = {
    "nucleoplasm": "Nucleoplasm",
    "nuclear_membrane": "Nuclear membrane",
    "nucleolus_gc": "Nucleoli",
    "nuclear_punctae": "Nuclear bodies",
    "cytoplasmic": "Cytosol",
    "er": "Endoplasmic reticulum",
    "golgi": "Golgi apparatus",
    "mitochondria": "Mitochondria",
    "vesicles": "Vesicles",
    "membrane": "Plasma membrane",
    "centrosome": "Centrosome",
    "cytoskeleton": "Microtubules",
}
# Grades of the second location of the first three proteins of a block of twelve: a quarter of all proteins has two.
SECOND_GRADES = (3, 2, 1)
# A range that Ensembl has never used: an id that begins so is simulated, in whatever store it turns up.
PHANTOM_ENSG = "ENSG99"
CELL_LINES = ("A-431", "U-2 OS", "HeLa")
# First words of the seeds, so that no two kinds of draw share a stream of random numbers.
STREAM_PLAN, STREAM_STYLE, STREAM_FIELD = 1, 2, 3


@dataclass(frozen=True)
class PhantomProtein:
    """One simulated protein: where it sits (location -> OpenCell grade, main one first) and how it shows."""

    index: int  # from 0
    gene: str
    ensg_id: str
    grades: dict[str, int]
    cell_line: str
    expression: float  # brightness against the atlas's median
    leak: float  # share of the light that is spread over the whole cell
    grain: float  # factor on the size of spots and threads
    crowd: float  # factor on the number of spots and threads

    def at(self, grade: int) -> list[str]:
        """Return the locations at exactly this OpenCell grade (3 prominent, 2, 1 weak)."""
        return [location for location, have in self.grades.items() if have == grade]


def plan_proteins(proteins: int, seed: int) -> list[PhantomProtein]:
    """Return the atlas's proteins in order; a larger atlas of the same seed begins with the smaller one.

    Each block of twelve has every location as the main one once and three proteins with a second location at
    grade 3, 2 and 1, so that sixty proteins give every location at least five at grade 3.
    """
    blocks = -(-proteins // len(LOCATIONS))
    planned = [grades for block in range(blocks) for grades in _block(seed, block)]
    return [_protein(index, grades, seed) for index, grades in enumerate(planned[:proteins])]


def _block(seed: int, block: int) -> list[dict[str, int]]:
    rng = np.random.default_rng([STREAM_PLAN, seed, block])
    names = list(LOCATIONS)
    mains = [names[i] for i in rng.permutation(len(names))]
    grades = [{main: 3} for main in mains]
    # the drawn order of the mains is random already; where the three with two stand in the block is too
    for place, grade in zip(rng.permutation(len(names)), SECOND_GRADES, strict=False):
        others = [name for name in names if name != mains[place]]
        grades[place][others[rng.integers(len(others))]] = grade
    return grades


def _protein(index: int, grades: dict[str, int], seed: int) -> PhantomProtein:
    rng = np.random.default_rng([STREAM_STYLE, seed, index])
    return PhantomProtein(
        index=index,
        gene=f"PHN{index + 1:03d}",
        ensg_id=f"{PHANTOM_ENSG}{index + 1:09d}",
        grades=grades,
        cell_line=CELL_LINES[rng.integers(len(CELL_LINES))],
        expression=float(rng.lognormal(0.0, 0.4)),
        leak=float(rng.uniform(0.04, 0.22)),
        grain=float(rng.uniform(0.8, 1.3)),
        crowd=float(rng.uniform(0.6, 1.5)),
    )
