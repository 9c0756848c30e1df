"""Inputs that people really have, whose planes and values were misread: `../shared/cases`, by their right values."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from case_files import CASES, needs_cases

from embstore.ingest import Report, ingest
from embstore.pixels.decode import read_planes
from embstore.sources.layouts import read_channels, read_source
from embstore.store import Store, rows

pytestmark = needs_cases

AXES = CASES / "24-imagej-axes-confusion"
ALONG_Z = "; planes along z are taken as channels, because there are as many as roles and no channel axis"


def take(store: Path, source: Path, layout: str, **choices: object) -> Report:
    return ingest(str(store), source, layout=layout, dataset="c", backbones=["pixel-stats"], **choices)


def channels(source: Path, layout: str, given: str = "") -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the pixels and roles of the one image of a source."""
    read = read_source(source, layout, None, channels=given)
    (image,) = read.images
    planes, roles = read_channels(read.root, image)
    return planes.pixels, roles


@pytest.mark.parametrize(
    ("file", "layout", "given"),
    [
        ("slices.tif", "opencell", ""),
        ("slices.tif", "ome", "nucleus,protein"),
        ("slices.tif", "crops", "nucleus,protein"),
        ("manifest.csv", "manifest", ""),
        ("f_zyx.zarr", "ome", ""),
        ("channels.tif", "opencell", ""),
    ],
)
def test_two_planes_called_z_under_two_roles_are_channels(tmp_path: Path, file: str, layout: str, given: str) -> None:
    """Case 24: in all layouts the two planes are what they were written as, and report and dry run say so."""
    pixels, roles = channels(AXES / file, layout, given)
    np.testing.assert_array_equal(pixels, tifffile.imread(AXES / "channels.tif"))
    assert roles == ("nucleus", "protein")
    for dry_run in (True, False):
        choices = {"channels": given, "pixel_size_um": 0.4, "dry_run": dry_run}
        report = take(tmp_path / "store", AXES / file, layout, **choices)
        assert (report.images_in, report.failures) == (1, [])
        ((line, n),) = report.assignments.items()
        assert n == 1
        assert line.endswith(ALONG_Z) == (file != "channels.tif")
        assert "→ nucleus (" in line
        assert "→ protein (" in line
    note = rows(Store.open(tmp_path / "store"), "SELECT note FROM images")[0]["note"]
    assert ("planes along z taken as channels" in note) == (file != "channels.tif")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("z3.tif", "z3.tif has 6 planes along z and no channel axis, wanted 2 channels"),
        ("frames.tif", "frames.tif is a time series (2, 96, 96) with axes TYX, wanted (channel, y, x)"),
    ],
)
def test_planes_that_are_no_channels_are_refused(tmp_path: Path, file: str, message: str) -> None:
    """Case 24: other numbers of planes, and time, are a failure, which the dry run foretells in the same words."""
    for dry_run in (True, False):
        report = take(tmp_path / "store", AXES / file, "opencell", pixel_size_um=0.4, dry_run=dry_run)
        assert report.images_in == 0
        assert [failure.error for failure in report.failures] == [message]


def test_sixteen_bit_colours_keep_all_their_bits() -> None:
    """Case 01: 587 levels are not 3, in a crop of three roles and in pseudo-coloured files."""
    folder = CASES / "01-png-rgb-16bit"
    truth = imagecodecs.png_decode((folder / "cell_a.png").read_bytes())
    pixels, roles = channels(folder / "cell_a.png", "crops", "microtubules,protein,nucleus")
    assert roles == ("microtubules", "protein", "nucleus")
    np.testing.assert_array_equal(pixels, np.moveaxis(truth, -1, 0))
    assert (pixels.dtype, pixels.max()) == (np.uint16, 597)
    pixels, roles = channels(folder / "hpa", "hpa")
    assert roles == ("nucleus", "protein")
    for plane, colour in zip(pixels, ("blue", "green"), strict=True):
        truth = imagecodecs.png_decode((folder / "hpa" / f"921_B9_1_{colour}.png").read_bytes())
        np.testing.assert_array_equal(plane, truth.max(axis=2))


def test_an_inverted_picture_is_turned_and_its_nuclei_are_found(tmp_path: Path) -> None:
    """Case 02: zero is white in the file, so that its background of 247 is nearly black."""
    path = CASES / "02-tiff-whiteiszero" / "f1.tif"
    pixels = read_planes(path, 2).pixels
    np.testing.assert_array_equal(pixels, 255 - tifffile.imread(path))
    assert take(tmp_path / "store", path, "opencell", pixel_size_um=0.4).cells_in == 4


def test_the_white_of_an_inverted_mask_of_bits_is_the_nucleus(tmp_path: Path) -> None:
    """Case 02: one nucleus of 69.9 µm², and not its background of 1405."""
    folder = CASES / "02-tiff-whiteiszero"
    take(tmp_path / "store", folder / "g1.tif", "opencell", pixel_size_um=0.4, masks=folder / "bilevel")
    (cell,) = rows(Store.open(tmp_path / "store"), "SELECT nucleus_area_um2 AS um2 FROM cells_raw")
    assert cell["um2"] == pytest.approx(69.9, abs=0.05)


def test_an_opaque_alpha_is_no_fourth_channel(tmp_path: Path) -> None:
    """Case 34: an RGBA picture of three roles is its three colours."""
    path = CASES / "34-png-alpha" / "cell_a.png"
    truth = imagecodecs.png_decode(path.read_bytes())
    pixels, _ = channels(path, "crops", "microtubules,protein,nucleus")
    np.testing.assert_array_equal(pixels, np.moveaxis(truth[..., :3], -1, 0))
    report = take(tmp_path / "store", path, "crops", channels="microtubules,protein,nucleus")
    assert list(report.assignments) == [
        "colour 0 → microtubules (position), colour 1 → protein (position), colour 2 → nucleus (position)"
    ]


def test_an_alpha_that_is_not_opaque_is_named(tmp_path: Path) -> None:
    """Of four planes for three roles, the message names the alpha."""
    values = np.random.default_rng(0).integers(0, 200, (30, 40, 4)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    report = take(tmp_path / "store", tmp_path, "crops", channels="microtubules,protein,nucleus", dry_run=True)
    assert "has 4 channels, of which the 4th is alpha and not opaque; wanted at most 3" in report.failures[0].error


def test_packed_bits_are_unpacked() -> None:
    """Case 46 (guard): 12 bits a pixel are whole numbers up to 4095, as written."""
    folder = CASES / "46-tiff-12bit-packed"
    pixels, roles = channels(folder, "fields", "_dapi=nucleus,_gfp=protein")
    assert roles == ("nucleus", "protein")
    for plane, name in zip(pixels, ("dapi", "gfp"), strict=True):
        with tifffile.TiffFile(folder / f"f1_{name}.tif") as opened:
            page = opened.pages[0]
            height, width = page.shape
            opened.filehandle.seek(page.dataoffsets[0])
            packed = np.frombuffer(opened.filehandle.read(sum(page.databytecounts)), np.uint8)
        bits = np.unpackbits(packed.reshape(height, -1), axis=1)[:, : width * 12].reshape(height, width, 12)
        np.testing.assert_array_equal(plane, bits @ (1 << np.arange(11, -1, -1)))
