"""Every dtype of Zarr gives the values that are stored, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embstore.errors import ImageError
from embstore.pixels.decode import read_planes
from embstore.pixels.limits import READABLE

zarr = pytest.importorskip("zarr", reason="the extra `zarr` is not installed")

VALUES = np.array([[[0, 1, 2], [3, 100, 127]]])  # (c, y, x), in the range of every dtype


def write(path: Path, pixels: np.ndarray, *, version: int = 2) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=version)
    axes = [{"name": axis} for axis in "cyx"]
    metadata = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    group.attrs.update(metadata if version == 2 else {"ome": metadata})
    group.create_array("0", data=pixels)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", READABLE)
def test_a_readable_dtype_keeps_its_values(tmp_path: Path, dtype: str, version: int) -> None:
    """As label images in the file's dtype, as images in one of three; bits become 0 and 255, as in an 8-bit picture."""
    stored = VALUES.astype(dtype)
    path = write(tmp_path / "x.zarr", stored, version=version)
    labels = read_planes(path, labels=True).pixels
    np.testing.assert_array_equal(labels, stored)
    assert labels.dtype == stored.dtype
    shown = read_planes(path).pixels
    np.testing.assert_array_equal(shown, stored * np.uint8(255) if dtype == "bool" else stored)
    assert shown.dtype.name in ("uint8", "uint16", "float32")


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float16", "float32", "float64"])
def test_negative_values_and_halves_stay(tmp_path: Path, dtype: str) -> None:
    """Signed and floating values become float32, unscaled."""
    stored = (VALUES - 64).astype(dtype) / (1 if dtype.startswith("int") else 2)
    np.testing.assert_array_equal(
        read_planes(write(tmp_path / "x.zarr", stored.astype(dtype))).pixels, stored.astype(dtype)
    )


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4", ">f8"])
def test_big_endian_values_stay(tmp_path: Path, dtype: str) -> None:
    """The byte order of a file is its own business."""
    pixels = read_planes(write(tmp_path / "x.zarr", (VALUES * 200).astype(dtype))).pixels
    np.testing.assert_array_equal(pixels, VALUES * 200)
    assert pixels.dtype.isnative


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "S3", "U3", "M8[s]", "m8[s]", [("a", "u1"), ("b", "u2")]])
def test_other_dtypes_are_one_line(tmp_path: Path, dtype: object) -> None:
    """Complex numbers, text, times and records are no pixels."""
    stored = np.zeros(VALUES.shape, dtype)
    if np.dtype(dtype).kind in "SU":
        stored[...] = "a"
    with pytest.raises(ImageError) as caught:
        read_planes(write(tmp_path / "x.zarr", stored))
    assert "\n" not in str(caught.value)


REFUSED = {
    "complex64", "complex128", "fixed_length_utf32", "null_terminated_bytes", "numpy.datetime64", "numpy.timedelta64",
    "raw_bytes", "string", "struct", "structured", "variable_length_bytes",
}  # fmt: skip


def test_every_dtype_of_zarr_is_read_or_refused() -> None:
    """A dtype that zarr gains has to be added to READABLE, or to those that are refused."""
    dtypes = pytest.importorskip("zarr.dtype", reason="zarr is older than 3.1")
    assert set(dtypes.data_type_registry.contents) - set(READABLE) <= REFUSED
