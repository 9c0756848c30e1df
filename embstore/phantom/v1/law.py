"""The law's numbers: which locations there are, how often, how much everything varies. All lengths are in µm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

VERSION_WORD = 1  # first word of every seed: two versions never share random numbers
# Second words, so that no two kinds of draw share a stream.
STREAM_PLAN, STREAM_PROTEIN, STREAM_PLATE, STREAM_FIELD, STREAM_TEXTURE = 1, 2, 3, 4, 5

# Location -> how many proteins of a block of 60 have it as their main one. Order and rough size follow OpenCell's 1,310
# proteins at grade 3 (FACTS: cytoplasmic 483, nucleoplasm 372, vesicles 240 ... focal_adhesions 10), with two changes:
# the rare ones are lifted to 2 in 60, so that 200 proteins can be asked all 17 questions, and the two diffuse ones are
# cut by half, since they teach least.
PER_BLOCK: dict[str, int] = {
    "cytoplasmic": 8,
    "nucleoplasm": 7,
    "vesicles": 7,
    "membrane": 5,
    "er": 4,
    "nuclear_punctae": 4,
    "nucleolus_gc": 3,
    "chromatin": 3,
    "golgi": 3,
    "centrosome": 2,
    "cytoskeleton": 2,
    "nuclear_membrane": 2,
    "cell_contact": 2,
    "nucleolus_fc_dfc": 2,
    "big_aggregates": 2,
    "mitochondria": 2,
    "focal_adhesions": 2,
}
BLOCK = sum(PER_BLOCK.values())
LOCATIONS = tuple(PER_BLOCK)
# How often a location is a further one: square roots of OpenCell's counts below grade 3, which again trims the diffuse.
FURTHER: dict[str, float] = {
    "cytoplasmic": 14.3,
    "nucleoplasm": 15.1,
    "vesicles": 10.1,
    "membrane": 7.8,
    "er": 6.6,
    "nuclear_punctae": 8.0,
    "nucleolus_gc": 4.6,
    "chromatin": 7.5,
    "golgi": 6.2,
    "centrosome": 4.2,
    "cytoskeleton": 4.5,
    "nuclear_membrane": 2.4,
    "cell_contact": 5.7,
    "nucleolus_fc_dfc": 3.2,
    "big_aggregates": 6.2,
    "mitochondria": 1.4,
    "focal_adhesions": 1.7,
}
# OpenCell: 338 proteins with one location, 601 with two, 371 with more (all grades).
N_LOCATIONS = (0.4, 0.42, 0.18)
# What an annotator who looks at the wrong place would write instead; every location has someone it is taken for.
MISTAKEN: dict[str, tuple[str, ...]] = {
    "cytoplasmic": ("er", "nucleoplasm"),
    "nucleoplasm": ("chromatin", "cytoplasmic"),
    "vesicles": ("golgi", "big_aggregates", "mitochondria"),
    "membrane": ("cell_contact", "cytoskeleton"),
    "er": ("cytoplasmic", "mitochondria"),
    "nuclear_punctae": ("nucleolus_fc_dfc", "chromatin"),
    "nucleolus_gc": ("nucleolus_fc_dfc",),
    "chromatin": ("nucleoplasm",),
    "golgi": ("vesicles", "centrosome"),
    "centrosome": ("golgi", "big_aggregates"),
    "cytoskeleton": ("membrane", "focal_adhesions"),
    "nuclear_membrane": ("er",),
    "cell_contact": ("membrane",),
    "nucleolus_fc_dfc": ("nucleolus_gc", "nuclear_punctae"),
    "big_aggregates": ("vesicles", "centrosome"),
    "mitochondria": ("er", "vesicles"),
    "focal_adhesions": ("cytoskeleton", "vesicles"),
}
WRONG_LABELS = 0.05  # of the proteins: one of their published locations is one that they are not at

# Share of a protein's (or a cell's) pattern light -> grade; less than the last is not graded.
GRADES = ((0.3, 3), (0.15, 2), (0.05, 1))
CONCENTRATION = 14.0  # of the Dirichlet law that mixes a protein's locations anew in every cell

# Proteins, cells, plates and fields: standard deviations of the logarithm of brightness.
EXPRESSION_SD, CELL_SD, PLATE_SD, FIELD_SD = 0.55, 0.45, 0.15, 0.2
HAZE = (0.04, 0.34)  # light spread over the whole cell, as a share of the pattern's peak
SIZE_SD, CROWD_SD = 0.22, 0.4  # of a protein's structures: log size, log number

EMPTY_FIELDS = 0.02
MITOTIC = 0.04
PLATE_WELLS = 96


@dataclass(frozen=True)
class CellLine:
    """How a cell line grows: nuclear radius, cell against nuclear radius, spikes, nuclei per (100 µm)²."""

    name: str
    nucleus_um: float
    spread: tuple[float, float]
    spikes: int
    density: tuple[float, float]


HEK = CellLine("HEK293T", 6.2, (1.5, 2.1), 5, (9.0, 36.0))
HPA_LINES = (
    CellLine("A-431", 6.6, (1.6, 2.1), 2, (8.0, 26.0)),
    CellLine("U-2 OS", 7.8, (2.0, 2.8), 4, (3.0, 9.0)),
    CellLine("HeLa", 7.0, (1.8, 2.4), 4, (5.0, 15.0)),
)


@dataclass(frozen=True)
class Layout:
    """How a layout is drawn: its place in the seeds, the grid, the roles in the files' order, the cell lines."""

    number: int
    pixel_size_um: float  # of the files (FACTS: OpenCell 0.206349, HPA 0.0800885)
    zoom: int  # file pixels per drawn pixel
    field_px: int  # of the files, unless asked otherwise
    roles: tuple[str, ...]
    lines: tuple[CellLine, ...]
    bits: tuple[int, ...]  # of the camera, one a plate
    photons: float  # at the peak of a pattern of median expression
    background: tuple[float, float]  # photons

    @property
    def drawn_um(self) -> float:
        """Return µm per drawn pixel."""
        return self.pixel_size_um * self.zoom


LAYOUTS: dict[str, Layout] = {
    "opencell": Layout(0, 0.206349, 1, 600, ("nucleus", "protein"), (HEK,), (16, 16, 12), 70.0, (3.0, 16.0)),
    # HPA's pixels are finer than its optics: half the grid loses nothing and takes a quarter of the time
    "hpa": Layout(
        1, 0.0800885, 2, 1536, ("microtubules", "protein", "nucleus", "er"), HPA_LINES, (8,), 110.0, (1.0, 6.0)
    ),
}


def random(stream: int, *words: int) -> np.random.Generator:
    """Return the generator of one stream of this law."""
    return np.random.default_rng([VERSION_WORD, stream, *words])


def grade(share: float) -> int:
    """Return the grade (3 prominent, 2, 1 weak, 0 none) of a location's share of the light."""
    return next((g for least, g in GRADES if share >= least), 0)
