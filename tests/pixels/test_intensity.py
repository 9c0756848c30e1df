"""Intensity scaling against numpy's own percentiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embstore.errors import EmbstoreError, ImageError
from embstore.pixels.decode import read_planes
from embstore.pixels.intensity import (
    HIGH_PERCENTILE,
    INTENSITIES,
    INTENSITY_SPEC,
    LOW_PERCENTILE,
    intensity_name,
    intensity_spec,
    scale,
)


def twin(channel: np.ndarray) -> np.ndarray:
    """The slow and obvious scaling of one channel."""
    values = channel.astype(np.float64)
    low, high = np.percentile(values, [LOW_PERCENTILE, HIGH_PERCENTILE])
    if high <= low:
        low, high = values.min(), values.max()
    return np.zeros(channel.shape) if high <= low else np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_dtype_is_scaled_as_numpys_percentiles_say(dtype: str) -> None:
    """The histogram's percentiles equal numpy's, channel by channel."""
    rng = np.random.default_rng(1)
    pixels = np.stack([rng.gamma(2, 20 * (c + 1), (50, 70)) for c in range(3)]).clip(0, 255).astype(dtype)
    scaled = scale(pixels)
    assert scaled.dtype == np.float32
    for channel, expected in zip(scaled, pixels, strict=True):
        np.testing.assert_allclose(channel, twin(expected), atol=1e-6)


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_counts_are_scaled_as_numpy_says(channel: np.ndarray) -> None:
    """No histogram, however odd, parts the fast way from the slow one, or leaves [0, 1]."""
    scaled = scale(channel[None])[0]
    np.testing.assert_allclose(scaled, twin(channel), atol=1e-6)
    assert scaled.min() >= 0
    assert scaled.max() <= 1


@given(
    hnp.arrays(np.uint16, (1, 12, 12), elements=st.integers(0, 1000)),
    st.integers(1, 20),
    st.integers(0, 5000),
)
def test_gain_and_offset_of_the_camera_do_not_matter(pixels: np.ndarray, gain: int, offset: int) -> None:
    """The same field taken brighter and on a pedestal scales to the same picture."""
    np.testing.assert_allclose(scale((pixels * gain + offset).astype(np.uint16)), scale(pixels), atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_constant_channel_becomes_zeros(dtype: str) -> None:
    """A channel without any signal stays dark whatever its level."""
    assert not scale(np.full((2, 8, 8), 200, dtype)).any()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_few_spots_on_black_are_kept(dtype: str) -> None:
    """A protein in fewer than 0.1 % of the pixels is not scaled away."""
    pixels = np.zeros((1, 100, 100), dtype)
    pixels[0, 40:42, 50:52] = 900
    scaled = scale(pixels)
    assert scaled.max() == 1
    assert np.count_nonzero(scaled) == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    """NaN and infinity are an ImageError, not a black or white picture."""
    pixels = np.ones((1, 8, 8), np.float32)
    pixels[0, 3, 3] = bad
    with pytest.raises(ImageError, match="1 pixels are not finite"):
        scale(pixels)


def test_huge_floats_do_not_overflow() -> None:
    """Values near the end of float32 still scale into [0, 1]."""
    pixels = np.linspace(-3e38, 3e38, 64, dtype=np.float32).reshape(1, 8, 8)
    scaled = scale(pixels)
    assert np.isfinite(scaled).all()
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_the_name_of_the_spec_holds_its_constants() -> None:
    """A space's digest depends on the name, so the percentiles are part of it."""
    assert f"{LOW_PERCENTILE}-{HIGH_PERCENTILE}" in INTENSITY_SPEC


def test_a_real_field_uses_the_whole_range(samples: Path) -> None:
    """Both channels of an OpenCell field reach 0 and 1, with about 0.1 % cut off at the top."""
    for channel in scale(read_planes(samples / "opencell/two_channel/MAP4_thumb.tif").pixels):
        assert (channel.min(), channel.max()) == (0, 1)
        assert 0 < (channel == 1).mean() < 0.05


TWINS = {
    "minmax": lambda p: np.stack([(c - c.min()) / (c.max() - c.min()) for c in p]),
    "minmax-joint": lambda p: (p - p.min()) / (p.max() - p.min()),
    "zscore": lambda p: np.stack([np.clip(((c - c.mean()) / c.std() + 3) / 6, 0, 1) for c in p]),
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_each_named_scaling_is_its_documented_formula(name: str, dtype: str) -> None:
    """Whatever the dtype, pixels become what the table of the module states, in [0, 1]."""
    rng = np.random.default_rng(4)
    pixels = np.stack([rng.gamma(2, 10 * (c + 1), (40, 50)) for c in range(3)]).clip(0, 255).astype(dtype)
    scaled = scale(pixels, intensity_spec(name))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, TWINS[name](pixels.astype(np.float64)), atol=1e-6)
    assert not scale(np.full_like(pixels, 7), intensity_spec(name)).any()
    with pytest.raises(ImageError, match="1 pixels are not finite"):
        scale(np.array([[[1, np.nan]]], np.float32), intensity_spec(name))


def test_specs_are_named_and_unknown_names_are_listed() -> None:
    """The default's spec is what spaces have recorded from the first version on; no two specs are equal."""
    assert intensity_spec("percentile") == INTENSITY_SPEC == "percentile-0.1-99.9/image-channel/sparse-max/float32/1"
    assert len(set(INTENSITIES.values())) == len(INTENSITIES)
    assert [intensity_name(spec) for spec in INTENSITIES.values()] == list(INTENSITIES)
    assert intensity_name("as brought") == "as brought"
    with pytest.raises(
        EmbstoreError, match="no intensity scaling 'log'; choose from: minmax, minmax-joint, percentile"
    ):
        intensity_spec("log")
