"""OME-TIFF and OME-Zarr: channels, pixel size and place from the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from drawn_fields import CELLS, draw_field, save_tiff

from embstore.ingest import Report, ingest
from embstore.pixels.ome_zarr import describe
from embstore.pixels.size import PixelSize
from embstore.sources.layouts import read_channels, read_source
from embstore.store import Store, rows
from embstore_cli.summary import summary

zarr = pytest.importorskip("zarr", reason="the extra `zarr` is not installed")


def take(store: Path, source: Path, **choices: object) -> Report:
    return ingest(str(store), source, **{"layout": "ome", "dataset": "o", "backbones": ["pixel-stats"]} | choices)


def write_tiff(path: Path, names: list[str], seed: int = 1) -> None:
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": names}}
    metadata |= {f"PhysicalSize{axis}": 0.2 for axis in "XY"}
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, draw_field(seed), photometric="minisblack", metadata=metadata)


def write_image(group: Any, pixels: np.ndarray, axes: str, *, version: str) -> None:
    """Write one OME-Zarr image at 0.2 µm per pixel into a group."""
    group.create_array("0", data=pixels)
    kinds = {"c": {"type": "channel"}, "t": {"type": "time"}}
    described = [{"name": a, **kinds.get(a, {"type": "space", "unit": "micrometer"})} for a in axes]
    scale = {"type": "scale", "scale": [1.0] * (len(axes) - 2) + [0.2, 0.2]}
    metadata = {
        "multiscales": [{"axes": described, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}],
        "omero": {"channels": [{"label": "Hoechst"}, {"label": "GFP"}]},
    }
    group.attrs.update(metadata if version == "0.4" else {"ome": metadata})


def write_plate(path: Path) -> None:
    plate = zarr.open_group(path, mode="w", zarr_format=3)
    plate.attrs.update({"ome": {"plate": {"name": "P7", "wells": [{"path": "A/1"}, {"path": "B/2"}]}}})
    for seed, well in enumerate(("A/1", "B/2")):
        group = plate.create_group(well)
        group.attrs.update({"ome": {"well": {"images": [{"path": "0"}]}}})
        write_image(group.create_group("0"), draw_field(seed)[None, :, None], "tczyx", version="0.5")


def test_known_channel_names_give_roles_and_the_metadata_the_pixel_size(tmp_path: Path) -> None:
    """DAPI and GFP are known; a name that is not is a failure which lists what was found, and --channels settles it."""
    write_tiff(tmp_path / "in" / "a.ome.tif", ["DAPI", "GFP"])
    write_tiff(tmp_path / "in" / "b.ome.tif", ["DAPI", "Cy5"])
    report = take(tmp_path / "store", tmp_path / "in")
    assert (report.images_in, report.cells_in) == (1, CELLS)
    (failure,) = report.failures
    assert "DAPI (nucleus), Cy5 (unknown)" in failure.error
    (row,) = rows(Store.open(tmp_path / "store"), "SELECT * FROM images")
    assert (row["image_id"], row["roles"], row["pixel_size_source"]) == ("o/a", ["nucleus", "protein"], "metadata")
    assert row["pixel_size_um"] == pytest.approx(0.2)
    for channels in ("Cy5=protein", "nucleus,protein"):
        source = read_source(tmp_path / "in", "ome", None, channels=channels)
        assert [image.roles for image in source.images] == [("nucleus", "protein")] * 2


@pytest.mark.parametrize(("version", "zarr_format"), [("0.4", 2), ("0.5", 3)])
def test_one_zarr_is_one_image(tmp_path: Path, version: str, zarr_format: int) -> None:
    """Both versions give the pixels that were written, under the name of the group."""
    write_image(
        zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=zarr_format), draw_field(2), "cyx", version=version
    )
    source = read_source(tmp_path / "x.zarr", "ome", None)
    (image,) = source.images
    planes, roles = read_channels(source.root, image)
    np.testing.assert_array_equal(planes.pixels, draw_field(2))
    assert (image.key, roles, planes.pixel_size_um) == ("x", ("nucleus", "protein"), 0.2)


@pytest.mark.parametrize(
    ("unit", "scale", "size"),
    [
        ("nanometer", 200, PixelSize(0.2)),
        ("millimeter", 0.0002, PixelSize(0.2)),
        (None, 1, PixelSize()),  # what writers put who know nothing
        (None, 0.2, PixelSize(ignored="scale of y is 0.2 (no unit) and scale of x is 0.2 (no unit), wanted a number")),
    ],
)
def test_the_scale_of_a_zarr_counts_in_any_unit_of_length(
    tmp_path: Path, unit: str | None, scale: float, size: PixelSize
) -> None:
    """Nanometres and millimetres are micrometres too; a scale without a unit is noted and ignored."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    write_image(group, draw_field(2), "cyx", version="0.4")
    scales = group.attrs["multiscales"]
    for axis in scales[0]["axes"][1:]:
        axis["unit"] = unit
    scales[0]["datasets"][0]["coordinateTransformations"][0]["scale"] = [1, scale, scale]
    group.attrs["multiscales"] = scales
    result = describe(tmp_path / "x.zarr").size
    assert result.um == (None if size.um is None else pytest.approx(size.um))
    assert result.ignored.startswith(size.ignored) if size.ignored else not result.ignored


def test_a_pixel_size_that_does_not_count_is_in_the_note_and_the_report(tmp_path: Path) -> None:
    """The size is then estimated, and both report what was in the file; --pixel-size takes precedence."""
    save_tiff(
        tmp_path / "in" / "a.ome.tif",
        draw_field(1),
        ome=True,
        metadata={"axes": "CYX", "PhysicalSizeX": 5, "PhysicalSizeXUnit": "cm"},
    )
    report = take(tmp_path / "store", tmp_path / "in", channels="nucleus,protein")
    message = "PhysicalSizeX is 5 cm, wanted 0.001 to 100 µm per pixel"
    assert report.sizes_ignored == {message: 1}
    (row,) = rows(Store.open(tmp_path / "store"), "SELECT pixel_size_source, note FROM images")
    assert row == {"pixel_size_source": "estimated", "note": f"pixel size in the file ignored: {message}"}
    assert f"  pixel size ignored in 1 images: {message}" in summary(report)
    again = take(tmp_path / "store", tmp_path / "in", channels="nucleus,protein", pixel_size_um=0.2)
    assert again.sizes_ignored == {}


def test_a_plate_gives_places_and_a_plate_map_proteins(tmp_path: Path) -> None:
    """Plate, well and site are in the store; genes come by well; a rerun is done; a changed chunk is a new revision."""
    write_plate(tmp_path / "p.zarr")
    plate_map = tmp_path / "map.csv"
    plate_map.write_text("well,gene,locations\nA1,ACTB,cytoskeleton\nB2,LMNB1,nuclear membrane\n")
    report = take(tmp_path / "store", tmp_path / "p.zarr", labels=plate_map)
    assert (report.images_in, report.cells_in, report.failures) == (2, 2 * CELLS, [])
    store = Store.open(tmp_path / "store")
    result = rows(store, "SELECT DISTINCT image_id, plate, well, site, gene FROM cells ORDER BY image_id")
    assert [tuple(row.values()) for row in result] == [
        ("o/p/A/1/0", "P7", "A1", "0", "ACTB"),
        ("o/p/B/2/0", "P7", "B2", "0", "LMNB1"),
    ]
    assert take(tmp_path / "store", tmp_path / "p.zarr", labels=plate_map).done_before == 2
    array = zarr.open_array(tmp_path / "p.zarr" / "A" / "1" / "0" / "0", mode="a")
    array[...] = draw_field(9)[None, :, None]
    report = take(tmp_path / "store", tmp_path / "p.zarr", labels=plate_map)
    assert (report.images_in, report.images_changed, report.done_before) == (1, 1, 1)


def test_broken_groups_are_faults_and_the_rest_goes_in(tmp_path: Path) -> None:
    """No multiscales, an array outside its group, a claim of 160 GB, a cut-off chunk, time: one row each."""
    folder = tmp_path / "in"
    for name in ("good", "bare", "outside", "huge", "cut", "time"):
        group = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=2)
        if name == "bare":
            group.attrs["title"] = "nothing"
        elif name == "time":
            write_image(group, np.stack([draw_field(1)] * 2), "tcyx", version="0.4")
        else:
            write_image(group, draw_field(1), "cyx", version="0.4")
    huge = zarr.open_group(folder / "huge.zarr", mode="a")
    del huge["0"]
    huge.create_array("0", shape=(2, 200_000, 200_000), chunks=(1, 1000, 1000), dtype="uint16")
    outside = zarr.open_group(folder / "outside.zarr", mode="a")
    scales = outside.attrs["multiscales"]
    scales[0]["datasets"][0]["path"] = "../good.zarr/0"
    outside.attrs["multiscales"] = scales
    chunk = next(p for p in (folder / "cut.zarr" / "0").rglob("*") if p.is_file() and not p.name.startswith("."))
    chunk.write_bytes(chunk.read_bytes()[:40])
    report = take(tmp_path / "store", folder)
    assert report.images_in == 1
    errors = {Path(failure.source).name: failure.error for failure in report.failures}
    assert errors.keys() == {"bare.zarr", "outside.zarr", "huge.zarr", "cut.zarr", "time.zarr"}
    for name, message in (
        ("bare", "no OME image"),
        ("outside", "outside"),
        ("huge", "claims"),
        ("time", "time series"),
    ):
        assert message in errors[f"{name}.zarr"]


def write_labels(group: Any, **labels: np.ndarray) -> None:
    """Write label images (y, x) into the group `labels` of an OME-Zarr image."""
    listed = group.create_group("labels")
    listed.attrs.update({"ome": {"labels": list(labels)}})
    for name, image in labels.items():
        write_image(listed.create_group(name), image, "yx", version="0.5")


def two_squares() -> np.ndarray:
    labels = np.zeros(draw_field(1).shape[1:], np.uint32)
    labels[20:60, 20:60], labels[90:130, 30:70] = 4, 9
    return labels


def test_label_images_called_nuclei_or_cells_are_the_masks(tmp_path: Path) -> None:
    """Cells come from the image's own labels, under their numbers; other labels are left out and noted."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
    write_image(group, draw_field(2), "cyx", version="0.5")
    write_labels(group, cell_labels=two_squares(), nuclear_envelope=two_squares())
    report = take(tmp_path / "store", tmp_path / "x.zarr")
    assert (report.images_in, report.cells_in, report.failures) == (1, 2, [])
    assert "masks: 1 images bring label images of their nuclei or cells" in report.notes
    assert "label images whose names are not nuclei or cells, left out: nuclear_envelope" in report.notes
    assert rows(Store.open(tmp_path / "store"), "SELECT label FROM cells ORDER BY label") == [
        {"label": 4},
        {"label": 9},
    ]
    assert take(tmp_path / "store", tmp_path / "x.zarr").done_before == 1


def test_labels_of_a_plate_stand_in_for_a_nucleus_channel(tmp_path: Path) -> None:
    """A field of protein alone is ingested with masks of cells; without any, or with two kinds of cells, it fails."""
    write_plate(tmp_path / "p.zarr")
    field = zarr.open_group(tmp_path / "p.zarr" / "A" / "1" / "0", mode="a")
    write_labels(field, cells=two_squares())
    report = take(tmp_path / "store", tmp_path / "p.zarr", channels="protein,er")
    assert (report.images_in, report.cells_in) == (1, 2)
    (failure,) = report.failures
    assert "field p/B/2/0 has er, protein and no nucleus" in failure.error
    write_labels(
        zarr.open_group(tmp_path / "p.zarr" / "B" / "2" / "0", mode="a"), cells=two_squares(), cell=two_squares()
    )
    (failure,) = take(tmp_path / "store", tmp_path / "p.zarr", channels="protein,er").failures
    assert "are both named as the cells of one image" in failure.error
