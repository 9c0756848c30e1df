"""The microscope and the files: light to pixels, pixels to the names that OpenCell and HPA publish."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError, choices
from embstore.phantom.anatomy import Anatomy, Plane, as_plane, grow
from embstore.phantom.patterns import PATTERNS, Scene, blur, chromatin
from embstore.phantom.plan import LOCATIONS, STREAM_FIELD, PhantomProtein, plan_proteins

Layout = Literal["opencell", "hpa"]
# light of a second location against the main one's; the eye that grades sees no more than this order
GRADE_LIGHT = {3: 1.0, 2: 0.5, 1: 0.25}
PEAK_PHOTONS = 90.0  # at brightness 1, before expression: grainy, as live imaging of endogenous tags is
MAX_PROTEINS = 960  # ten plates; PHN names have three digits


@dataclass(frozen=True)
class LayoutSpec:
    """How a layout is drawn: the grid of the simulation, what the camera adds, the roles in file order."""

    number: int  # part of the seed: the same protein's cells differ between the layouts
    pixel_size_um: float  # of the files (FACTS: OpenCell 0.206349, HPA 0.0800885)
    field_px: int  # of the files
    zoom: int  # file pixels per simulated pixel
    roles: tuple[str, ...]
    background: tuple[float, float]  # photons, uniform per image and channel
    noise: float  # against one frame's shot noise


LAYOUTS: dict[str, LayoutSpec] = {
    "opencell": LayoutSpec(0, 0.206349, 380, 1, ("nucleus", "protein"), (2.0, 8.0), 1.0),
    # HPA's pixels are finer than its optics: half the grid loses nothing and takes a quarter of the time;
    # its cells are fixed, so that frames can be averaged
    "hpa": LayoutSpec(1, 0.0800885, 900, 2, ("microtubules", "protein", "nucleus", "er"), (0.0, 2.0), 0.5),
}
LICENCE = "phantom"  # simulated: scores on it say so
HPA_COLOURS = {"microtubules": "red", "protein": "green", "nucleus": "blue", "er": "yellow"}


@dataclass(frozen=True)
class PhantomReport:
    """What was written: fields, cells whose nucleus is in a field, proteins, and the file of labels."""

    images: int
    cells: int
    proteins: int
    labels: Path


def write_phantom(
    out: Path,
    *,
    layout: Layout,
    proteins: int = 60,
    fields: int = 2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PhantomReport:
    """Write simulated fields of known localization as OpenCell or HPA publish theirs; the same call, the same bytes.

    opencell: `<GENE>_<ENSG>/OC-FOV_<GENE>_<ENSG>_CID<6>_FID<8>_proj.tif`, uint16 (2, y, x), and labels.csv with
    grades. hpa: `<plate>_<well>_<n>_{red,green,blue,yellow}.png`, uint8 (y, x), and image_labels.csv. Files of the
    same name are written over. `progress(done, of)` is called after every field. Raises EmbstoreError.
    """
    _check(layout, proteins, fields, seed)
    plan = plan_proteins(proteins, seed)
    save = _save_opencell if layout == "opencell" else _save_hpa
    out.mkdir(parents=True, exist_ok=True)
    cells = 0
    for protein in plan:
        for field in range(fields):
            pixels, anatomy = draw_field(protein, field, layout=layout, seed=seed)
            save(out, protein, field, pixels)
            cells += anatomy.count
            if progress:
                progress(protein.index * fields + field + 1, proteins * fields)
    labels = _write_labels(out, layout, plan, fields)
    return PhantomReport(images=proteins * fields, cells=cells, proteins=proteins, labels=labels)


def _check(layout: str, proteins: int, fields: int, seed: int) -> None:
    if layout not in LAYOUTS:
        raise EmbstoreError(choices(layout, "phantom layout", LAYOUTS))
    if not 1 <= proteins <= MAX_PROTEINS:
        raise EmbstoreError(f"{proteins} proteins asked of the phantom atlas; ask for 1 to {MAX_PROTEINS}")
    if fields < 1:
        raise EmbstoreError(f"{fields} fields per protein asked of the phantom atlas; ask for 1 or more")
    if seed < 0:
        raise EmbstoreError(f"seed {seed} is negative; give 0 or a positive number")


def draw_field(protein: PhantomProtein, field: int, *, layout: Layout, seed: int) -> tuple[npt.NDArray[Any], Anatomy]:
    """Return a field's pixels (c, y, x) in the layout's channel order and dtype, and the truth under them.

    The anatomy is on the simulation's grid: its (y, x) times the layout's zoom are the pixels'.
    """
    spec = LAYOUTS[layout]
    rng = np.random.default_rng([STREAM_FIELD, seed, spec.number, protein.index, field])
    side = spec.field_px // spec.zoom
    anatomy = grow(rng, (side, side), spec.pixel_size_um * spec.zoom)
    light = _light(protein, anatomy, rng, spec.roles)
    focus_px = anatomy.px(float(rng.uniform(0.1, 0.26)))
    planes = [_exposed(blur(light[role], focus_px), spec, rng) for role in spec.roles]
    return np.stack([_digitised(plane, layout) for plane in planes]), anatomy


def _light(
    protein: PhantomProtein, anatomy: Anatomy, rng: np.random.Generator, roles: tuple[str, ...]
) -> dict[str, Plane]:
    """Return role -> light before the microscope, (y, x); what marks ER or microtubules shows the very same ones."""
    scene = Scene(anatomy, rng)
    marks = {"microtubules": "cytoskeleton", "er": "er"}
    shared = {marks[role]: PATTERNS[marks[role]](scene) for role in roles if role in marks}
    drawn = _protein_light(protein, Scene(anatomy, rng, protein.grain, protein.crowd), shared)
    dyed = {role: shared[mark] * _levels(anatomy, rng, 0.15) for role, mark in marks.items() if mark in shared}
    return {"nucleus": chromatin(scene), "protein": drawn, **dyed}


def _protein_light(protein: PhantomProtein, scene: Scene, shared: dict[str, Plane]) -> Plane:
    """Return the protein's light, (y, x): its locations mixed anew in every cell, over a thin haze."""
    anatomy, rng = scene.anatomy, scene.rng
    haze = protein.leak * anatomy.thickness * (0.8 - 0.3 * anatomy.nucleoli)
    total = haze.astype(np.float32)
    for location, grade in protein.grades.items():
        pattern = shared[location] if location in shared else PATTERNS[location](scene)
        total = total + GRADE_LIGHT[grade] * pattern * _levels(anatomy, rng, 0.25)
    field_level = protein.expression * float(rng.lognormal(0, 0.2))
    return as_plane(field_level * total * _levels(anatomy, rng, 0.35))


def _levels(anatomy: Anatomy, rng: np.random.Generator, spread: float) -> Plane:
    """Return one log-normal level per cell, spread over its pixels, (y, x); background 1, it holds no light."""
    levels = np.concatenate([[1.0], rng.lognormal(0, spread, anatomy.count)]).astype(np.float32)
    return as_plane(levels[anatomy.cells])


def _exposed(light: Plane, spec: LayoutSpec, rng: np.random.Generator) -> Plane:
    """Return photons with shot noise at the file's resolution, (y, x); Poisson's, by its Gaussian limit."""
    from PIL import Image

    if spec.zoom > 1:
        size = (spec.field_px, spec.field_px)
        light = as_plane(np.asarray(Image.fromarray(light).resize(size, Image.Resampling.BICUBIC)))
    photons = np.maximum(light * np.float32(PEAK_PHOTONS), 0) + np.float32(rng.uniform(*spec.background))
    noise = rng.standard_normal(photons.shape, dtype=np.float32) * np.float32(spec.noise)
    return as_plane(np.maximum(photons + noise * np.sqrt(photons), 0))


def _digitised(photons: Plane, layout: Layout) -> npt.NDArray[Any]:
    if layout == "opencell":  # a scientific camera: an offset of about a hundred, several counts per photon
        return np.asarray(np.clip(photons * 24 + 110, 0, 65535), dtype=np.uint16)
    # HPA's background is black: its detector's offset is set so
    return np.asarray(np.clip(photons * 1.3 - 3, 0, 255), dtype=np.uint8)


def _save_opencell(out: Path, protein: PhantomProtein, field: int, pixels: npt.NDArray[Any]) -> None:
    import tifffile

    name = f"{protein.gene}_{protein.ensg_id}"
    serial = field * MAX_PROTEINS + protein.index + 1  # unique over the atlas, and the same in a larger one
    (out / name).mkdir(exist_ok=True)
    path = out / name / f"OC-FOV_{name}_CID{protein.index + 1:06d}_FID{serial:08d}_proj.tif"
    # no software or date tag: the bytes depend on the pixels alone
    tifffile.imwrite(
        path, pixels, compression="zlib", photometric="minisblack", metadata={"axes": "CYX"}, software=False
    )


def _save_hpa(out: Path, protein: PhantomProtein, field: int, pixels: npt.NDArray[Any]) -> None:
    from PIL import Image

    stem = hpa_id(protein.index, field)
    for role, plane in zip(LAYOUTS["hpa"].roles, pixels, strict=True):
        # Huffman codes alone (2): matches are rare in noise, so that files are a tenth smaller, and sooner written
        Image.fromarray(plane).save(out / f"{stem}_{HPA_COLOURS[role]}.png", compress_level=1, compress_type=2)


def hpa_id(index: int, field: int) -> str:
    """Return `<plate>_<well>_<n>`: one protein per well, 96 wells, plates from 9001 (HPA's own are below)."""
    row, column = divmod(index % 96, 12)
    return f"{9001 + index // 96}_{'ABCDEFGH'[row]}{column + 1}_{field + 1}"


def _write_labels(out: Path, layout: Layout, plan: list[PhantomProtein], fields: int) -> Path:
    if layout == "opencell":
        header = ["target_name", "ensg_id", "grade_3", "grade_2", "grade_1", "licence"]
        rows = [[p.gene, p.ensg_id, *(";".join(p.at(grade)) for grade in (3, 2, 1)), LICENCE] for p in plan]
        return _write_csv(out / "labels.csv", header, rows)
    header = ["ID", "Label_idx", "Cellline", "Gene", "ENSG", "licence"]
    names = {p.index: ",".join(LOCATIONS[location] for location in p.grades) for p in plan}
    lines = (
        [hpa_id(p.index, f), names[p.index], p.cell_line, p.gene, p.ensg_id, LICENCE]
        for p in plan
        for f in range(fields)
    )
    return _write_csv(out / "image_labels.csv", header, lines)


def _write_csv(path: Path, header: list[str], rows: Iterable[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path
