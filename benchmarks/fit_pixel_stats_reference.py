"""Fit the frozen reference scaling of `pixel-stats` on simulated cells; run once per revision of the measurements.

    python benchmarks/fit_pixel_stats_reference.py embstore/backbones/pixel_stats_reference.json

Why: the raw measurements of two proteins point mostly the same way (a cosine of 0.88 at the median of 20 real
proteins), because their common offset dwarfs their differences. Centring and scaling by fixed constants removes it, and
fixed constants, not the store's own, keep two stores comparable. Why simulated: no number here is fitted to
somebody's images. The drawing was adjusted once by hand (mottled nuclei with dark nucleoli, imprecise masks, gaps, cut
display ranges) after its measurements had been compared with those of real OpenCell cells; their labels played no part.

Fields of ellipse nuclei with one of fourteen protein patterns, sometimes two, are drawn at 25 µm on 96 px, blurred,
made noisy and scaled as real images are; the cell in the middle is measured. Centre and spread of a measurement are
mean and sd after cutting off the outermost 1 % on both sides.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from embstore.backbones.crops import Crops
from embstore.backbones.pixel_measures import measure

SEED, CELLS = 20240607, 3000
FIELD_PX, CROP_PX, PX_PER_UM = 224, 96, 96 / 25.0
EXPAND_UM = 4.2  # how far a cell reaches beyond its nucleus if no neighbour stops it
LEAST_SPREAD = 0.05

Floats = npt.NDArray[np.float64]
Field = dict[str, Floats]


def noise(rng: np.random.Generator, sigma_um: float) -> Floats:
    """Return smooth noise with mean 0 and sd 1 on a field, grains about `sigma_um` wide."""
    grains = ndimage.gaussian_filter(rng.standard_normal((FIELD_PX, FIELD_PX)), sigma_um * PX_PER_UM, mode="wrap")
    scaled: Floats = (grains - grains.mean()) / grains.std()
    return scaled


def draw_field(rng: np.random.Generator) -> Field:
    """Return the geometry of one field: owner label, distances (µm) and each pixel's bearing around its nucleus."""
    pitch = rng.uniform(13.5, 20.0) * PX_PER_UM
    rows, columns = np.meshgrid(np.arange(-2, 3), np.arange(-2, 3), indexing="ij")
    jitter = rng.normal(0, 0.09 * pitch, (25, 2))
    jitter[12] = 0  # the cell in the middle of the field
    centres = np.stack([rows.ravel(), columns.ravel() + 0.5 * (rows.ravel() % 2)], 1) * pitch + jitter + FIELD_PX / 2
    ys, xs = np.indices((FIELD_PX, FIELD_PX)) + noise(rng, 1.6) * rng.uniform(0.3, 1.2)
    level, bearing = [], []
    for i, (y, x) in enumerate(centres):
        angle, long_um = rng.uniform(0, np.pi), rng.uniform(5.7, 8.0)
        short_um = long_um * rng.uniform(0.66, 0.97)
        if i != 12 and rng.uniform() < 0.2:
            long_um = short_um = 0.01  # a gap in the layer
        u, v = (ys - y) * np.cos(angle) + (xs - x) * np.sin(angle), (xs - x) * np.cos(angle) - (ys - y) * np.sin(angle)
        level.append(np.hypot(u / long_um, v / short_um) / PX_PER_UM)
        bearing.append(np.arctan2(ys - y, xs - x))
    levels = np.stack(level)
    owner = levels.argmin(axis=0)
    second = np.partition(levels, 1, axis=0)[1]
    body = (levels.min(axis=0) < rng.uniform(1.5, 2.3)) & (second / levels.min(axis=0) > 1.03)
    nucleus = levels.min(axis=0) < 1
    outside_um = ndimage.distance_transform_edt(~nucleus) / PX_PER_UM
    return {
        "owner": owner.astype(float),
        "nucleus": nucleus.astype(float),
        "body": (body | nucleus).astype(float),
        "around_um": outside_um,
        "inside_um": ndimage.distance_transform_edt(nucleus) / PX_PER_UM,
        "edge_um": ndimage.distance_transform_edt(body | nucleus) / PX_PER_UM,
        "bearing": np.take_along_axis(np.stack(bearing), owner[None], 0)[0],
    }


def spots(rng: np.random.Generator, where: Floats, per_um2: float, sigma_um: float) -> Floats:
    """Return round spots of varied brightness at random places of `where`."""
    hits = rng.uniform(size=where.shape) < per_um2 / PX_PER_UM**2 * (where > 0)
    drawn = ndimage.gaussian_filter(hits * rng.gamma(3.0, 1 / 3, where.shape), sigma_um * PX_PER_UM)
    drawn = drawn * 2 * np.pi * (sigma_um * PX_PER_UM) ** 2
    kept: Floats = drawn * (ndimage.gaussian_filter(where, 1) > 0.3)
    return kept


def fibres(rng: np.random.Generator, where: Floats, wide_um: float, straight_um: float) -> Floats:
    """Return thin lines: where two smooth random fields cross zero."""
    lines = sum(np.exp(-((noise(rng, straight_um) / (wide_um / straight_um)) ** 2)) for _ in range(3))
    return np.asarray(lines) * where


def per_cell(rng: np.random.Generator, field: Field, low: float, high: float) -> Floats:
    """Return one random number per cell, painted over its pixels."""
    painted: Floats = rng.uniform(low, high, 25)[field["owner"].astype(int)]
    return painted


def one_side(rng: np.random.Generator, field: Field, width: float) -> Floats:
    """Return the weight of a random side of each cell: 1 in its direction, falling off over `width` radians."""
    turn = field["bearing"] - per_cell(rng, field, -np.pi, np.pi)
    side: Floats = np.exp(-((np.angle(np.exp(1j * turn)) / width) ** 2))
    return side


def nuclear(rng: np.random.Generator, name: str, field: Field) -> Floats:
    """Return one pattern inside or around the nuclei of a field, about 1 where it is bright."""
    nucleus, inside = field["nucleus"], field["inside_um"]
    flat = 1 + 0.12 * noise(rng, 0.5)
    drawn: Floats
    match name:
        case "nucleoplasm":
            drawn = nucleus * flat * (1 - 0.7 * np.minimum(spots(rng, nucleus * (inside > 1.5), 0.03, 0.9), 1))
        case "chromatin":
            drawn = nucleus * np.clip(1 + rng.uniform(0.2, 0.6) * noise(rng, 0.6), 0, None)
        case "nucleoli":
            drawn = spots(rng, nucleus * (inside > 1.5), rng.uniform(0.02, 0.06), rng.uniform(0.6, 1.0)) + 0.1 * nucleus
        case "nuclear puncta":
            drawn = spots(rng, nucleus * (inside > 0.5), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.4)) + 0.1 * nucleus
        case "nuclear membrane":
            beyond = np.exp(-((field["around_um"] / 0.5) ** 2)) * field["body"] * (1 - nucleus)
            rim = np.exp(-(((inside - 0.2) / 0.5) ** 2)) * nucleus + beyond
            drawn = rim * flat + 0.15 * nucleus
        case _:
            raise ValueError(name)
    return drawn


def cytoplasmic(rng: np.random.Generator, name: str, field: Field) -> Floats:
    """Return one pattern between the nuclei and the outlines of a field's cells, about 1 where it is bright."""
    cytoplasm, out, edge = field["body"] * (1 - field["nucleus"]), field["around_um"], field["edge_um"]
    shell = np.exp(-((edge / rng.uniform(0.4, 0.8)) ** 2)) * field["body"]
    drawn: Floats
    match name:
        case "er":
            fade = np.exp(-out / rng.uniform(2.5, 8))
            drawn = cytoplasm * fade * np.clip(1 + rng.uniform(0.2, 0.6) * noise(rng, 0.35), 0, None)
        case "mitochondria":
            drawn = fibres(rng, cytoplasm * (edge > 0.8), rng.uniform(0.15, 0.3), rng.uniform(0.6, 1.2))
        case "golgi":
            near = cytoplasm * (out < rng.uniform(2, 4)) * one_side(rng, field, rng.uniform(0.4, 0.9))
            drawn = near * np.clip(noise(rng, 0.5), 0, None) * 1.5
        case "vesicles":
            drawn = spots(rng, cytoplasm, rng.uniform(0.1, 1.2), rng.uniform(0.2, 0.4))
        case "membrane":
            drawn = shell * np.clip(1 + 0.3 * noise(rng, 0.8), 0, None) + rng.uniform(0.05, 0.4) * cytoplasm
        case "actin":
            drawn = shell + rng.uniform(0.3, 1) * fibres(rng, cytoplasm, 0.15, 2.0) * (edge < 4)
        case "centrosome":
            drawn = spots(rng, cytoplasm * (out < 2.5) * (one_side(rng, field, 0.3) > 0.6), 0.35, 0.3) + 0.1 * cytoplasm
        case "microtubules":
            drawn = fibres(rng, cytoplasm, 0.18, 2.5) * np.exp(-out / 8) + 0.2 * cytoplasm
        case "cytoplasm":
            drawn = cytoplasm * (1 + 0.12 * noise(rng, 0.5))
        case _:
            raise ValueError(name)
    return drawn


NUCLEAR = ("nucleoplasm", "chromatin", "nucleoli", "nuclear puncta", "nuclear membrane")
CYTOPLASMIC = (
    *("er", "mitochondria", "golgi", "vesicles", "membrane", "actin", "centrosome", "microtubules", "cytoplasm"),
)


def pattern(rng: np.random.Generator, name: str, field: Field) -> Floats:
    """Return one of the fourteen protein patterns over a field."""
    return (nuclear if name in NUCLEAR else cytoplasmic)(rng, name, field)


def protein(rng: np.random.Generator, field: Field) -> Floats:
    """Return a protein plane: a pattern, in two of three fields a second one, and a diffuse rest."""
    first, second = rng.choice((*NUCLEAR, *CYTOPLASMIC), 2, replace=False)
    drawn = pattern(rng, first, field)
    if rng.uniform() < 0.67:
        drawn = drawn + rng.uniform(0.1, 0.8) * pattern(rng, second, field)
    drawn = drawn * np.clip(1 + rng.uniform(0, 0.45) * noise(rng, 2.0), 0, None)  # a cell is not equally thick
    rest = rng.uniform(0.03, 0.5) * field["body"] * (1 - rng.uniform(-0.2, 0.8) * field["nucleus"])
    return (drawn + rest) * per_cell(rng, field, 0.6, 1.4)


def dye(rng: np.random.Generator, field: Field) -> Floats:
    """Return a DNA stain: mottled nuclei, a few bright dots, dark nucleoli, dimmer towards the edge."""
    nucleus, deep = field["nucleus"], field["nucleus"] * (field["inside_um"] > 1.2)
    mottled = np.clip(1 + rng.uniform(0.1, 0.4) * noise(rng, 0.45), 0.1, None)
    nucleoli = 1 - rng.uniform(0.3, 0.9) * np.minimum(spots(rng, deep, rng.uniform(0.02, 0.06), 0.8), 1)
    dots = rng.uniform(0, 1.0) * spots(rng, nucleus, 0.15, 0.3)
    edge = 1 - rng.uniform(0, 0.6) * np.exp(-field["inside_um"] / 0.8)
    return nucleus * (mottled * nucleoli + dots) * edge * per_cell(rng, field, 0.5, 1.5)


def observed(rng: np.random.Generator, plane: Floats) -> npt.NDArray[np.float32]:
    """Return a plane as a camera and embstore's intensity spec give it: blur, background, noise, percentiles."""
    seen = ndimage.gaussian_filter(plane, rng.uniform(0.25, 0.5) * PX_PER_UM * 0.8)
    seen = seen + rng.uniform(0.25, 1.0) * 0.3 * ndimage.gaussian_filter(plane, 2.5 * PX_PER_UM)  # out of focus
    seen = seen / max(float(np.percentile(seen, 99.9)), 1e-9)
    seen = seen + rng.uniform(0.003, 0.03) * np.sqrt(seen + 0.05) * rng.standard_normal(seen.shape)
    # published images often have their darkest and brightest parts cut off for display
    low, high = np.percentile(seen, (rng.choice([0.1, 5.0, 20.0]), rng.choice([99.9, 99.0])))
    scaled: npt.NDArray[np.float32] = np.clip((seen - low) / (high - low), 0, 1).astype(np.float32)
    return scaled


def masks(rng: np.random.Generator, field: Field) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the masks of the cell in the middle, as a segmenter that only sees nuclei would find them."""
    mine = field["owner"] == 12
    # a threshold misses the true outline by up to half a micrometre, mostly outwards
    signed_um = field["inside_um"] - field["around_um"] + rng.uniform(-0.2, 0.7) + 0.2 * noise(rng, 1.0)
    nucleus = mine & (signed_um > 0)
    nucleus &= ndimage.label(nucleus)[0] == ndimage.label(nucleus)[0][FIELD_PX // 2, FIELD_PX // 2]
    reach_um = ndimage.distance_transform_edt(~nucleus) / PX_PER_UM
    return nucleus, mine & (reach_um <= EXPAND_UM) | nucleus


def draw_cell(
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return one crop (nucleus, protein) with its two masks."""
    field = draw_field(rng)
    planes = np.stack([observed(rng, dye(rng, field)), observed(rng, protein(rng, field))])
    nucleus, cell = masks(rng, field)
    start = (FIELD_PX - CROP_PX) // 2
    window = slice(start, start + CROP_PX)
    return planes[:, window, window], nucleus[window, window], cell[window, window]


def simulated(count: int, seed: int = SEED) -> Crops:
    """Return `count` simulated cells, each from a field of its own."""
    rng = np.random.default_rng(seed)
    drawn = [draw_cell(rng) for _ in range(count)]
    pixels, nuclei, cells = (np.stack(part) for part in zip(*drawn, strict=True))
    return Crops(pixels, ("nucleus", "protein"), nuclei.astype(bool), cells.astype(bool))


def fit(crops: Crops) -> dict[str, list[float]]:
    """Return centre and spread of every measurement, rounded so that the file is short and stable."""
    fitted = {}
    for name, values in measure(crops).items():
        low, high = np.nanpercentile(values, (1, 99))
        kept = np.clip(values[np.isfinite(values)], low, high)
        fitted[name] = [round(float(kept.mean()), 4), round(max(float(kept.std()), LEAST_SPREAD), 4)]
    return fitted


def main(path: str) -> None:
    """Write the reference to `path`."""
    rows = [f"{json.dumps(name)}: {json.dumps(pair)}" for name, pair in fit(simulated(CELLS)).items()]
    Path(path).write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
