"""One field: the cells' light, the microscope's blur and haze, the camera's noise, and the truth under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.phantom.v1 import law
from embstore.phantom.v1.anatomy import Anatomy, Cell, Labels, grow
from embstore.phantom.v1.patterns import pattern
from embstore.phantom.v1.proteins import Look, Protein
from embstore.phantom.v1.texture import Grid, Plane, blur, spots

PLAIN = Look(size=1.0, crowd=1.0, kind=0.6, spread=0.5)  # how what is dyed, not tagged, looks
HAZE_UM, HAZE_STEP = 2.6, 4  # the blur of what is out of focus, drawn on every fourth pixel
# Counts per photon and the camera's offset, by its bits; HPA's 8-bit pictures have their background set to black.
CAMERAS = {16: (60.0, 110.0), 12: (6.0, 100.0), 8: (0.55, -1.0)}
OVEREXPOSED, OVEREXPOSURE = 0.06, 8.0  # how often a field is, and by how much: then it saturates


@dataclass(frozen=True)
class Effects:
    """What one plate or one field does to a picture beyond its cells; brightness as a factor, lengths in µm."""

    brightness: float
    blur_um: float
    haze: float  # share of the light that is out of focus
    background: float  # photons
    shading: float  # how much darker the corners are
    bleed: float  # of a plate: share of the DNA dye that the protein's channel sees; of a field: a factor on it
    gain: float  # against the exposure that just fits the camera


@dataclass(frozen=True)
class Plate(Effects):
    """A plate's effects, and the camera that it was seen by."""

    bits: int


@dataclass(frozen=True)
class CellTruth:
    """What is true of one cell: its label in the masks, its own mixture of locations, its phase and brightness."""

    label: int
    shares: dict[str, float]
    phase: str  # "" between divisions
    brightness: float


@dataclass(frozen=True)
class Field:
    """A simulated field: the file's pixels and all that is true of them."""

    pixels: npt.NDArray[Any]  # (c, y, x) in the layout's order of roles and dtype
    nuclei: Labels  # (y, x) of the files' grid
    cells: Labels
    truths: tuple[CellTruth, ...]
    plate: Plate
    field: Effects


def draw_field(protein: Protein, number: int, layout: str, field_px: int | None = None) -> Field:
    """Return field `number` of a protein as a square picture of `field_px` (default: the layout's) and its truth."""
    spec = law.LAYOUTS[layout]
    side = -(-(field_px or spec.field_px) // spec.zoom)
    rng = law.random(law.STREAM_FIELD, protein.seed, spec.number, protein.index, number, side)
    plate = plate_effects(protein, layout)
    field = _field_effects(rng)
    anatomy = grow(rng, side, spec.drawn_um, spec.lines[protein.line % len(spec.lines)])
    light, truths = _light(rng, protein, anatomy, spec.roles)
    light["protein"] = light["protein"] * np.float32(plate.brightness * field.brightness)
    light["protein"] += np.float32(plate.bleed * field.bleed) * light["nucleus"]
    _debris(rng, light["protein"], spec.drawn_um)
    size = field_px or spec.field_px
    seen = [_seen(rng, light[role], spec, size=size, plate=plate, field=field) for role in spec.roles]
    pixels = np.stack([_digitised(photons, plate, field) for photons in seen])
    nuclei, cells = (_enlarged(labels, spec.zoom, size) for labels in (anatomy.nuclei, anatomy.cells))
    return Field(pixels, nuclei, cells, tuple(truths), plate, field)


def plate_number(protein: Protein) -> int:
    """Return which plate of the atlas a protein is on: one well each, in order."""
    return protein.index // law.PLATE_WELLS


def plate_effects(protein: Protein, layout: str) -> Plate:
    """Return what a protein's plate does to all its pictures."""
    rng = law.random(law.STREAM_PLATE, protein.seed, law.LAYOUTS[layout].number, plate_number(protein))
    bits = law.LAYOUTS[layout].bits
    return Plate(
        brightness=float(rng.lognormal(0, law.PLATE_SD)),
        blur_um=float(rng.uniform(0.12, 0.2)),
        haze=float(rng.uniform(0.08, 0.25)),
        background=float(rng.uniform(0.6, 1.6)),
        shading=float(rng.uniform(0.0, 0.25)),
        bleed=float(rng.uniform(0.0, 0.06)),
        gain=float(rng.lognormal(0, 0.2)),
        bits=bits[int(rng.integers(len(bits)))],
    )


def _field_effects(rng: np.random.Generator) -> Effects:
    return Effects(
        brightness=float(rng.lognormal(0, law.FIELD_SD)),
        blur_um=float(abs(rng.normal(0, 0.16))),
        haze=float(rng.uniform(0.0, 0.3)),
        background=float(rng.uniform(0.5, 2.0)),
        shading=float(rng.uniform(0.0, 0.2)),
        bleed=float(rng.uniform(0.3, 1.7)),
        gain=float(rng.lognormal(0, 0.15) * (OVEREXPOSURE if rng.random() < OVEREXPOSED else 1.0)),
    )


def _light(
    rng: np.random.Generator, protein: Protein, anatomy: Anatomy, roles: tuple[str, ...]
) -> tuple[dict[str, Plane], list[CellTruth]]:
    """Return role -> light before the microscope, (y, x), cell upon cell, and what is true of each."""
    canvas = {role: np.zeros(anatomy.cells.shape, np.float32) for role in roles}
    truths = []
    for cell in anatomy.drawn:
        truth = _truth(rng, protein, cell)
        dyes = {"nucleus": cell.dna}
        if "microtubules" in canvas:
            dyes["microtubules"] = pattern(rng, cell, "cytoskeleton", PLAIN)
            dyes["er"] = pattern(rng, cell, "er", PLAIN)
        for role, plane in dyes.items():
            canvas[role][cell.window] += plane * np.float32(rng.lognormal(0, 0.25))
        tagged = np.float32(protein.haze) * cell.thickness * (1 - 0.25 * cell.nucleoli)
        for location, share in truth.shares.items():
            tagged = tagged + np.float32(share) * pattern(rng, cell, location, protein.looks[location])
        canvas["protein"][cell.window] += tagged * np.float32(truth.brightness)
        truths.append(truth)
    return canvas, truths


def _truth(rng: np.random.Generator, protein: Protein, cell: Cell) -> CellTruth:
    shares = dict(protein.shares)
    if len(shares) > 1:
        mixed = rng.dirichlet(np.array(list(shares.values())) * law.CONCENTRATION)
        shares = dict(zip(shares, (float(share) for share in mixed), strict=True))
    brightness = protein.expression * float(rng.lognormal(0, law.CELL_SD))
    return CellTruth(cell.label, shares, cell.phase, brightness)


def _debris(rng: np.random.Generator, light: Plane, um: float) -> None:
    """Drop dirt into a field, a bright speck or two in half of them."""
    number = int(rng.poisson(0.6))
    at = rng.uniform(0, light.shape[0], (number, 2))
    light += spots(
        Grid(light.shape[0], light.shape[1], um), at, rng.uniform(0.5, 3.0, number), rng.uniform(0.3, 1.0, number)
    )


def _seen(
    rng: np.random.Generator, light: Plane, spec: law.Layout, *, size: int, plate: Effects, field: Effects
) -> Plane:
    """Return the photons that reach the camera, with shot noise, at the files' resolution, (y, x)."""
    um = spec.drawn_um
    focus_um = np.hypot(plate.blur_um, field.blur_um) * float(rng.uniform(0.85, 1.15))
    sharp = blur(light, focus_um / um)
    share = np.float32(min(plate.haze + field.haze, 0.6))
    seen = sharp * (1 - share) + share * _wide(light, HAZE_UM / um)
    seen = seen * _shading(rng, seen.shape, plate.shading + field.shading)
    seen = _resized(seen, size) if spec.zoom > 1 else seen
    background = float(rng.uniform(*spec.background)) * plate.background * field.background
    photons = np.maximum(seen * np.float32(spec.photons), 0) + np.float32(background)
    noise = rng.standard_normal(photons.shape, dtype=np.float32)
    # Poisson's law by its Gaussian limit, and two electrons of read noise
    return np.asarray(photons + noise * np.sqrt(photons + 4), np.float32)


def _wide(light: Plane, sigma_px: float) -> Plane:
    """Return a wide blur, (y, x), drawn on a coarse grid."""
    step = HAZE_STEP
    small = _resized(light, -(-light.shape[0] // step))
    return _resized(blur(small, sigma_px / step), light.shape[0])


def _resized(plane: Plane, size: int) -> Plane:
    from PIL import Image

    resized: Plane = np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))
    return resized


def _shading(rng: np.random.Generator, shape: tuple[int, ...], depth: float) -> Plane:
    """Return uneven light: 1 somewhere near the middle, darker by `depth` in the far corner, (y, x)."""
    y0, x0 = rng.uniform(0.3, 0.7, 2)
    y, x = (np.linspace(0, 1, n, dtype=np.float32) - np.float32(c) for n, c in zip(shape, (y0, x0), strict=True))
    return 1 - np.float32(depth) * (y[:, None] ** 2 + x[None, :] ** 2)


def _digitised(photons: Plane, plate: Plate, field: Effects) -> npt.NDArray[Any]:
    """Return the camera's counts, (y, x): an offset, a gain that most often fits, and a ceiling."""
    counts_per_photon, offset = CAMERAS[plate.bits]
    counts = photons * np.float32(counts_per_photon * plate.gain * field.gain) + np.float32(offset)
    dtype = np.uint8 if plate.bits == 8 else np.uint16
    return np.asarray(np.clip(counts, 0, (1 << plate.bits) - 1), dtype)


def _enlarged(labels: Labels, zoom: int, size: int) -> Labels:
    return np.repeat(np.repeat(labels, zoom, axis=0), zoom, axis=1)[:size, :size] if zoom > 1 else labels
