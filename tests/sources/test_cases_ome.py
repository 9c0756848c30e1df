"""OME files that people really have: `../shared/cases`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embstore.ingest import ingest
from embstore.pixels.decode import read_planes
from embstore.sources.layouts import read_channels, read_source
from embstore.sources.record import Source

CASES = Path(__file__).parents[3] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no case files at {CASES}")


def read(case: str) -> Source:
    return read_source(CASES / case, "ome", None)


def test_49_quotes_do_not_change_the_pixel_size() -> None:
    """The same XML with single and with double quotes gives 0.2 µm."""
    source = read("49-ome-xml-single-quotes")
    assert {image.key: read_channels(source.root, image)[0].pixel_size_um for image in source.images} == {
        "double": 0.2,
        "single": 0.2,
    }


def test_29_planes_come_in_the_order_of_channels(tmp_path: Path) -> None:
    """TiffData in another order, and a set of one file a channel, give the same image."""
    swapped, one_set = read("29-ome-tiffdata-order/swapped.ome.tif"), read("29-ome-tiffdata-order/set")
    (of_one_file,), (of_set,) = swapped.images, one_set.images
    assert (of_set.key, of_set.files, of_set.roles) == (
        "set",
        ("set_C0.ome.tif", "set_C1.ome.tif"),
        ("nucleus", "protein"),
    )
    planes, _ = read_channels(one_set.root, of_set)
    np.testing.assert_array_equal(planes.pixels, read_channels(swapped.root, of_one_file)[0].pixels)
    assert planes.pixel_size_um == 0.4
    report = ingest(tmp_path, CASES / "29-ome-tiffdata-order/set", layout="ome", backbones=["pixel-stats"])
    assert (report.images_in, report.failures) == (1, [])


def test_29_half_a_set_names_the_missing_file() -> None:
    """The file that is not there is named; in another layout, a lone part of a set is no image."""
    (failure,) = read("29-ome-tiffdata-order/half").failures
    assert "set_C1.ome.tif is missing" in failure.error
    source = read_source(CASES / "29-ome-tiffdata-order/half", "opencell", None)
    with pytest.raises(Exception, match=r"1 of 2 channels, and is one of a set with set_C1\.ome\.tif.*--layout ome"):
        read_channels(source.root, source.images[0])
    assert read_planes(CASES / "29-ome-tiffdata-order/half/set_C0.ome.tif").pixels.shape == (1, 160, 160)
