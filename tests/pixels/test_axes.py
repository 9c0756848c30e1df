"""Which axis contains the channels, if several are expected: determined by name, never by what would fit best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from embstore.errors import ImageError
from embstore.pixels.decode import read_header, read_planes
from embstore.pixels.stack import arranged, arrangement
from embstore.sources.layouts import read_channels
from embstore.sources.record import SourceImage

HERE = Path("x.tif")
ROLES = ("nucleus", "protein", "er")


@pytest.mark.parametrize(
    ("axes", "shape", "channels", "wanted"),
    [
        ("CYX", (3, 8, 9), 3, ("C", 1, (3, 8, 9))),
        ("YXS", (8, 9, 3), 3, ("S", 1, (3, 8, 9))),
        ("QYX", (3, 8, 9), 3, ("Q", 1, (3, 8, 9))),
        ("ZYX", (3, 8, 9), 3, ("Z", 1, (3, 8, 9))),
        ("TCZYX", (1, 1, 3, 8, 9), 3, ("Z", 1, (3, 8, 9))),
        ("ZYX", (5, 8, 9), 1, ("", 5, (1, 8, 9))),
        ("CZYX", (3, 5, 8, 9), 3, ("C", 5, (3, 8, 9))),
        ("ZCYX", (3, 5, 8, 9), 5, ("C", 3, (5, 8, 9))),  # z is as long as three roles would be, and C is named
        ("ZCYX", (3, 3, 8, 9), 3, ("C", 3, (3, 8, 9))),
        ("QQYX", (5, 3, 8, 9), 3, ("Q", 5, (3, 8, 9))),
        ("YX", (8, 9), 3, ("", 1, (1, 8, 9))),
        ("CYX", (2, 8, 9), 3, ("C", 1, (2, 8, 9))),  # the layout decides what fewer planes are
    ],
)
def test_axes_become_channels_by_their_names(
    axes: str, shape: tuple[int, ...], channels: int, wanted: tuple[str, int, tuple[int, ...]]
) -> None:
    """The axis of the channels, and of how many planes each channel is the maximum."""
    how = arrangement(HERE, shape, axes, channels)
    assert (how.taken, how.depth, how.shape) == wanted
    assert arranged(np.zeros(shape, np.uint8), how).shape == wanted[2]


@pytest.mark.parametrize(
    ("axes", "shape", "channels"),
    [
        ("ZYX", (2, 8, 9), 3),
        ("ZYX", (6, 8, 9), 2),
        ("TYX", (2, 8, 9), 2),
        ("TZYX", (2, 2, 8, 9), 2),
        ("QQYX", (2, 2, 8, 9), 2),
        ("QQYX", (5, 4, 8, 9), 2),
        ("CQYX", (4, 2, 8, 9), 2),
        ("CYXS", (2, 8, 9, 3), 2),
    ],
)
def test_axes_that_do_not_say_it_are_refused(axes: str, shape: tuple[int, ...], channels: int) -> None:
    """Other numbers of planes along z, time, and axes of which any could be the channels."""
    with pytest.raises(ImageError, match="wanted"):
        arrangement(HERE, shape, axes, channels)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "CYX"}},
        {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"},
        {"metadata": None, "photometric": "minisblack"},
        {"photometric": "minisblack", "planarconfig": "separate"},
    ],
    ids=["imagej", "ome", "pages", "samples"],
)
def test_three_planes_are_colours_only_where_the_file_says_so(tmp_path: Path, options: dict[str, object]) -> None:
    """For one role, three planes that are no RGB are refused; for three roles they are its channels."""
    planes = np.random.default_rng(0).integers(0, 4000, (3, 20, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, **options)
    assert read_header(tmp_path / "a.tif", 1).colour == ""
    with pytest.raises(ImageError, match=r"a\.tif has 3 channels .*; wanted one, grey or pseudo-coloured \(RGB\)"):
        read_channels(tmp_path, SourceImage("a", ("a.tif",), ("nucleus",)))
    np.testing.assert_array_equal(read_channels(tmp_path, SourceImage("a", ("a.tif",), ROLES))[0].pixels, planes)


def test_samples_that_are_no_colours_are_channels(tmp_path: Path) -> None:
    """Two interleaved grey samples are two channels, and a grey picture with alpha is one."""
    values = np.random.default_rng(0).integers(0, 200, (20, 30, 2)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    result = read_planes(path, 2)
    assert (result.axis, result.colour) == ("C", "")
    np.testing.assert_array_equal(result.pixels, np.moveaxis(values, -1, 0))
    values[..., 1] = 255
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_planes(path).pixels, values[None, ..., 0])


def test_fewer_planes_than_named_roles_are_refused(tmp_path: Path) -> None:
    """A grey picture under three roles, also one that was saved as RGB, is not the first of them."""
    grey = np.random.default_rng(0).integers(0, 200, (20, 30)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    tifffile.imwrite(tmp_path / "rgb.tif", np.stack([grey] * 3, -1), photometric="rgb")
    for name in ("grey.tif", "rgb.tif"):
        with pytest.raises(ImageError, match=rf"{name} has 1 channel.*, wanted 3 \(nucleus, protein, er\)"):
            read_channels(tmp_path, SourceImage("a", (name,), ROLES))
