"""Z-stacks and packed files: read with their content, within limits."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from drawn_fields import CELLS, draw_field, opencell_path, save_tiff, write_hpa

from embstore.errors import ImageError
from embstore.ingest import ingest
from embstore.pixels.decode import read_planes
from embstore.pixels.limits import MAX_RATIO, RATIO_FREE_BYTES
from embstore.sources.layouts import read_channels, read_source
from embstore.sources.record import SourceImage
from embstore.store import Store, rows

FIELD = draw_field(1)
DIM = (0.3, 1.0, 0.6, 0.1, 0.2)


def stack(axes: str) -> np.ndarray:
    """Return a field at five depths, of which the second is the brightest everywhere, with its axes in this order."""
    deep = np.stack([(FIELD * d).astype(np.uint16) for d in DIM], axis=1)  # c, z, y, x
    return deep if axes == "CZYX" else np.moveaxis(deep, 0, 1)


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
@pytest.mark.parametrize("named", ["ome", "plain"])
def test_a_stack_is_read_as_its_maximum_projection(tmp_path: Path, axes: str, named: str) -> None:
    """Both orders of axes, from metadata or from which axis is as long as there are channels, give the same field."""
    path = tmp_path / ("s.ome.tif" if named == "ome" else "s.tif")
    tifffile.imwrite(path, stack(axes), photometric="minisblack", metadata={"axes": axes} if named == "ome" else {})
    planes = read_planes(path, channels=2)
    np.testing.assert_array_equal(planes.pixels, FIELD)
    assert planes.depth == 5
    with pytest.raises(ImageError, match="wanted"):
        read_planes(path)


def test_a_stack_whose_channels_are_ambiguous_is_refused(tmp_path: Path) -> None:
    """Two planes of two channels, unnamed, and any series over time stay an error with what to do."""
    square = stack("CZYX")[:, :2]
    tifffile.imwrite(tmp_path / "q.tif", square, photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", stack("CZYX")[0], photometric="minisblack", metadata={"axes": "TYX"})
    for name in ("q.tif", "t.tif"):
        with pytest.raises(ImageError, match="wanted"):
            read_planes(tmp_path / name, channels=2)


def test_opencell_stacks_go_in_where_no_projection_is(tmp_path: Path) -> None:
    """One field is one image: its projection wins, a stack alone is projected, and a later projection takes its key."""
    both = save_tiff(opencell_path(tmp_path / "in", 1), FIELD)
    save_tiff(Path(str(both).replace("_proj", "_stack")), stack("CZYX"), metadata={"axes": "CZYX"})
    alone = opencell_path(tmp_path / "in", 2)
    save_tiff(Path(str(alone).replace("_proj", "_stack")), stack("ZCYX"), metadata={"axes": "ZCYX"})
    choices = {"layout": "opencell", "backbones": ["pixel-stats"]}
    report = ingest(str(tmp_path / "store"), tmp_path / "in", **choices)
    assert (report.images_in, report.cells_in, report.failures) == (2, 2 * CELLS, [])
    assert report.notes[:2] == [
        "1 z-stacks without a projection: their maximum projection is read",
        "1 z-stacks left out: their projections are used",
    ]
    store = Store.open(tmp_path / "store")
    notes = rows(store, "SELECT image_id, note FROM images ORDER BY image_id")
    assert [row["image_id"] for row in notes] == [f"opencell/{both.stem}", f"opencell/{alone.stem}"]
    assert [row["note"] for row in notes] == ["", "maximum projection of 5 planes"]
    save_tiff(alone, FIELD)
    report = ingest(store, tmp_path / "in", **choices)
    assert (report.images_in, report.images_changed, report.done_before) == (1, 1, 1)


def test_packed_hpa_files_are_read_as_they_are(tmp_path: Path) -> None:
    """A field whose files were packed with gzip has the pixels, key and pixel size of the one that was not."""
    plain = write_hpa(tmp_path / "plain", "57_F11_1", 1, ("blue", "green", "red"))
    (tmp_path / "packed").mkdir()
    for path in plain.values():
        (tmp_path / "packed" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    read = []
    for folder in ("plain", "packed"):
        source = read_source(tmp_path / folder, "hpa", None)
        (image,) = source.images
        assert (image.key, image.pixel_size_um) == ("57_F11_1", 0.0800885)
        read.append(read_channels(source.root, image)[0].pixels)
    np.testing.assert_array_equal(*read)


def test_damaged_and_swollen_packages_are_refused(tmp_path: Path) -> None:
    """A cut-off gzip, one in another, and a bomb are one line each; nothing of them is left on the disk."""
    path = save_tiff(tmp_path / "x.tif", FIELD)
    packed = tmp_path / "x.tif.gz"
    for content, message in (
        (gzip.compress(path.read_bytes())[:-20], "damaged"),
        (gzip.compress(gzip.compress(path.read_bytes())), "not an image"),
        (gzip.compress(bytes(max(RATIO_FREE_BYTES, MAX_RATIO * 70_000) + 1), 9), "unpacks to more than 67 MB"),
    ):
        packed.write_bytes(content)
        with pytest.raises(ImageError, match=message):
            read_planes(packed)


def test_alpha_is_no_light(tmp_path: Path) -> None:
    """An RGBA picture of one channel is read as its colours; two planes in a file of one channel are refused."""
    rgba = np.zeros((4, 8, 8), np.uint8)
    rgba[1], rgba[3] = 40, 255
    tifffile.imwrite(tmp_path / "rgba.tif", np.moveaxis(rgba, 0, -1), photometric="rgb", extrasamples=["unassalpha"])
    shutil.copy(save_tiff(tmp_path / "two.tif", FIELD), tmp_path / "b.tif")
    planes, _ = read_channels(tmp_path, SourceImage("x", ("rgba.tif",), ("nucleus",)))
    assert (planes.pixels == 40).all()
    with pytest.raises(ImageError, match=r"has 2 channels \(axis C\); wanted one"):
        read_channels(tmp_path, SourceImage("x", ("b.tif",), ("nucleus",)))
