"""Normalisations and fields, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from embstore.backbones.normalise import BY_CROP, normalise
from embstore.backbones.record import NORMALISATIONS
from embstore.errors import ImageError
from embstore.pixels.field import native_field, square_field


@pytest.fixture
def planes() -> np.ndarray:
    """Three crops of two channels, (3, 2, 8, 8), the second channel far brighter than the first."""
    drawn = np.random.default_rng(1).uniform(size=(3, 2, 8, 8)).astype(np.float32)
    return drawn * np.float32([0.2, 0.9])[:, None, None]


def test_fixed_takes_the_mean_and_sd_of_each_channel(planes: np.ndarray) -> None:
    """ImageNet's way: the numbers come from the record, not from the crop."""
    result = normalise(planes, "fixed", (0.1, 0.4), (0.5, 0.25))
    np.testing.assert_allclose(result[:, 0], (planes[:, 0] - 0.1) / 0.5, rtol=1e-6)
    np.testing.assert_allclose(result[:, 1], (planes[:, 1] - 0.4) / 0.25, rtol=1e-6, atol=1e-7)


def test_zscore_gives_each_channel_of_each_crop_mean_0_and_sd_1(planes: np.ndarray) -> None:
    """DINO4Cells' way: (x - mean) / (sd + 1e-7)."""
    result = normalise(planes, "zscore")
    np.testing.assert_allclose(result.mean(axis=(2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=(2, 3)), 1, atol=1e-5)


def test_minmax_stretches_each_channel_and_joint_keeps_their_ratio(planes: np.ndarray) -> None:
    """SubCell exists both ways: joint leaves the dim channel dim."""
    alone, joint = normalise(planes, "minmax"), normalise(planes, "minmax-joint")
    np.testing.assert_allclose(alone.max(axis=(2, 3)), 1, atol=1e-4)
    np.testing.assert_allclose(alone.min(axis=(2, 3)), 0)
    np.testing.assert_allclose(joint.max(axis=(1, 2, 3)), 1, atol=1e-4)
    for crop, result in zip(planes, joint, strict=True):
        np.testing.assert_allclose(result, (crop - crop.min()) / (crop.max() - crop.min() + 1e-6), atol=1e-6)
    assert joint[:, 0].max() < 0.3


def test_bright_log_bends_what_is_above_two_sd() -> None:
    """Below the knee it is a z-score; above, 2 + 2 log(z / 2), without a step."""
    plane = np.zeros((1, 1, 10, 10), np.float32)
    plane[0, 0, 0, :2] = 0.25, 1.0
    z = (plane - plane.mean()) / (plane.std() + 1e-3)
    result = normalise(plane, "bright-log")[0, 0, 0]
    assert z[0, 0, 0, 0] > 2
    assert result[0] == pytest.approx(2 + 2 * np.log(z[0, 0, 0, 0] / 2), rel=1e-5)
    assert result[1] == pytest.approx(2 + 2 * np.log(z[0, 0, 0, 1] / 2), rel=1e-5)
    assert result[2] == pytest.approx(z[0, 0, 0, 2], rel=1e-5)


@pytest.mark.parametrize("how", BY_CROP)
def test_a_crop_does_not_depend_on_its_neighbours_nor_a_constant_one_on_division_by_zero(
    how: str, planes: np.ndarray
) -> None:
    """Alone or among others, the numbers are the same to the last bit; a constant crop is zeros."""
    np.testing.assert_array_equal(normalise(planes, how)[1:2], normalise(planes[1:2].copy(), how))
    constant = np.full((1, 1, 8, 8), 0.3, np.float32)
    np.testing.assert_allclose(normalise(constant, how), 0, atol=1e-3)


def test_every_way_that_a_record_may_name_is_there(planes: np.ndarray) -> None:
    """Of these, `none` leaves the pixels as they are."""
    assert {"fixed", "none", *BY_CROP} == set(NORMALISATIONS)
    np.testing.assert_array_equal(normalise(planes, "none"), planes)


def test_a_square_field_is_reduced_without_aliasing_and_without_a_dark_edge() -> None:
    """A reduction by 4 gives the mean of a stripe pattern and keeps a constant field constant up to its border."""
    stripes = np.tile(np.float32([0, 1]), (1, 32, 16))
    np.testing.assert_allclose(square_field(stripes, 8)[0, :, 1:-1], 0.5, atol=0.07)
    np.testing.assert_allclose(square_field(np.ones((2, 32, 32), np.float32), 8), 1, atol=1e-6)


def test_a_wide_field_lies_in_the_middle_of_a_square() -> None:
    """Shapes are not stretched: beside it are zeros."""
    field = square_field(np.ones((1, 16, 32), np.float32), 32)
    assert field.shape == (1, 32, 32)
    np.testing.assert_array_equal(field[0].sum(axis=1), [0] * 8 + [32] * 16 + [0] * 8)


def test_a_native_field_is_cut_to_whole_patches_around_its_middle() -> None:
    """21 x 35 pixels at patches of 8 are the middle 16 x 32; a field below one patch is refused."""
    field = np.arange(21 * 35, dtype=np.float32).reshape(1, 21, 35)
    np.testing.assert_array_equal(native_field(field, 8), field[:, 2:18, 1:33])
    with pytest.raises(ImageError, match="the field is 35 x 21 px and the network needs at least 32 x 32"):
        native_field(field, 32)
