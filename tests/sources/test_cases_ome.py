"""OME files that people really have: `../shared/cases`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from case_files import CASES, needs_cases

from embstore.ingest import ingest
from embstore.pixels.decode import read_planes
from embstore.sources.layouts import read_channels, read_source
from embstore.sources.record import Source

pytestmark = needs_cases


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
    """The missing file is named; in another layout, a lone part of a set is no image."""
    (failure,) = read("29-ome-tiffdata-order/half").failures
    assert "set_C1.ome.tif is missing" in failure.error
    source = read_source(CASES / "29-ome-tiffdata-order/half", "opencell", None)
    with pytest.raises(Exception, match=r"1 of 2 channels, and is one of a set with set_C1\.ome\.tif.*--layout ome"):
        read_channels(source.root, source.images[0])
    assert read_planes(CASES / "29-ome-tiffdata-order/half/set_C0.ome.tif").pixels.shape == (1, 160, 160)


def sizes(source: Source) -> dict[str, float | None]:
    return {image.key: read_channels(source.root, image)[0].pixel_size_um for image in source.images}


def test_13_the_scale_is_the_product_of_both_levels() -> None:
    """A scale at the level of the image counts like one at the level of its array."""
    assert sizes(read("13-omezarr-multiscale-transform")) == {"f1": 0.4, "f2": 0.4}


@pytest.mark.parametrize("below", ["", "/f1.ome.zarr", "/f1.ome.zarr/0"])
def test_15_a_series_is_called_after_its_container(below: str) -> None:
    """bioformats2raw's images have the same key and pixels, whichever folder is given."""
    source = read(f"15-bioformats2raw-layout{below}")
    assert sizes(source) == {"f1/0": 0.4}
    planes, roles = read_channels(source.root, source.images[0])
    plain = read_planes(CASES / "15-bioformats2raw-layout/f1.ome.zarr/0")
    np.testing.assert_array_equal(planes.pixels, plain.pixels)
    assert roles == ("nucleus", "protein")


def test_37_images_of_spatialdata_have_its_labels(tmp_path: Path) -> None:
    """`images/field` is an image, `labels/nuclei` its mask."""
    (image,) = read("37-spatialdata-container").images
    assert (image.key, image.files) == ("sd/field", ("sd.zarr/images/field",))
    assert image.masks is not None
    assert image.masks.nuclei == CASES / "37-spatialdata-container/sd.zarr/labels/nuclei"
    report = ingest(tmp_path, CASES / "37-spatialdata-container/sd.zarr", layout="ome", backbones=["pixel-stats"])
    assert (report.images_in, report.cells_in, report.failures) == (1, 1, [])


def test_35_what_an_ome_zarr_lacks_is_named(tmp_path: Path) -> None:
    """0.5 is read; one without channel names, and a version without axes, are failures of one line."""
    report = ingest(tmp_path, CASES / "35-omezarr-channels", layout="ome", backbones=["pixel-stats"])
    message = {Path(failure.source).name: failure.error for failure in report.failures}
    assert message.keys() == {"no_omero.zarr", "three_in_array.zarr", "v02.zarr"}
    assert "OME-Zarr 0.2 and does not name its axes, wanted 0.4 or 0.5 (0.1 to 0.3 are not read)" in message["v02.zarr"]
    assert "--channels nucleus,protein" in message["no_omero.zarr"]
    assert report.images_in == 1
