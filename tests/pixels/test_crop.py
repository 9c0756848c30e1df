"""Geometry by hand, crops against closed forms and brute force, masks there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from embstore.errors import ImageError
from embstore.pixels.crop import crop, crop_mask, geometries, pack_mask, unpack_mask
from embstore.pixels.segmentation import Segmentation

Y, X = np.mgrid[:80, :100].astype(np.float32)


def segmentation(cells: np.ndarray) -> Segmentation:
    nuclei = np.where(ndimage.binary_erosion(cells > 0), cells, 0)
    return Segmentation(nuclei.astype(np.int32), cells.astype(np.int32), None, "")


def test_a_rectangle_has_the_geometry_that_a_ruler_gives() -> None:
    """Rows 10-19 and columns 30-49: box half open, centroid in the middle, 200 pixels, nucleus one pixel smaller."""
    cells = np.zeros((80, 100), np.int32)
    cells[10:20, 30:50] = 1
    (cell,) = geometries(segmentation(cells))
    assert cell.box == (10, 30, 20, 50)
    assert cell.centroid == (14.5, 39.5)
    assert (cell.cell_area_px, cell.nucleus_area_px) == (200, 8 * 18)
    assert not cell.touches_edge


@pytest.mark.parametrize("box", [(0, 5, 9, 12), (5, 0, 9, 12), (70, 5, 80, 12), (5, 90, 9, 100)])
def test_a_cell_at_any_border_touches_the_edge(box: tuple[int, int, int, int]) -> None:
    """Top, left, bottom and right are all noticed."""
    cells = np.zeros((80, 100), np.int32)
    cells[box[0] : box[2], box[1] : box[3]] = 1
    (cell,) = geometries(segmentation(cells))
    assert cell.box == box
    assert cell.touches_edge


def test_a_disc_has_its_centre_and_area() -> None:
    """A disc of radius 12.3 at (40.5, 30.25) gives its centre to a tenth of a pixel and πr² to 2 %."""
    cells = ((Y - 40.5) ** 2 + (X - 30.25) ** 2 <= 12.3**2).astype(np.int32)
    (cell,) = geometries(segmentation(cells))
    assert cell.centroid == pytest.approx((40.5, 30.25), abs=0.1)
    assert cell.cell_area_px == pytest.approx(np.pi * 12.3**2, rel=0.02)


@given(hnp.arrays(np.int32, (12, 15), elements=st.integers(0, 4)))
def test_geometries_equal_brute_force(cells: np.ndarray) -> None:
    """Any labels, missing and scattered ones included, come in order of label with the counts of a slow loop."""
    result = geometries(Segmentation(cells, cells, None, ""))
    assert [cell.label for cell in result] == [int(v) for v in np.unique(cells) if v]
    for cell in result:
        ys, xs = np.nonzero(cells == cell.label)
        assert cell.box == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
        assert cell.centroid == pytest.approx((ys.mean(), xs.mean()))
        assert cell.cell_area_px == cell.nucleus_area_px == len(ys)


def test_no_cells_give_no_geometry() -> None:
    """An empty field is an empty list."""
    empty = np.zeros((8, 8), np.int32)
    assert geometries(Segmentation(empty, empty, None, "")) == []


@pytest.mark.parametrize("output_px", [8, 16, 31, 60])
@pytest.mark.parametrize("side_px", [16.0, 20.7])
@pytest.mark.parametrize("centroid", [(40.0, 50.0), (33.3, 61.9)])
def test_the_crop_of_a_ramp_is_the_ramp(output_px: int, side_px: float, centroid: tuple[float, float]) -> None:
    """On a plane tilted in y and x every output pixel has the value at its own place, enlarged or reduced."""
    planes = np.stack([Y, X, 2 * Y - 0.5 * X])
    out = crop(planes, centroid, side_px, output_px)
    at = (np.arange(output_px) + 0.5) * side_px / output_px - side_px / 2
    y, x = np.meshgrid(centroid[0] + at, centroid[1] + at, indexing="ij")
    # a reduction by a fraction samples its filter unevenly: a tenth of a pixel at most
    atol = 0.1 if side_px > output_px and side_px % output_px else 2e-3
    np.testing.assert_allclose(out, np.stack([y, x, 2 * y - 0.5 * x]), atol=2.06 * atol)
    assert out.dtype == np.float32


def test_a_reduction_is_a_triangle_weighted_mean() -> None:
    """Reducing fourfold equals the closed form of a triangle filter eight pixels wide, so nothing aliases."""
    plane = np.random.default_rng(0).random((80, 100)).astype(np.float32)
    out = crop(plane[None], (39.5, 49.5), 32.0, 8)[0]
    weights = np.clip(1 - np.abs(np.arange(-3.5, 4)) / 4, 0, None)
    smooth = ndimage.correlate1d(plane.astype(float), weights / weights.sum(), axis=0, origin=0)
    smooth = ndimage.correlate1d(smooth, weights / weights.sum(), axis=1, origin=0)
    rows = [24 + 4 * i + 2 for i in range(8)]
    columns = [34 + 4 * i + 2 for i in range(8)]
    expected = smooth[np.ix_(rows, columns)]
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_square_at_full_resolution_is_a_slice() -> None:
    """Side 20 to 20 pixels on whole pixels copies them."""
    plane = np.random.default_rng(1).random((1, 80, 100)).astype(np.float32)
    np.testing.assert_allclose(crop(plane, (29.5, 39.5), 20, 20), plane[:, 20:40, 30:50], atol=1e-6)


@pytest.mark.parametrize("centroid", [(-200.0, 50.0), (50.0, 5000.0)])
def test_a_square_outside_the_image_is_zero(centroid: tuple[float, float]) -> None:
    """Nothing is repeated or mirrored where there is no image."""
    assert not crop(np.ones((2, 80, 100), np.float32), centroid, 30.0, 16).any()
    assert not crop_mask(np.ones((80, 100), bool), centroid, 30.0, 16).any()


def test_the_part_outside_the_image_is_zero() -> None:
    """Around the corner pixel (0, 0) a square of 20 has its three outer quarters at zero."""
    out = crop(np.ones((1, 80, 100), np.float32), (-0.5, -0.5), 20.0, 20)[0]
    inside = np.zeros((20, 20), bool)
    inside[10:, 10:] = True
    np.testing.assert_allclose(out, inside, atol=1e-6)
    np.testing.assert_array_equal(crop_mask(np.ones((80, 100), bool), (-0.5, -0.5), 20.0, 20), inside)


@pytest.mark.parametrize("side_px", [0.0, -3.0, 1e9, float("nan")])
def test_an_absurd_side_is_refused(side_px: float) -> None:
    """A wrong pixel size ends in one line and not in all of the memory."""
    with pytest.raises(ImageError, match="pixel size"):
        crop(np.ones((1, 8, 8), np.float32), (4, 4), side_px, 16)
    with pytest.raises(ImageError, match="pixel size"):
        crop_mask(np.ones((8, 8), bool), (4, 4), side_px, 16)


@given(st.floats(-5, 85), st.floats(-5, 105), st.floats(3, 60), st.integers(4, 40))
def test_the_mask_follows_the_pixels(y: float, x: float, side_px: float, output_px: int) -> None:
    """The mask of a half plane and the crop of the same half plane agree wherever the crop is sure."""
    half = X >= 50
    pixels = crop(half[None].astype(np.float32), (y, x), side_px, output_px)[0]
    mask = crop_mask(half, (y, x), side_px, output_px)
    sure = (pixels < 0.05) | (pixels > 0.95)
    np.testing.assert_array_equal(mask[sure], pixels[sure] > 0.5)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)))
def test_masks_come_back_from_their_bits(mask: np.ndarray) -> None:
    """Packing to bits and back changes nothing, and takes an eighth of the bytes."""
    data = pack_mask(mask)
    assert len(data) == -(-mask.size // 8)
    np.testing.assert_array_equal(unpack_mask(data, mask.shape), mask)
