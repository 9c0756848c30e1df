"""The phantom atlas: its files look like the published ones, and its labels are the truth of its pictures."""

from __future__ import annotations

import csv
import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from embstore.errors import EmbstoreError
from embstore.phantom import LAYOUTS, LOCATIONS, PhantomProtein, PhantomReport, plan_proteins, write_phantom
from embstore.phantom.anatomy import Anatomy
from embstore.phantom.patterns import PATTERNS
from embstore.phantom.write import Layout, draw_field
from embstore.pixels.segment import segment

OPENCELL_NAME = re.compile(r"^([\w-]+)_(ENSG\d{11})/OC-FOV_\1_\2_CID\d{6}_FID\d{8}_proj\.tif$")
HPA_NAME = re.compile(r"^\d+_[A-H](?:[1-9]|1[0-2])_\d+_(red|green|blue|yellow)\.png$")
# The region in which a location is brighter, on average, than the rest of the cell: by the truth under the picture.
HOME = {
    "nucleoplasm": "nuclei",
    "nuclear_membrane": "nuclear rim",
    "nucleolus_gc": "nucleoli",
    "nuclear_punctae": "nuclei",
    "cytoplasmic": "cytoplasm",
    "er": "cytoplasm",
    "golgi": "poles",
    "mitochondria": "cytoplasm",
    "vesicles": "cytoplasm",
    "membrane": "cell rim",
    "centrosome": "poles",
    "cytoskeleton": "cytoplasm",
}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, tuple[Path, PhantomReport]]:
    out = tmp_path_factory.mktemp("atlas")
    layouts: tuple[Layout, ...] = ("opencell", "hpa")
    return {
        layout: (out / layout, write_phantom(out / layout, layout=layout, proteins=2, fields=2, seed=0))
        for layout in layouts
    }


def files(folder: Path, suffix: str) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob(f"*{suffix}"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder, ".*")}


def near(mask: npt.NDArray[np.bool_], px: float) -> npt.NDArray[np.bool_]:
    return np.asarray(ndimage.distance_transform_edt(~mask) <= px)


def homes(anatomy: Anatomy) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the regions that HOME names, by morphology on the true labels and not by the painter's own means."""
    nuclei, cells = anatomy.nuclei > 0, anatomy.cells > 0
    poles = np.zeros(nuclei.shape, bool)
    inside = [tuple(p) for p in anatomy.poles.astype(int) if (p >= 0).all() and (p < nuclei.shape).all()]
    poles[tuple(np.array(inside).T)] = True

    def border(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return np.asarray(ndimage.grey_dilation(labels, 3) != ndimage.grey_erosion(labels, 3))

    return {
        "nuclei": near(nuclei, 1),
        "cytoplasm": near(cells, 1) & ~nuclei,
        "nuclear rim": near(border(anatomy.nuclei), 3),
        "cell rim": near(border(anatomy.cells), 3),
        "nucleoli": near(anatomy.nucleoli > 0, 1),
        "poles": near(poles, anatomy.px(2)),
    }


def contrast(light: npt.NDArray[Any], where: npt.NDArray[np.bool_], cells: npt.NDArray[np.bool_]) -> float:
    """Return how many times brighter a region is than the rest of the cells, above the background."""
    above = light.astype(float) - light[~cells].mean()
    return float(above[where & cells].mean() / above[cells & ~where].mean())


def share(light: npt.NDArray[Any], where: npt.NDArray[np.bool_], dark: npt.NDArray[np.bool_]) -> float:
    above = light.astype(float) - light[dark].mean()
    return float(above[where].sum() / above.sum())


def test_opencell_files_are_named_as_published(atlas: dict[Layout, tuple[Path, PhantomReport]]) -> None:
    """A phantom field's path matches OpenCell's, with the folder's gene and ENSG id repeated in the name."""
    folder, _ = atlas["opencell"]
    names = files(folder, ".tif")
    assert len(names) == 4
    assert all(OPENCELL_NAME.match(name) for name in names), names
    assert len({name.split("_FID")[1] for name in names}) == 4


def test_hpa_files_are_named_as_published_with_four_channels_a_field(
    atlas: dict[Layout, tuple[Path, PhantomReport]],
) -> None:
    """A phantom field has one file for each of HPA's four colours, and every field has a row of labels."""
    folder, report = atlas["hpa"]
    names = files(folder, ".png")
    assert all(HPA_NAME.match(name) for name in names), names
    fields = Counter(name.rsplit("_", 1)[0] for name in names)
    assert set(fields.values()) == {4}
    assert sorted(fields) == sorted(row["ID"] for row in rows(report.labels))


def test_opencell_files_read_back_as_two_channels_without_a_pixel_size(
    atlas: dict[Layout, tuple[Path, PhantomReport]],
) -> None:
    """A phantom TIFF is uint16 CYX, zlib, nucleus first, and says no size: the name alone proves it."""
    folder, _ = atlas["opencell"]
    with tifffile.TiffFile(folder / files(folder, ".tif")[0]) as tiff:
        assert tiff.series[0].axes == "CYX"
        assert (tiff.series[0].shape, tiff.series[0].dtype) == ((2, 380, 380), np.uint16)
        assert tiff.pages[0].tags["Compression"].value == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert tiff.pages[0].tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
        assert not {"DateTime", "Software"} & {tag.name for tag in tiff.pages[0].tags}


def test_hpa_files_read_back_as_grey_bytes(atlas: dict[Layout, tuple[Path, PhantomReport]]) -> None:
    """A phantom PNG is 8-bit grey and carries nothing but pixels."""
    folder, _ = atlas["hpa"]
    for name in files(folder, ".png")[:4]:
        with Image.open(folder / name) as image:
            assert (image.mode, image.size, image.info) == ("L", (900, 900), {})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_hold_the_pixels_that_were_drawn(
    layout: Layout, atlas: dict[Layout, tuple[Path, PhantomReport]]
) -> None:
    """What is read from disk is the drawn field: red microtubules, green protein, blue nucleus, yellow ER."""
    folder, _ = atlas[layout]
    protein = plan_proteins(2, 0)[1]
    drawn, _ = draw_field(protein, 1, layout=layout, seed=0)
    if layout == "opencell":
        read = tifffile.imread(next(folder.glob(f"{protein.gene}_*/*FID00000962_proj.tif")))
    else:
        paths = [folder / f"9001_A2_2_{colour}.png" for colour in ("red", "green", "blue", "yellow")]
        read = np.stack([np.asarray(Image.open(path)) for path in paths])
    np.testing.assert_array_equal(read, drawn)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_reference_channel_shows_its_role(layout: Layout) -> None:
    """The nucleus channel's light lies in the true nuclei, that of microtubules and ER outside them."""
    pixels, anatomy = draw_field(plan_proteins(1, 0)[0], 0, layout=layout, seed=0)
    spec = LAYOUTS[layout]
    plane = dict(zip(spec.roles, pixels[:, :: spec.zoom, :: spec.zoom], strict=True))
    where, dark = homes(anatomy), anatomy.cells == 0
    assert share(plane["nucleus"], where["nuclei"], dark) > 0.9
    assert all(share(plane[role], where["cytoplasm"], dark) > 0.7 for role in ("microtubules", "er") if role in plane)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_seed_writes_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    """Two calls with one seed agree in every byte; under another seed every picture differs."""
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    for folder, seed in ((first, 1), (again, 1), (other, 2)):
        write_phantom(folder, layout=layout, proteins=1, fields=1, seed=seed)
    assert digests(first) == digests(again)
    before, after = digests(first), digests(other)
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before if not name.endswith(".csv"))


def test_no_two_fields_are_alike() -> None:
    """Fields differ between the fields of a protein, between proteins and between layouts."""
    one, two = plan_proteins(2, 0)
    drawn = [draw_field(p, f, layout="opencell", seed=0)[1].nuclei for p, f in ((one, 0), (one, 1), (two, 0))]
    drawn += [draw_field(one, 0, layout="hpa", seed=0)[1].nuclei]
    assert len({plane.tobytes() for plane in drawn}) == 4


def test_labels_say_how_the_proteins_were_drawn(atlas: dict[Layout, tuple[Path, PhantomReport]]) -> None:
    """Both label files say what the plan holds: OpenCell with grades, HPA by its own names, on the same ENSG ids."""
    plan = {p.ensg_id: p for p in plan_proteins(2, 0)}
    assert sorted(len(p.grades) for p in plan.values()) == [1, 2]
    opencell, hpa = rows(atlas["opencell"][1].labels), rows(atlas["hpa"][1].labels)
    assert list(opencell[0]) == ["target_name", "ensg_id", "grade_3", "grade_2", "grade_1", "licence"]
    assert list(hpa[0]) == ["ID", "Label_idx", "Cellline", "Gene", "ENSG", "licence"]
    assert {row["ensg_id"] for row in opencell} == {row["ENSG"] for row in hpa} == plan.keys()
    for row in opencell:
        grades = {name: g for g in (3, 2, 1) for name in row[f"grade_{g}"].split(";") if name}
        assert (row["target_name"], grades) == (plan[row["ensg_id"]].gene, plan[row["ensg_id"]].grades)
    for row in hpa:
        assert row["Label_idx"].split(",") == [LOCATIONS[name] for name in plan[row["ENSG"]].grades]
        assert row["Gene"] == plan[row["ENSG"]].gene


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_protein_is_bright_where_its_label_says(location: str) -> None:
    """A protein with one location is brighter there than elsewhere in its cells, by the true masks."""
    protein = next(p for p in plan_proteins(60, 0) if p.grades == {location: 3})
    pixels, anatomy = draw_field(protein, 0, layout="opencell", seed=0)
    # measured: 1.4 (vesicles above the haze) to 17
    assert contrast(pixels[1], homes(anatomy)[HOME[location]], anatomy.cells > 0) > 1.25


def test_a_second_location_adds_light_by_its_grade() -> None:
    """The same cells get more light in their nuclei the higher the grade of a nuclear second location."""

    def nuclear(grades: dict[str, int]) -> float:
        protein = PhantomProtein(0, "PHN001", "ENSG99000000001", grades, "HeLa", 1.0, 0.05, 1.0, 1.0)
        pixels, anatomy = draw_field(protein, 0, layout="opencell", seed=0)
        return share(pixels[1], anatomy.nuclei > 0, anatomy.cells == 0)

    alone, weak, middle, strong = (
        nuclear({"cytoplasmic": 3, **extra}) for extra in ({}, *({"nucleoplasm": g} for g in (1, 2, 3)))
    )
    assert alone < weak < middle < strong


def test_sixty_proteins_give_every_location_five_at_grade_three() -> None:
    """Five folds can each hold out a protein of every location; a quarter of the proteins has two."""
    for seed in range(5):
        plan = plan_proteins(60, seed)
        at_three = Counter(location for p in plan for location in p.at(3))
        assert set(at_three) == set(LOCATIONS) == set(PATTERNS)
        assert min(at_three.values()) >= 5
        assert Counter(len(p.grades) for p in plan) == {1: 45, 2: 15}
        assert all(p.at(3) for p in plan)


def test_a_larger_atlas_begins_with_the_smaller_one() -> None:
    """Asking for more proteins changes nothing about the first ones, and another seed changes them."""
    assert plan_proteins(60, 3)[:7] == plan_proteins(7, 3)
    assert plan_proteins(12, 3) != plan_proteins(12, 4)


def test_phantom_ids_look_like_ensembls_and_are_none_of_them() -> None:
    """An id has Ensembl's form, in a range (99...) far above any human gene's, and is unique."""
    ids = [p.ensg_id for p in plan_proteins(960, 0)]
    assert all(re.fullmatch(r"ENSG99\d{9}", i) for i in ids)
    assert len(set(ids)) == 960


def test_the_two_vocabularies_pair_as_subcells_table_does(samples: Path) -> None:
    """Each pair of an OpenCell and an HPA name is a row of the published mapping."""
    with (samples / "labels/subcell_location_group_mapping.tsv").open(newline="") as file:
        published = {r["Original annotation"]: r["Grouping OpenCell"] for r in csv.DictReader(file, delimiter="\t")}
    assert {published[theirs]: theirs for theirs in LOCATIONS.values()} == LOCATIONS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_threshold_finds_the_nuclei(layout: Layout) -> None:
    """Otsu's threshold finds the drawn nuclei; the cores that erosion leaves are as many, but for close neighbours."""
    spec, found, drawn = LAYOUTS[layout], 0, 0
    for protein in plan_proteins(3, 0):
        pixels, anatomy = draw_field(protein, 0, layout=layout, seed=0)
        dyed = pixels[spec.roles.index("nucleus"), :: spec.zoom, :: spec.zoom].astype(float)
        dyed = ndimage.gaussian_filter(dyed, anatomy.px(0.5))
        mask = ndimage.binary_fill_holes(dyed > threshold_otsu(dyed))  # nucleoli are dark
        truth = anatomy.nuclei > 0
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85
        cores = ndimage.label(ndimage.distance_transform_edt(mask) > anatomy.px(2.5))[0]
        found += int((np.bincount(cores.ravel())[1:] > anatomy.px(anatomy.px(5.0))).sum())  # 5 µm²
        drawn += anatomy.count
    assert 0.75 * drawn <= found <= drawn


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_segmenter_counts_the_cells_that_were_drawn(layout: Layout) -> None:
    """The segmenter that ingest uses finds nearly every cell, touching ones too, from the pixels alone."""
    spec, found, drawn = LAYOUTS[layout], 0, 0
    for protein in plan_proteins(3, 0):
        pixels, anatomy = draw_field(protein, 0, layout=layout, seed=0)
        found += int(segment(pixels[spec.roles.index("nucleus")], spec.pixel_size_um).nuclei.max())
        drawn += anatomy.count
    assert abs(found - drawn) <= 0.1 * drawn


def test_nuclei_are_twelve_micrometres_wide() -> None:
    """The median nucleus has the width by which unknown pixel sizes are estimated; fields have 8-14 of them."""
    diameters: list[float] = []
    for protein in plan_proteins(6, 0):
        anatomy = draw_field(protein, 0, layout="opencell", seed=0)[1]
        assert 8 <= anatomy.count <= 14
        assert set(np.unique(anatomy.nuclei)) == set(range(anatomy.count + 1))
        areas_px = np.bincount(anatomy.nuclei.ravel())[1:]
        diameters += list(2 * np.sqrt(areas_px / np.pi) * anatomy.pixel_size_um)
    assert 11.0 < float(np.median(diameters)) < 13.0


def test_each_nucleus_lies_inside_its_cell() -> None:
    """A nucleus and its cell bear one label, and no nucleus reaches into a neighbour."""
    _, anatomy = draw_field(plan_proteins(1, 0)[0], 0, layout="opencell", seed=0)
    in_nuclei = anatomy.nuclei > 0
    np.testing.assert_array_equal(anatomy.cells[in_nuclei], anatomy.nuclei[in_nuclei])


def test_some_nuclei_touch() -> None:
    """Telling neighbours apart is part of the question: some fields have nuclei that share a border."""
    touching = 0
    for protein in plan_proteins(3, 0):
        nuclei = draw_field(protein, 0, layout="opencell", seed=0)[1].nuclei
        touching += nuclei.max() - ndimage.label(nuclei > 0)[1]
    assert touching >= 2


def test_the_report_and_the_progress_count_what_was_written(tmp_path: Path) -> None:
    """Fields, cells and proteins are those of the files, and progress ends at all of them."""
    seen: list[tuple[int, int]] = []
    report = write_phantom(
        tmp_path, layout="opencell", proteins=2, fields=2, seed=0, progress=lambda *at: seen.append(at)
    )
    drawn = [draw_field(p, f, layout="opencell", seed=0)[1].count for p in plan_proteins(2, 0) for f in range(2)]
    assert report == PhantomReport(images=4, cells=sum(drawn), proteins=2, labels=tmp_path / "labels.csv")
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layout": "yeast"}, "no phantom layout 'yeast'; choose from: hpa, opencell"),
        ({"proteins": 0}, "0 proteins"),
        ({"proteins": 961}, "ask for 1 to 960"),
        ({"fields": 0}, "0 fields"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    wrong: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """The error names what was found and what is possible, and leaves no folder behind."""
    request: dict[str, Any] = {"layout": "opencell", "proteins": 1, "fields": 1, **wrong}
    with pytest.raises(EmbstoreError, match=re.escape(said)):
        write_phantom(tmp_path / "out", **request)
    assert not (tmp_path / "out").exists()


def test_importing_the_phantom_is_light() -> None:
    """The command line may import the phantom without waiting for image libraries."""
    code = "import sys, embstore.phantom; print({'scipy', 'PIL', 'tifffile', 'torch', 'lancedb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
