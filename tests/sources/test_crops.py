"""Ready-made crops: one cell an image, nothing segmented, and the store says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_fields import PX, draw_field, save_tiff
from PIL import Image

from embstore.errors import EmbstoreError
from embstore.ingest import Report, embed, ingest
from embstore.pixels.whole import whole_image
from embstore.sources.layouts import read_source
from embstore.store import Store, rows


def take(store: Path, source: Path, **choices: object) -> Report:
    return ingest(str(store), source, **{"layout": "crops", "dataset": "d", "backbones": ["pixel-stats"]} | choices)


def test_a_crop_is_one_cell_that_fills_its_image() -> None:
    """Every pixel is the cell, the nucleus is the brightest largest object, the longer side is 25 µm unless known."""
    pixels = np.zeros((2, 40, 50), np.float32)
    pixels[0, 10:20, 10:30] = 1
    pixels[0, 14, 14] = 0  # a hole
    pixels[0, 35, 45] = 1  # a speck
    result = whole_image(pixels, pixels[0], None)
    assert (result.cells == 1).all()
    expected = np.zeros((40, 50), bool)
    expected[10:20, 10:30] = True
    np.testing.assert_array_equal(result.nuclei == 1, expected)
    assert result.pixel_size_um == 25 / 50
    assert whole_image(pixels, pixels[0], 0.1).pixel_size_um == 0.1
    for without in (whole_image(pixels, None, None), whole_image(pixels, pixels[1], None)):
        assert not without.nuclei.any()


def test_hpa_cells_go_in_with_gene_and_location(tmp_path: Path, samples: Path) -> None:
    """34 single cells of 3 proteins: one cell each, with the roles of their colours and the labels of their table."""
    folder = samples / "hpa" / "cells_3ch"
    report = take(tmp_path / "store", folder, labels=folder / "labels.csv")
    assert (report.images_in, report.cells_in, report.crops_assumed, report.failures) == (34, 34, 34, [])
    store = Store.open(tmp_path / "store")
    cells = rows(store, "SELECT *, extra->>'fov' AS fov FROM cells ORDER BY cell_id")
    assert {cell["gene"] for cell in cells} == {"A1CF", "A4GALT", "AAAS"}
    for cell in cells:
        assert cell["roles_present"] == ["nucleus", "protein", "microtubules"]
        assert (cell["box"], cell["flags"]) == ([0, 0, 128, 128], [])
        assert cell["cell_area_um2"] == pytest.approx(25**2)
        assert 0 < cell["nucleus_area_um2"] < 0.7 * cell["cell_area_um2"]
        assert cell["fov"] in cell["image_id"]
    assert {row["note"] for row in rows(store, "SELECT note FROM images")} == {
        "one cell, whose mask is the whole image"
    }
    assert rows(store, "SELECT DISTINCT pixel_size_source AS s FROM images") == [{"s": "crop"}]
    assert rows(store, "SELECT count(DISTINCT subject_id) AS n FROM labels WHERE label_set = 'd/main'") == [{"n": 34}]
    assert embed(store, backbones=["pixel-stats"]).done_before == 34


def test_masked_crops_are_as_wide_as_reported_and_a_rerun_does_nothing(tmp_path: Path) -> None:
    """Without a pixel size a crop is 25 µm wide, whoever drew its cell; masks of cells alone are enough."""
    for name in ("nucleus", "protein"):
        save_tiff(tmp_path / "in" / f"c_{name}.tif", draw_field(1)[int(name == "protein")], metadata={})
    outline = np.zeros((PX, PX), np.uint16)
    outline[20:90, 20:80] = 1
    for kind, inner in (("cells", outline), ("nuclei", np.where(np.indices(outline.shape)[0] < 60, outline, 0))):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(inner).save(tmp_path / "masks" / f"c_{kind}.png")
        report = take(tmp_path / "store", tmp_path / "in", masks=tmp_path / "masks")
        assert (report.cells_in, report.crops_assumed, report.estimated_um) == (1, 1, {})
        store = Store.open(tmp_path / "store")
        (image,) = rows(store, "SELECT pixel_size_um * shape[-1] AS um, pixel_size_source AS source FROM images")
        assert image == {"um": pytest.approx(25), "source": "crop"}
        versions = store.versions()
        assert take(tmp_path / "store", tmp_path / "in", masks=tmp_path / "masks").done_before == 1
        assert store.versions() == versions


def test_yeast_and_planes_need_their_channels_named(tmp_path: Path, samples: Path) -> None:
    """A name that is no stain is a failure that states how to name it; named, all are ingested; planes are in order."""
    folder = samples / "yeast" / "cells_2ch" / "AAC1"
    unknown = read_source(folder, "crops", None)
    assert len(unknown.failures) == 40
    assert "'rfp' in its name is not a known channel" in unknown.failures[0].error
    source = read_source(folder, "crops", samples / "yeast" / "labels.csv", channels="gfp=protein,rfp=cytosol")
    assert (len(source.images), source.failures) == (40, ())
    assert {image.roles for image in source.images} == {("protein", "cytosol")}
    assert {image.genes for image in source.images} == {("AAC1",)}
    assert {label.location for label in source.labels} == {"mitochondria"}
    report = take(tmp_path / "store", samples / "hpa" / "plocgan_rgb_cells", channels="er,protein,nucleus")
    assert (report.images_in, report.cells_in) == (2, 2)


def test_a_subcell_list_is_read(tmp_path: Path) -> None:
    """SubCellPortable's path_list.csv: four columns of files, of which some may be empty, and a prefix as the key."""
    for name in ("r", "b", "g"):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "path_list.csv").write_text(
        "r_image,y_image,b_image,g_image,output_prefix\nr.png,,b.png,g.png,out/cell_1\nr.png,y.png,b.png,g.png,out/cell_2\n"
    )
    source = read_source(tmp_path / "path_list.csv", "crops", None)
    (image,) = source.images
    assert (image.key, image.one_cell) == ("out/cell_1", True)
    assert dict(zip(image.roles, image.files, strict=True)) == {
        "microtubules": "r.png",
        "nucleus": "b.png",
        "protein": "g.png",
    }
    (failure,) = source.failures
    assert failure.source.endswith("path_list.csv:3")
    assert failure.error == "y.png does not exist"


def test_a_subcell_list_of_any_form_is_read(tmp_path: Path) -> None:
    """Its header may be a comment, lines with # are left out, and equal prefixes lie in folders of their own."""
    for name in ("r", "b", "g"):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / f"{name}.png")
    header = "r_image,y_image,b_image,g_image,output_folder,output_prefix"
    path = tmp_path / "path_list.csv"
    for text in (
        f"#{header}\nr.png,,b.png,g.png,./outA,cell1_\n#r.png,,x.png,g.png,outA,cell2_\nr.png,,b.png,g.png,/outB,cell1_\n",
        f"#r.png,,x.png,g.png,outA,c\n{header}\nr.png,,b.png,g.png,outA,cell1_\n#no,,\nr.png,,b.png,g.png,outB/,cell1_\n",
    ):
        path.write_text(text)
        source = read_source(path, "crops", None)
        assert source.failures == ()
        assert [(image.key, image.roles) for image in source.images] == [
            ("outA/cell1_", ("microtubules", "nucleus", "protein")),
            ("outB/cell1_", ("microtubules", "nucleus", "protein")),
        ]
    path.write_text("r.png,,b.png,g.png,outA,cell1_\n")
    with pytest.raises(EmbstoreError, match="no header line, its first line names files; wanted"):
        read_source(path, "crops", None)


def test_names_that_clash_and_tables_that_name_nothing_are_reported(tmp_path: Path) -> None:
    """Two files of one channel are a failure; two rows of one cell too; a table without a key is refused."""
    for name in ("c_dapi.tif", "c_blue.tif", "c_gfp.tif"):
        save_tiff(tmp_path / name, np.zeros((8, 8), np.uint8), metadata={})
    labels = tmp_path / "l.csv"
    labels.write_text("cell,gene\nc,A\nc,B\n")
    source = read_source(tmp_path, "crops", labels)
    assert [image.genes for image in source.images] == [("A",)]
    clash, twice = source.failures
    assert "is the nucleus of c too" in clash.error
    assert twice.source == f"{labels}:3"
    labels.write_text("cell,gene,pixel_size_um\nc,A,wide\n")
    source = read_source(tmp_path, "crops", labels)
    assert source.images == ()
    assert "pixel_size_um is 'wide'" in source.failures[1].error
    labels.write_text("gene\nA\n")
    with pytest.raises(EmbstoreError, match="wanted a column that names images"):
        read_source(tmp_path, "crops", labels)
