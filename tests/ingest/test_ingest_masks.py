"""`ingest --masks`: cells from label images of other tools, under ids of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import PX, draw_field, save_tiff, write_hpa, write_opencell
from PIL import Image

from embstore.ingest import Report, embed, ingest
from embstore.phantom import write_phantom
from embstore.phantom.truth import add_truth
from embstore.sources.layouts import read_source
from embstore.sources.record import Masks
from embstore.store import Store, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def take(
    store: Store, source: Path, masks: Path | None = None, *, layout: str = "opencell", um: float | None = None
) -> Report:
    return ingest(store, source, layout=layout, backbones=["pixel-stats"], masks=masks, pixel_size_um=um)


def draw_mask(path: Path, *labels: int, px: int = PX) -> Path:
    """Write squares of 30 pixels in a row, one for each label."""
    image = np.zeros((px, px), np.uint16)
    for i, label in enumerate(labels):
        image[40:70, 10 + 45 * i : 40 + 45 * i] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def current(store: Store) -> list[tuple[int, str]]:
    return [
        (r["label"], r["segmentation"]) for r in rows(store, "SELECT label, segmentation FROM cells ORDER BY label")
    ]


@pytest.mark.parametrize("layout", ["opencell", "hpa"])
def test_an_atlas_with_its_own_masks_scores_one(store: Store, tmp_path: Path, layout: str) -> None:
    """The true masks of a phantom atlas go in as they are: F1 1 at IoU 1, every cell labelled, a rerun does nothing."""
    atlas = write_phantom(tmp_path / "atlas", layout=layout, proteins=2, fields=1, field_px=400)
    report = take(store, atlas.images_folder, tmp_path / "atlas/truth/masks", layout=layout)
    assert (report.images_in, report.failures) == (2, [])
    truth = add_truth(store, tmp_path / "atlas")
    assert (truth.f1, truth.iou) == (1, 1)
    assert truth.labelled == report.cells_in == report.vectors_in["pixel-stats:mapping"]
    versions = store.versions()
    assert take(store, atlas.images_folder, tmp_path / "atlas/truth/masks", layout=layout).done_before == 2
    assert take(store, atlas.images_folder, layout=layout).done_before == 2  # masks that are not named are kept
    assert store.versions() == versions


def test_other_masks_make_other_cells_and_keep_the_old(store: Store, tmp_path: Path) -> None:
    """Built-in cells, masks, changed masks: three segmentations of one revision, the last one current."""
    (path,) = write_opencell(tmp_path / "in", [1])
    take(store, tmp_path / "in")
    built_in = current(store)
    mask = draw_mask(tmp_path / "m" / f"{path.stem}_nuclei.png", 2, 7)
    report = take(store, tmp_path / "in", tmp_path / "m")
    assert (report.images_in, report.images_resegmented, report.images_changed, report.cells_in) == (1, 1, 0, 2)
    first = current(store)
    assert [label for label, _ in first] == [2, 7]
    draw_mask(mask, 1, 2, 3)
    assert take(store, tmp_path / "in", tmp_path / "m").images_resegmented == 1
    assert {segmentation for _, segmentation in current(store)}.isdisjoint({s for _, s in built_in + first})
    assert rows(store, "SELECT revision FROM images") == [{"revision": 1}]
    assert len(store.read("cells")) == len(built_in) + 2 + 3
    (row,) = rows(store, "SELECT note FROM images")
    assert row["note"] == "cells grown from the nuclei of a mask"
    assert embed(store, backbones=["pixel-stats"]).done_before == 1


def test_a_mask_that_does_not_fit_is_a_failure_and_the_others_go_in(store: Store, tmp_path: Path) -> None:
    """Another size, no mask, two masks, an empty one: each is named, and repaired by its own file alone."""
    paths = write_opencell(tmp_path / "in", [1, 2, 3, 4, 5])
    wrong, _, twice, empty, good = (tmp_path / "m" / f"{path.stem}_cells.png" for path in paths)
    draw_mask(wrong, 1, 2, px=PX + 1)
    draw_mask(twice, 1, 2)
    shutil.copy(twice, tmp_path / "m" / f"{paths[2].stem}_cell_mask.png")
    draw_mask(empty)
    draw_mask(good, 1, 2)
    report = take(store, tmp_path / "in", tmp_path / "m")
    assert (report.images_in, report.cells_in) == (2, 2)
    message = {Path(failure.source).name: failure.error for failure in report.failures}
    assert set(message) == {path.name for path in paths[:3]}
    assert "(161, 161) and its image (160, 160)" in message[paths[0].name]
    assert message[paths[1].name].startswith("no mask is named like")
    assert "are both named as the cells of" in message[paths[2].name]
    assert "the mask has no object" in report.empty[f"opencell/{paths[3].stem}"]
    assert len(take(store, tmp_path / "in", tmp_path / "m").known_failures) == 1
    draw_mask(wrong, 1, 2)
    assert take(store, tmp_path / "in", tmp_path / "m").images_in == 1


def test_masks_stand_in_for_a_nucleus_channel(store: Store, tmp_path: Path) -> None:
    """A field of protein alone is ingested with masks of cells, at the pixel size that its name determines."""
    write_hpa(tmp_path / "in", "1_A1_1", 1, ("green",))
    assert len(take(store, tmp_path / "in", layout="hpa").failures) == 1
    draw_mask(tmp_path / "in" / "1_A1_1_cellmask.png", 1, 2, px=400)
    report = take(store, tmp_path / "in", tmp_path / "in", layout="hpa")
    assert (report.images_in, report.cells_in, report.failures) == (1, 2, [])
    assert "2 cells without a nucleus" in report.mask_notes["hpa/1_A1_1"]
    assert rows(store, "SELECT DISTINCT roles_present r, nucleus_area_um2 a FROM cells") == [{"r": ["protein"], "a": 0}]


def test_a_pixel_size_by_option_beats_the_layout_and_makes_new_cells(store: Store, tmp_path: Path) -> None:
    """The option is recorded as such; the same one again does nothing, and none at all keeps it."""
    write_opencell(tmp_path / "in", [1])
    take(store, tmp_path / "in")
    assert take(store, tmp_path / "in", um=0.3).images_resegmented == 1
    assert rows(store, "SELECT pixel_size_um um, pixel_size_source s FROM images") == [{"um": 0.3, "s": "option"}]
    assert take(store, tmp_path / "in", um=0.3).done_before == 1
    assert take(store, tmp_path / "in").done_before == 1
    assert len({segmentation for _, segmentation in current(store)}) == 1


def test_another_pixel_size_without_masks_keeps_the_cells_that_masks_made(store: Store, tmp_path: Path) -> None:
    """They stay at their pixel size, and the report has a note; built-in cells beside them are made anew."""
    first, _ = write_opencell(tmp_path / "in", [1, 2])
    take(store, tmp_path / "in")
    draw_mask(tmp_path / "m" / f"{first.stem}_nuclei.png", 2, 7)
    take(store, tmp_path / "in", tmp_path / "m")
    of_masks = "SELECT cell_id FROM cells WHERE gene = 'G1' ORDER BY cell_id"
    from_masks = rows(store, of_masks)
    report = take(store, tmp_path / "in", um=0.3)
    assert (report.images_resegmented, report.done_before, report.sizes_kept) == (1, 1, 1)
    assert rows(store, of_masks) == from_masks
    sizes = "SELECT round(pixel_size_um, 3) AS um FROM images ORDER BY image_id"
    assert [row["um"] for row in rows(store, sizes)] == [0.206, 0.3]
    dry = ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"], pixel_size_um=0.3, dry_run=True)
    assert (dry.done_before, dry.sizes_kept) == (2, 1)
    report = take(store, tmp_path / "in", tmp_path / "m", um=0.3)
    assert (report.images_resegmented, report.sizes_kept) == (1, 0)
    assert take(store, tmp_path / "in", um=0.3).sizes_kept == 0  # the one that they have


def test_another_pixel_size_in_a_manifest_keeps_the_cells_that_masks_made(store: Store, tmp_path: Path) -> None:
    """As with the option: a new revision would replace them by built-in cells."""
    save_tiff(tmp_path / "a.tif", draw_field(1))
    draw_mask(tmp_path / "masks" / "a_cells.png", 1, 2)
    manifest = tmp_path / "m.csv"
    for um, masks in ((0.2, tmp_path / "masks"), (0.3, None)):
        manifest.write_text(f"image_id,file,channels,pixel_size_um\na,a.tif,nucleus;protein,{um}\n")
        report = take(store, manifest, masks, layout="manifest")
        assert report.failures == []
    assert (report.done_before, report.sizes_kept) == (1, 1)
    assert [label for label, _ in current(store)] == [1, 2]
    assert rows(store, "SELECT revision, pixel_size_um AS um FROM images") == [{"revision": 1, "um": 0.2}]


NAMED = [
    ("x_nuclei.png", "nuclei"),
    ("x_nucleus_mask.tif", "nuclei"),
    ("x_nucleimask.png", "nuclei"),
    ("x_MaskNuclei.tiff", "nuclei"),
    ("x_cells.png", "cells"),
    ("x-cell-labels.tif", "cells"),
    ("x_cellmask.png", "cells"),
    ("cells/x.png", "cells"),
    ("nucleus_masks/x.tif", "nuclei"),
    ("cells/x_cp_masks.png", "cells"),
    ("x_cp_masks.png", None),
    ("x_Simple Segmentation.tif", None),
    ("x_Object Identities.tif", None),
    ("x_Nuclei Object Identities.tif", "nuclei"),
    ("x_label_image.tif", None),
    ("x_stardist_nuclei.png", "nuclei"),
    ("x.png", None),
    ("x_labels.tif", None),
    ("mask_x.png", None),
    ("maskcells_x.png", "cells"),
]


@pytest.mark.parametrize(("name", "objects"), NAMED)
def test_names_determine_the_image_and_kind_of_a_mask(tmp_path: Path, name: str, objects: str | None) -> None:
    """The endings that tools append are known; if neither name nor folder states it, nuclei are assumed and noted."""
    save_tiff(tmp_path / "in" / "x.tif", np.zeros((2, 8, 8), np.uint8))
    path = tmp_path / "m" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    source = read_source(tmp_path / "in", "opencell", None, masks=tmp_path / "m")
    assert source.images[0].masks == Masks(**{objects or "nuclei": path})
    assert any("read as nuclei" in note for note in source.notes) is (objects is None)


def test_images_and_masks_may_say_so_at_the_beginning_of_their_names(tmp_path: Path) -> None:
    """`img_001.tif` has `mask_001.tif`, `img2d.tif` has `mask2d.tif`."""
    for name in ("img_001", "img2d"):
        save_tiff(tmp_path / f"{name}.tif", np.zeros((2, 8, 8), np.uint8))
        save_tiff(tmp_path / f"{name.replace('img', 'mask')}.tif", np.zeros((8, 8), np.uint8), metadata=None)
    source = read_source(tmp_path, "opencell", None, masks=tmp_path)
    masks = {image.key: image.masks and image.masks.nuclei for image in source.images}
    assert masks == {"img_001": tmp_path / "mask_001.tif", "img2d": tmp_path / "mask2d.tif"}


def test_a_manifest_without_nuclei_goes_in_with_masks(store: Store, tmp_path: Path) -> None:
    """Rows that name no nucleus are failures of their lines, and none with masks of their cells."""
    pixels = draw_field(1)[1:]
    save_tiff(tmp_path / "a.tif", pixels)
    manifest = tmp_path / "m.csv"
    manifest.write_text("image_id,protein,pixel_size_um\na,a.tif,0.2\n")
    (failure,) = take(store, manifest, layout="manifest").failures
    assert (failure.source, "no nucleus" in failure.error) == (f"{manifest}:2", True)
    draw_mask(tmp_path / "masks" / "a_cells.png", 1, 2)
    report = take(store, manifest, tmp_path / "masks", layout="manifest")
    assert (report.images_in, report.cells_in, report.failures) == (1, 2, [])
    assert len(store.read("failures")) == 0


def test_masks_beside_their_images_are_no_images(tmp_path: Path) -> None:
    """Masks in the source folder, or in a folder within it, are not read as images; the longest image name wins."""
    for name in ("a", "a_cell", "b"):
        save_tiff(tmp_path / f"{name}.tif", np.zeros((2, 8, 8), np.uint8))
    for name in ("a_mask", "a_cell_mask", "b_mask", "other_mask"):
        save_tiff(tmp_path / f"{name}.tif", np.zeros((8, 8), np.uint8), metadata=None)
    source = read_source(tmp_path, "opencell", None, masks=tmp_path)
    masks = {image.key: image.masks and image.masks.nuclei for image in source.images}
    assert masks == {key: tmp_path / f"{key}_mask.tif" for key in ("a", "a_cell", "b")}
    assert [Path(failure.source).name for failure in source.failures] == ["other_mask.tif"]
    (tmp_path / "masks").mkdir()
    for name in ("a", "a_cell", "b"):
        (tmp_path / f"{name}_mask.tif").rename(tmp_path / "masks" / f"{name}.tif")
    (tmp_path / "other_mask.tif").rename(tmp_path / "masks" / "other.tif")
    source = read_source(tmp_path, "opencell", None, masks=tmp_path / "masks")
    assert [image.key for image in source.images] == ["a", "a_cell", "b"]
    assert source.failures == ()
    assert source.notes[-1] == "masks of no image here, left out: 1 (other.tif)"


def test_images_of_one_name_take_the_mask_of_their_own_folder(tmp_path: Path) -> None:
    """Well names repeat from plate to plate; a mask in a folder of the plate's name is that plate's."""
    for plate in ("p1", "p2"):
        save_tiff(tmp_path / "in" / plate / "A1.tif", np.zeros((2, 8, 8), np.uint8))
        draw_mask(tmp_path / "m" / plate / "A1_cells.png", 1)
    source = read_source(tmp_path / "in", "opencell", None, masks=tmp_path / "m")
    assert {i.key: i.masks and i.masks.cells for i in source.images} == {
        f"{plate}/A1": tmp_path / "m" / plate / "A1_cells.png" for plate in ("p1", "p2")
    }


def test_published_colour_masks_are_split_into_nuclei(store: Store, samples: Path) -> None:
    """The RGBA masks of two RPE1 and U2OS fields give 73 and 147 nuclei, and the report states that they were split."""
    report = take(store, samples / "masks" / "mnfinder", samples / "masks" / "mnfinder")
    assert report.cells_in == 220
    assert all("without instances, split into" in note for note in report.mask_notes.values())


def test_dropped_cells_are_rows_without_vectors_until_they_are_asked_for(store: Store, tmp_path: Path) -> None:
    """With `drop_flagged` only sound cells are embedded, rerun or not; without it the others follow, none twice."""
    (path,) = write_opencell(tmp_path / "in", [1])
    labels = np.zeros((PX, PX), np.uint16)
    labels[:30, :30], labels[40:70, 40:70], labels[100:130, 100:130] = 1, 2, 3  # the first is cut by the border
    (tmp_path / "m").mkdir()
    Image.fromarray(labels).save(tmp_path / "m" / f"{path.stem}_cells.png")
    ask = {"layout": "opencell", "masks": tmp_path / "m", "pixel_size_um": 0.3}

    def take_sound(**choices: bool) -> Report:
        return ingest(store, tmp_path / "in", backbones=["pixel-stats"], **ask, **choices)

    report = take_sound(drop_flagged=True)
    flagged = [row["label"] for row in rows(store, "SELECT label FROM cells WHERE len(flags) > 0 ORDER BY label")]
    assert 1 in flagged
    assert (report.cells_in, report.dropped) == (3, len(flagged))
    assert report.flags["touches_edge"] == 1
    assert report.vectors_in == {"pixel-stats:mapping": 3 - len(flagged)}
    assert take_sound(drop_flagged=True).done_before == 1
    assert embed(store, backbones=["pixel-stats"], drop_flagged=True).done_before == 1
    assert embed(store, backbones=["pixel-stats"]).vectors_in == {"pixel-stats:mapping": 3}
    assert take_sound().done_before == take_sound(drop_flagged=True).done_before == 1
    (space,) = rows(store, "SELECT digest FROM spaces")
    ids, _ = store.vectors(space["digest"])
    assert sorted(ids) == [row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells ORDER BY cell_id")]
