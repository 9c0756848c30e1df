"""Crops that are saved as arrays of NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embstore.errors import ImageError
from embstore.ingest import ingest
from embstore.pixels.decode import read_header, read_planes

PLANES = np.random.default_rng(0).integers(0, 4000, (2, 30, 40)).astype(np.uint16)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float16", "float32", "float64", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_channels_first_and_last_give_the_same_planes(tmp_path: Path, dtype: str, order: str) -> None:
    """Arrays (c, y, x) and (y, x, c) of any dtype, byte order and memory order."""
    values = (PLANES % 120).astype(dtype)
    path = tmp_path / "a.npy"
    for array in (values, values.transpose(1, 2, 0)):
        np.save(path, np.asarray(array, order=order))
        result = read_planes(path, 2).pixels
        np.testing.assert_array_equal(result, values.astype(float) * (255 if dtype == "bool" else 1))
        assert result.dtype.name in ("uint8", "uint16", "float32")
        assert read_header(path, 2).shape == values.shape


def test_one_channel_is_an_array_of_two_or_three_axes(tmp_path: Path) -> None:
    """(y, x), (1, y, x) and (y, x, 1) are one channel."""
    for array in (PLANES[0], PLANES[:1], PLANES[0][..., None]):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_planes(tmp_path / "a.npy", 1).pixels, PLANES[:1])


@pytest.mark.parametrize("shape", [(3, 30, 3), (30, 40, 50), (2, 3, 30, 40), (30,), (0, 30, 40), ()])
def test_axes_that_the_shape_does_not_tell_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Three channels both first and last, in no place, further axes, and nothing at all."""
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    for read in (read_planes, read_header):
        with pytest.raises(ImageError, match="wanted"):
            read(tmp_path / "a.npy", 3)


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n" + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 90000, 90000)}"), "claims 32.4 GB of pixels"),
        (npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 30, 40)}", bytes(100)), "is truncated: 100 bytes"),
        (npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3, 4)}", bytes(96)), "continues after its array"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3, 4)}", bytes(192)), "pickle .* never loaded"),
        (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3, 4)}", bytes(192)), "has complex64 pixels"),
        (npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, -3, -4)}", bytes(48)), "has no pixels|wanted"),
        (npy("{'descr': '<u2', 'shape': (2, 3, 4)}", bytes(48)), "is damaged"),
        (npy("[" * 900), "is damaged"),
        (b"\x93NUMPY\x07\x00", "is damaged"),
    ],
)
def test_headers_that_lie_are_refused_before_allocation(tmp_path: Path, content: bytes, message: str) -> None:
    """A claim is compared with the file; pickles are named and never loaded."""
    (tmp_path / "a.npy").write_bytes(content)
    for read in (read_planes, read_header):
        with pytest.raises(ImageError, match=message) as caught:
            read(tmp_path / "a.npy", 2)
        assert "\n" not in str(caught.value)


def test_crops_of_arrays_go_in(tmp_path: Path) -> None:
    """A folder of arrays of several channels, and one of a file for each channel, are crops like any other."""
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "whole" / "a.npy", PLANES)
    np.save(tmp_path / "whole" / "b.npy", PLANES.transpose(1, 2, 0))
    for plane, name in zip(PLANES, ("nucleus", "protein"), strict=True):
        np.save(tmp_path / "parts" / f"a_{name}.npy", plane)
    for folder, channels, images in (("whole", "nucleus,protein", 2), ("parts", "", 1)):
        report = ingest(
            str(tmp_path / "store"),
            tmp_path / folder,
            layout="crops",
            channels=channels,
            dataset=folder,
            backbones=["pixel-stats"],
        )
        assert (report.images_in, report.cells_in, report.failures) == (images, images, [])
