"""Label images of other tools: what counts as an instance, and how nuclei and cells are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from embstore.errors import ImageError
from embstore.pixels.masks import PLAIN, Mask, from_masks, read_label_image
from embstore.pixels.segment import segment
from embstore.pixels.segmentation import SEGMENTER

SHAPE = (40, 60)


def squares(*labels: int, side: int = 10) -> np.ndarray:
    """Squares in a row, one for each label, 5 pixels apart."""
    image = np.zeros(SHAPE, np.int64)
    for i, label in enumerate(labels):
        image[10 : 10 + side, 5 + 15 * i : 5 + 15 * i + side] = label
    return image


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "int64", "float32"])
def test_labels_of_every_dtype_keep_their_numbers(tmp_path: Path, dtype: str) -> None:
    """A cell's label in the store is its label in the file, gaps and all."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, squares(3, 7, 200).astype(dtype))
    result = read_label_image(path, SHAPE)
    np.testing.assert_array_equal(result.labels, squares(3, 7, 200))
    assert (result.labels.dtype, result.note) == (np.int32, "")


def test_one_object_is_an_instance_whatever_its_value(tmp_path: Path) -> None:
    """A single connected piece is one cell with its own label, and the note is empty."""
    Image.fromarray(squares(255).astype(np.uint8)).save(tmp_path / "m.png")
    result = read_label_image(tmp_path / "m.png", SHAPE)
    np.testing.assert_array_equal(result.labels, squares(255))
    assert result.note == ""


def test_labels_too_large_for_a_table_are_numbered_anew(tmp_path: Path) -> None:
    """Labels of four billion give cells 1 and 2 and a note, and not a table of four billion rows."""
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, squares(5, 4_000_000_000).astype(np.uint32))
    result = read_label_image(path, SHAPE)
    np.testing.assert_array_equal(result.labels, squares(1, 2))
    assert result.note == "labels up to 4000000000 renumbered"


@pytest.mark.parametrize("kind", ["bits", "grey", "rgb", "rgba"])
def test_a_foreground_is_split_into_its_components_and_says_so(tmp_path: Path, kind: str) -> None:
    """One value, bits or colours name no instances: each connected piece is one."""
    inside = squares(1, 1, 1) > 0
    colour = np.where(inside[..., None], np.array([255, 188, 3, 255]), 0).astype(np.uint8)  # (y, x, 4)
    image = {"bits": inside, "grey": inside.astype(np.uint8) * 255, "rgb": colour[..., :3], "rgba": colour}[kind]
    path = tmp_path / "m.png"
    Image.fromarray(image).save(path)
    result = read_label_image(path, SHAPE)
    np.testing.assert_array_equal(result.labels, squares(1, 2, 3))
    assert "split into 3 connected components" in result.note


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.ones((4, 4), np.uint8), r"the mask m\.tif is \(4, 4\) and its image \(40, 60\)"),
        ((squares(1, 2) + 0.5).astype(np.float32), "values that are not labels"),
        (-squares(1, 2).astype(np.int32), "values that are not labels"),
    ],
)
def test_what_cannot_be_labels_of_this_image_is_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    """Another size, fractions and negative numbers end as one line."""
    tifffile.imwrite(tmp_path / "m.tif", pixels)
    with pytest.raises(ImageError, match=message):
        read_label_image(tmp_path / "m.tif", SHAPE)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_labels_keep_their_numbers_in_any_dtype(tmp_path: Path, dtype: str) -> None:
    """Whole numbers from 1 to 70,000, as integers or as MATLAB's doubles, are labels as they stand."""
    tifffile.imwrite(tmp_path / "m.tif", (squares(1, 2) * 35_000).astype(dtype))
    np.testing.assert_array_equal(read_label_image(tmp_path / "m.tif", SHAPE).labels, squares(1, 2) * 35_000)


def as_mask(labels: np.ndarray) -> Mask:
    return Mask(labels.astype(np.int32))


def test_each_nucleus_goes_to_the_cell_that_holds_most_of_it() -> None:
    """Labels are the cells'; a nucleus is cut at its cell's outline, one outside every cell is left out and counted."""
    cells = np.zeros(SHAPE, int)
    cells[5:30, 2:18], cells[5:30, 18:35] = 4, 9
    nuclei = np.zeros(SHAPE, int)
    nuclei[10:20, 12:20] = 1  # 6 of 8 columns in cell 4
    nuclei[10:20, 50:58] = 2
    result = from_masks(as_mask(nuclei), as_mask(cells), None, 0.5)
    assert set(np.unique(result.nuclei)) == {0, 4}
    assert (result.nuclei == 4).sum() == 60
    np.testing.assert_array_equal(result.cells, cells)
    assert result.pixel_size_um == 0.5
    assert result.note == f"{PLAIN}, 1 nuclei outside every cell left out, 1 cells without a nucleus"


def test_a_nucleus_mostly_outside_its_cell_is_not_one_outside_every_cell() -> None:
    """Both are left out, and the note counts each by its own reason; half of a nucleus is enough to keep it."""
    cells, nuclei = np.zeros(SHAPE, int), np.zeros(SHAPE, int)
    cells[5:30, 2:18], cells[5:30, 20:36] = 4, 9
    nuclei[10:20, 0:4] = 1  # half of it in cell 4
    nuclei[28:38, 20:28] = 2  # 2 of 10 rows in cell 9
    nuclei[10:20, 34:44] = 6  # 2 of 10 columns in cell 9
    nuclei[10:20, 50:58] = 3
    result = from_masks(as_mask(nuclei), as_mask(cells), None, 0.5)
    assert set(np.unique(result.nuclei)) == {0, 4}
    outside = "1 nuclei outside every cell left out, 2 nuclei mostly outside their cell left out"
    assert result.note == f"{PLAIN}, {outside}, 1 cells without a nucleus"


def test_a_foreground_of_cells_is_divided_among_its_nuclei() -> None:
    """Two nuclei in one component halve it, under their labels; a component without one is left out; one each stays."""
    foreground = np.zeros(SHAPE, bool)
    foreground[10:20, 0:40], foreground[25:35, 0:10] = True, True
    nuclei = np.zeros(SHAPE, int)
    nuclei[13:17, 8:12], nuclei[13:17, 28:32], nuclei[13:17, 36:39] = 5, 8, 9
    result = from_masks(as_mask(nuclei), Mask(_labelled(foreground), instances=False), None, 0.5)
    assert set(np.unique(result.cells)) == {0, 5, 8, 9}
    assert set(np.unique(result.cells[10:20, :19])) == {5}
    assert set(np.unique(result.cells[10:20, 21:33])) == {8}
    assert "a foreground mask, divided among its nuclei, 1 components without a nucleus left out" in result.note
    one_each = from_masks(as_mask(np.where(nuclei == 5, 5, 0)), Mask(_labelled(foreground), instances=False), None, 0.5)
    assert set(np.unique(one_each.cells)) == {0, 1, 2}


def _labelled(foreground: np.ndarray) -> np.ndarray:
    return ndimage.label(foreground)[0].astype(np.int32)


def test_nuclei_alone_grow_into_cells_as_the_built_in_ones_do() -> None:
    """Each keeps its label and grows by the segmenter's share of the median nuclear diameter."""
    result = from_masks(as_mask(squares(3, 5)), None, None, None)
    np.testing.assert_array_equal(result.nuclei, squares(3, 5))
    reach = SEGMENTER["expand"] * 2 * np.sqrt(100 / np.pi)
    column = result.cells[15]
    assert np.flatnonzero(column == 3).min() == 5 - int(reach)
    assert set(np.unique(result.cells)) == {0, 3, 5}
    assert result.note == "cells grown from the nuclei of a mask"
    assert result.pixel_size_um == pytest.approx(12 / (2 * np.sqrt(100 / np.pi)))


def test_cells_alone_take_the_nuclei_that_are_found_in_them() -> None:
    """The built-in segmentation's nuclei, labelled as the cells of the mask; without a channel there are none."""
    y, x = np.mgrid[:200, :200]
    field = sum(1000.0 * ((y - 100) ** 2 + (x - at) ** 2 < 400) for at in (50, 150))
    field = field + np.random.default_rng(0).normal(100, 5, field.shape)
    cells = np.zeros((200, 200), int)
    cells[50:150, 10:95] = 7
    result = from_masks(None, as_mask(cells), field, 0.3)
    inside = segment(field, 0.3).nuclei[100, 50]
    np.testing.assert_array_equal(result.nuclei == 7, segment(field, 0.3).nuclei == inside)
    assert result.note.endswith("nuclei from the built-in segmentation, 1 nuclei outside every cell left out")
    assert from_masks(None, as_mask(cells), None, 0.3).nuclei.max() == 0
    with pytest.raises(ImageError, match="no nucleus to estimate it from"):
        from_masks(None, as_mask(cells), None, None)


def test_an_empty_mask_is_no_cell_and_a_note() -> None:
    """Nothing was drawn: the image is done, and its note states why it has no cell."""
    empty = as_mask(np.zeros(SHAPE))
    for nuclei, cells in ((empty, None), (None, empty), (empty, empty)):
        result = from_masks(nuclei, cells, None, 0.2)
        assert result.cells.max() == 0
        assert "the mask has no object" in result.note


def test_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    """Lossy compression makes labels that nobody drew."""
    Image.fromarray(squares(40, 80).astype(np.uint8)).save(tmp_path / "m.jpg")
    with pytest.raises(ImageError, match=r"the mask m\.jpg is a JPEG"):
        read_label_image(tmp_path / "m.jpg", SHAPE)


def discs(*centres: tuple[int, int], r: int = 8, shape: tuple[int, int] = (80, 120)) -> np.ndarray:
    """True within `r` pixels of any centre."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([np.hypot(y - cy, x - cx) <= r for cy, cx in centres], axis=0)


FOUR = ((20, 20), (20, 60), (60, 30), (60, 90))


def graded_discs() -> np.ndarray:
    """Four discs that fade out, as a mask that was resized, or probabilities in 8 bits."""
    return np.rint(255 * ndimage.gaussian_filter(discs(*FOUR).astype(float), 2)).astype(np.uint8)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (80, 120)).astype(np.uint16)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (discs(*FOUR) * 1 + 2 * ~discs(*FOUR), "label 2 on 100% of the border"),  # ilastik, nuclei first
        (discs(*FOUR) * 2 + 1 * ~discs(*FOUR), "label 1 on 100% of the border"),  # background first
        (np.ones((80, 120), int) * 2, "no background"),  # ilastik, nothing found
        (discs(*FOUR) + 1 * discs(*FOUR, r=5), "a class map"),  # 2 inside, 1 boundary, 0 outside
        (discs(*FOUR) + 1 * discs(*FOUR, r=5) + 3 * discs((40, 60), r=4), "a class map"),
        (1 * discs((40, 60), r=20) + discs((40, 60), r=12), "enclosing others"),  # one nucleus: boundary and inside
        (1 * discs((40, 30), (40, 90)) + discs((40, 30), (40, 90), r=5), "enclosing others"),
        (np.clip(20 - np.hypot(*np.mgrid[-40:40, -60:60]), 0, None).astype(np.uint8), "enclosing others"),  # distances
        (graded_discs(), "a picture, a probability map or a resized mask"),
        (noise(), "a picture, a probability map or a resized mask"),
        (255 * ~discs(*FOUR), "inverted mask"),  # 0 is the object
        (discs(*FOUR) * 3 + 2 * ~discs(*FOUR, r=10), "label 2 on 100% of the border"),  # 0 is the ridge line
        (255 * (discs(*FOUR, r=9) & ~discs(*FOUR, r=7)), "shows outlines"),
        (ndimage.label(discs(*FOUR, r=9))[0] * ~discs(*FOUR, r=7), "shows outlines"),
        (discs(*FOUR) * 0.5, r"fractions such as 0\.5"),
        (np.where(discs(*FOUR), 1.0, np.nan), "NaN"),
        (np.where(discs(*FOUR), 1, -1), r"\(-1\).*; -1 outside\? save 0"),
    ],
)
def test_values_that_are_no_objects_are_refused_in_one_line(tmp_path: Path, values: np.ndarray, message: str) -> None:
    """A class map, a picture, an inverted mask, outlines: each would have been cells of a wrong shape."""
    path = tmp_path / "m.tif"
    fits = np.float32 if values.dtype.kind == "f" else np.int32
    tifffile.imwrite(path, values.astype(values.dtype if values.dtype.itemsize < 4 else fits))
    with pytest.raises(ImageError, match=f"the mask m.tif .*{message}") as caught:
        from_masks(read_label_image(path, values.shape), None, None, 0.5)
    assert "\n" not in str(caught.value)


def test_objects_of_two_pieces_are_kept_and_noted(tmp_path: Path) -> None:
    """Nuclei of a binucleate cell, and stray pixels, are no class map; pieces of some size are in the note."""
    labels = ndimage.label(discs(*FOUR))[0]
    labels[labels == 3] = 1  # two nuclei of one cell
    labels[2, 100] = 4  # a stray pixel
    tifffile.imwrite(tmp_path / "m.tif", labels.astype(np.uint16))
    result = read_label_image(tmp_path / "m.tif", labels.shape)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.note == "1 labels consist of several pieces each (1)"


def test_cells_without_gaps_are_labels(tmp_path: Path) -> None:
    """A tissue of touching cells has no background: each is one piece, and none covers most of the border."""
    labels = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((20, 20), int))
    tifffile.imwrite(tmp_path / "m.tif", labels.astype(np.uint16))
    result = read_label_image(tmp_path / "m.tif", labels.shape)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.note == "no pixel is outside (0)"


def test_a_cell_that_fills_its_crop_is_kept_and_noted(tmp_path: Path) -> None:
    """A solid label on most of the border may be a cell; the note states what it covers."""
    labels = np.zeros((60, 60), np.uint8)
    labels[:, 5:] = 7
    labels[25:35, 1:4] = 3
    Image.fromarray(labels).save(tmp_path / "m.png")
    assert read_label_image(tmp_path / "m.png", labels.shape).note == "label 7 covers 71% of the border"


def test_a_confluent_foreground_is_divided_among_its_nuclei(tmp_path: Path) -> None:
    """Cells that leave no background are right where a mask of nuclei divides them, and refused alone."""
    tifffile.imwrite(tmp_path / "c.tif", np.full((80, 120), 255, np.uint8))
    cells = read_label_image(tmp_path / "c.tif", (80, 120))
    result = from_masks(as_mask(ndimage.label(discs(*FOUR))[0]), cells, None, 0.5)
    assert set(np.unique(result.cells)) == {1, 2, 3, 4}
    with pytest.raises(ImageError, match="no background"):
        from_masks(None, cells, np.zeros((80, 120)), 0.5)


def test_a_grey_picture_in_colours_is_its_labels(tmp_path: Path) -> None:
    """Three equal channels are one; an anti-aliased colour picture of discs is refused."""
    grey = squares(3, 7).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_label_image(tmp_path / "grey.png", SHAPE).labels, squares(3, 7))
    blurred = graded_discs()
    Image.fromarray(np.stack([blurred, blurred // 2, blurred * 0], axis=-1)).save(tmp_path / "drawn.png")
    with pytest.raises(ImageError, match=r"is a picture of \d+ colours"):
        read_label_image(tmp_path / "drawn.png", blurred.shape)


@pytest.mark.parametrize("kind", ["miniswhite", "minisblack"])
def test_bits_are_read_by_photometric_interpretation(tmp_path: Path, kind: str) -> None:
    """The object is white; 8-bit labels under an inverting look-up table keep their values."""
    inside = squares(1, 1) > 0
    tifffile.imwrite(tmp_path / "bits.tif", ~inside if kind == "miniswhite" else inside, photometric=kind)
    result = read_label_image(tmp_path / "bits.tif", SHAPE)
    np.testing.assert_array_equal(result.labels, squares(1, 2))
    assert result.note == "a foreground mask without instances, split into 2 connected components"
    tifffile.imwrite(tmp_path / "fiji.tif", squares(3, 9).astype(np.uint8), photometric=kind)
    np.testing.assert_array_equal(read_label_image(tmp_path / "fiji.tif", SHAPE).labels, squares(3, 9))


def test_bits_that_tifffile_saves_are_the_objects(tmp_path: Path) -> None:
    """It writes True as 1 where 0 is white: what lies around the objects is no object, and the note says so."""
    tifffile.imwrite(tmp_path / "m.tif", squares(1, 1) > 0)
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
    result = read_label_image(tmp_path / "m.tif", SHAPE)
    np.testing.assert_array_equal(result.labels, squares(1, 2))
    assert result.note.endswith("black by the file's photometric interpretation, taken as the objects")


def test_planes_that_are_no_colour_are_no_mask(tmp_path: Path) -> None:
    """Two label images in one file are no grey and its alpha."""
    tifffile.imwrite(tmp_path / "m.tif", np.stack([squares(1), squares(2)]).astype(np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="has 2 planes, wanted one label image"):
        read_label_image(tmp_path / "m.tif", SHAPE)
