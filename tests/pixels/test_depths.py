"""Every real dtype is read as one of three, with the values that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embstore.errors import ImageError
from embstore.pixels.decode import read_planes
from embstore.pixels.depths import counts
from embstore.pixels.intensity import scale

INTEGERS = ("int8", "int16", "int32", "int64", "uint32", "uint64")
HERE = Path("a.tif")
RAMP = np.arange(120).reshape(1, 10, 12)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_up_to_65535_are_uint16(dtype: str) -> None:
    """Counts of any integer dtype are the counts of a camera."""
    result = counts(HERE, RAMP.astype(dtype))
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, RAMP)


@pytest.mark.parametrize(
    "pixels",
    [(RAMP - 60).astype(np.int16), (RAMP - 60).astype(np.int64), (RAMP * 1000).astype(np.uint32)],
    ids=["negative", "negative and long", "a sum"],
)
def test_other_whole_numbers_are_floats_of_the_same_value(pixels: np.ndarray) -> None:
    """A field less its background, and sums beyond 16 bits, lose nothing in float32."""
    result = counts(HERE, pixels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_floats_are_float32(dtype: str) -> None:
    """numpy's and MATLAB's default, and half precision, keep their values; NaN stays what it is."""
    pixels = (RAMP / 128 - 0.25).astype(dtype)
    pixels[0, 0, 0] = np.nan
    result = counts(HERE, pixels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, pixels)


def test_bits_are_black_and_white() -> None:
    """A binary image is 0 and 255, as such images are in 8 bits."""
    np.testing.assert_array_equal(counts(HERE, RAMP > 60), np.where(RAMP > 60, 255, 0).astype(np.uint8))
    assert counts(HERE, RAMP > 60).dtype == np.uint8


def test_numbers_beyond_float32_are_refused_as_nan_is() -> None:
    """A value of 1e39 is infinite in float32, which no scaling takes."""
    pixels = RAMP.astype(np.float64)
    pixels[0, 3, 3] = -1e39
    with pytest.raises(ImageError, match=r"1 pixels are not finite numbers .* beyond 3.4e38"):
        scale(counts(HERE, pixels))


@pytest.mark.parametrize(
    "pixels",
    [RAMP + 2_000_000_000, RAMP.astype(np.float64) * 1e-9 + 1, RAMP * 1e-60],
    ids=["long", "double", "tiny"],
)
def test_values_that_float32_cannot_tell_apart_are_refused(pixels: np.ndarray) -> None:
    """A field on a pedestal so high that its levels would run together is one line; a constant one is none."""
    with pytest.raises(ImageError, match=r"a\.tif has .* too close together for float32; wanted"):
        counts(HERE, pixels)
    assert np.ptp(counts(HERE, np.full_like(pixels, pixels.max()))) == 0


@given(hnp.arrays(st.sampled_from([np.dtype(name) for name in INTEGERS]), (1, 3, 4)))
def test_any_integers_keep_their_order_or_are_refused(pixels: np.ndarray) -> None:
    """The cast rounds by at most half a step in 2^24, and never mixes up what is darker and what is brighter."""
    try:
        result = counts(HERE, pixels)
    except ImageError:
        assert np.abs(pixels.astype(np.float64)).max() > 2**24
        return
    np.testing.assert_allclose(result.astype(np.float64), pixels.astype(np.float64), rtol=2**-24)
    assert (np.diff(result.ravel()[np.argsort(pixels, axis=None)].astype(np.float64)) >= 0).all()


@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        *((form, dtype) for form in ("tif", "ome.tif", "zarr") for dtype in ("bool", "int16", "uint32", "float64")),
        *(("tif", "float16"), ("zarr", "float16")),  # OME-TIFF has none
    ],
)
def test_files_of_any_dtype_are_read(tmp_path: Path, dtype: str, form: str) -> None:
    """TIFF, OME-TIFF and OME-Zarr give the same pixels, which `labels` leave as they are."""
    pixels = (np.stack([RAMP[0], RAMP[0][::-1]]) % 100).astype(dtype)  # (c, y, x)
    path = tmp_path / f"a.{form}"
    if form == "zarr":
        axes = [{"name": name} for name in "cyx"]
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
        group.create_array("0", data=pixels)
    else:
        tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "CYX"}, ome="ome" in form)
    result = read_planes(path).pixels
    wanted = counts(path, pixels)
    assert result.dtype == wanted.dtype
    np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(read_planes(path, labels=True).pixels, pixels)
