"""An atlas on disk: files like the published ones, labels, truth, and the same bytes every time."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from embstore.errors import EmbstoreError
from embstore.phantom import PhantomReport, atlas_digest, write_phantom
from embstore.phantom.names import HPA_NAMES, ensg_id, gene, hpa_key, opencell_key
from embstore.phantom.truth_files import read_cell_truth, read_true_mask
from embstore.phantom.v1 import law
from embstore.phantom.v1.field import draw_field
from embstore.phantom.v1.proteins import plan_proteins
from embstore.phantom.write import Layout

OPENCELL_NAME = re.compile(r"^([\w-]+)_(ENSG\d{11})/OC-FOV_\1_\2_CID\d{6}_FID\d{8}_proj\.tif$")
HPA_NAME = re.compile(r"^\d+_[A-H](?:[1-9]|1[0-2])_\d+_(red|green|blue|yellow)\.png$")
PX: dict[Layout, int] = {"opencell": 180, "hpa": 400}
Atlas = dict[Layout, tuple[Path, PhantomReport]]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    out = tmp_path_factory.mktemp("atlas")
    return {
        layout: (out / layout, write_phantom(out / layout, layout=layout, proteins=4, fields=2, seed=3, field_px=px))
        for layout, px in PX.items()
    }


def files(folder: Path, suffix: str) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob(f"*{suffix}"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder, ".*")}


def test_opencell_files_are_named_as_published(atlas: Atlas) -> None:
    """A phantom field's path matches OpenCell's, with the folder's gene and ENSG id repeated in the name."""
    names = files(atlas["opencell"][0] / "images", ".*")
    assert len(names) == 8
    assert all(OPENCELL_NAME.match(name) for name in names), names
    assert len({name.split("_FID")[1] for name in names}) == 8


def test_hpa_files_are_named_as_published_with_four_channels_a_field(atlas: Atlas) -> None:
    """A phantom field has one file for each of HPA's four colours, and every field has a row of labels."""
    folder, report = atlas["hpa"]
    names = files(folder / "images", ".*")
    assert all(HPA_NAME.match(name) for name in names), names
    fields = Counter(name.rsplit("_", 1)[0] for name in names)
    assert set(fields.values()) == {4}
    assert sorted(fields) == sorted(row["ID"] for row in rows(report.labels))


def test_opencell_files_read_back_as_two_channels_without_a_pixel_size(atlas: Atlas) -> None:
    """A phantom TIFF is uint16 CYX, zlib, nucleus first, and states no size: its name determines it."""
    folder = atlas["opencell"][0] / "images"
    with tifffile.TiffFile(folder / files(folder, ".tif")[0]) as tiff:
        assert tiff.series[0].axes == "CYX"
        assert (tiff.series[0].shape, tiff.series[0].dtype) == ((2, 180, 180), np.uint16)
        assert tiff.pages[0].tags["Compression"].value == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert tiff.pages[0].tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
        assert not {"DateTime", "Software"} & {tag.name for tag in tiff.pages[0].tags}


def test_hpa_files_read_back_as_grey_bytes(atlas: Atlas) -> None:
    """A phantom PNG is 8-bit grey and carries nothing but pixels."""
    folder = atlas["hpa"][0] / "images"
    for name in files(folder, ".png")[:4]:
        with Image.open(folder / name) as image:
            assert (image.mode, image.size, image.info) == ("L", (400, 400), {})


@pytest.mark.parametrize("layout", PX)
def test_the_files_hold_what_was_drawn(layout: Layout, atlas: Atlas) -> None:
    """Pixels, both masks and every cell's shares are read back from disk as they were simulated."""
    folder, _ = atlas[layout]
    protein = plan_proteins(4, 3)[2]
    field = draw_field(protein, 1, layout, PX[layout])
    key = opencell_key(3, 2, 1) if layout == "opencell" else hpa_key(3, 2, 1)
    if layout == "opencell":
        read = tifffile.imread(next((folder / "images").rglob(f"{key}.tif")))
    else:
        colours = ("red", "green", "blue", "yellow")
        read = np.stack([np.asarray(Image.open(folder / "images" / f"{key}_{colour}.png")) for colour in colours])
    np.testing.assert_array_equal(read, field.pixels)
    np.testing.assert_array_equal(read_true_mask(folder / "truth", key, "nuclei"), field.nuclei)
    np.testing.assert_array_equal(read_true_mask(folder / "truth", key, "cells"), field.cells)
    truth = read_cell_truth(folder / "truth")[key]
    assert set(truth) == {t.label for t in field.truths}
    for t in field.truths:
        assert truth[t.label] == pytest.approx(t.shares, abs=1e-5)


def test_the_whole_truth_is_written(atlas: Atlas) -> None:
    """Proteins, their looks, fields and cells each have a table; the report counts their rows."""
    folder, report = atlas["opencell"]
    tables = {name: rows(folder / "truth" / f"{name}.csv") for name in ("proteins", "looks", "fields", "cells")}
    plan = plan_proteins(4, 3)
    assert [row["gene"] for row in tables["proteins"]] == [gene(3, p.index) for p in plan]
    assert [row["grades"] for row in tables["proteins"]] == [
        ";".join(f"{o}:{g}" for o, g in p.grades.items()) for p in plan
    ]
    assert len(tables["looks"]) == sum(len(p.shares) for p in plan)
    assert sum(int(row["n_cells"]) for row in tables["fields"]) == len(tables["cells"]) == report.cells
    assert {"field blur_um", "plate blur_um", "plate bits"} <= set(tables["fields"][0])
    assert (report.images, report.proteins, report.digest) == (8, 4, atlas_digest("v1"))
    assert json.loads((folder / "phantom.json").read_text())["digest"] == atlas_digest("v1")


def test_labels_say_what_was_published(atlas: Atlas) -> None:
    """Both label files contain what was published, on the same ids: OpenCell with grades, HPA by its own names."""
    plan = {ensg_id(3, p.index): p for p in plan_proteins(4, 3)}
    opencell, hpa = rows(atlas["opencell"][1].labels), rows(atlas["hpa"][1].labels)
    assert list(opencell[0]) == ["target_name", "ensg_id", "grade_3", "grade_2", "grade_1", "licence"]
    assert list(hpa[0]) == ["ID", "Label_idx", "Cellline", "Gene", "ENSG", "licence"]
    assert {row["ensg_id"] for row in opencell} == {row["ENSG"] for row in hpa} == plan.keys()
    for row in opencell:
        grades = {name: g for g in (3, 2, 1) for name in row[f"grade_{g}"].split(";") if name}
        assert grades == plan[row["ensg_id"]].published
    for row in hpa:
        assert row["Label_idx"].split(",") == [HPA_NAMES[name] for name in plan[row["ENSG"]].published]
        assert row["Cellline"] in {line.name for line in law.HPA_LINES}


@pytest.mark.parametrize("layout", PX)
def test_the_same_call_writes_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    """Two folders of one request agree in every byte, also after a stop; under another seed every picture differs."""
    ask: dict[str, Any] = {"layout": layout, "proteins": 2, "fields": 1, "field_px": PX[layout]}
    write_phantom(tmp_path / "first", **ask)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "again", **ask, progress=stopped)
    write_phantom(tmp_path / "again", **ask)
    with pytest.raises(KeyboardInterrupt):  # of a finished one, a stopped rerun leaves the truth whole
        write_phantom(tmp_path / "again", **ask, progress=stopped)
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    write_phantom(tmp_path / "other", **ask, seed=1)
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    images = [set(digests(tmp_path / name / "images").values()) for name in ("first", "other")]
    assert not images[0] & images[1]


def stopped(stage: str, done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_progress_counts_fields(tmp_path: Path) -> None:
    """Progress ends at all fields, one at a time."""
    seen: list[tuple[str, int, int]] = []
    write_phantom(
        tmp_path / "a", layout="opencell", proteins=2, fields=2, field_px=128, progress=lambda *at: seen.append(at)
    )
    assert seen == [("simulating opencell", done, 4) for done in (1, 2, 3, 4)]


def test_ids_have_the_published_forms_and_are_nobody_elses() -> None:
    """Ensembl's form in a range of no human gene, HPA's with plates above its own; two seeds share none."""
    ids = {ensg_id(seed, i) for seed in (0, 1, 9999) for i in (0, 5, 99_998)}
    assert len(ids) == 9
    assert all(re.fullmatch(r"ENSG99\d{9}", i) for i in ids)
    assert len({gene(seed, i) for seed in (0, 1, 9999) for i in (0, 5, 99_998)}) == 9
    assert (gene(0, 6), gene(4, 6)) == ("PHN007", "PHN007S4")
    assert len({hpa_key(seed, i, f) for seed in (0, 12) for i in (0, 95, 96, 999) for f in (0, 1)}) == 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layout": "yeast"}, "no phantom layout 'yeast'; choose from: hpa, opencell"),
        ({"version": "v7"}, "no phantom version 'v7'"),
        ({"proteins": 0}, "proteins of the phantom atlas: 0; wanted 1 to 99999"),
        ({"fields": 0}, "fields per protein of the phantom atlas: 0"),
        ({"seed": -1}, "seed of the phantom atlas: -1"),
        ({"field_px": 20}, "field pixels of the phantom atlas: 20; wanted 128 to 4096"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The error names what was found and what is possible, and leaves no folder behind."""
    request: dict[str, Any] = {"layout": "opencell", "proteins": 1, "fields": 1, **wrong}
    with pytest.raises(EmbstoreError, match=re.escape(message)):
        write_phantom(tmp_path / "out", **request)
    assert not (tmp_path / "out").exists()


def test_two_atlases_are_never_mixed_in_one_folder(tmp_path: Path) -> None:
    """A folder that contains another request, or something else, is refused and left as it is."""
    ask: dict[str, Any] = {"layout": "opencell", "fields": 1, "field_px": 128}
    write_phantom(tmp_path / "a", proteins=1, **ask)
    before = digests(tmp_path / "a")
    with pytest.raises(EmbstoreError, match=r"contains another phantom atlas: proteins 1 \(asked: 2\)"):
        write_phantom(tmp_path / "a", proteins=2, **ask)
    assert digests(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(EmbstoreError, match="is not empty and contains no phantom atlas"):
        write_phantom(tmp_path / "b", proteins=1, **ask)
    assert files(tmp_path / "b", ".*") == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """A path that is a file, or below one, is reported with the system's own reason."""
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(EmbstoreError, match=r"cannot write .*file.*; choose another folder"):
            write_phantom(out, layout="opencell", proteins=1, fields=1, field_px=128)


def test_the_default_size_is_the_size_that_is_meant(tmp_path: Path) -> None:
    """Asking for a layout's own size by number is the same request as not asking."""
    write_phantom(tmp_path / "a", layout="opencell", proteins=1, fields=1)
    assert write_phantom(tmp_path / "a", layout="opencell", proteins=1, fields=1, field_px=600).images == 1
