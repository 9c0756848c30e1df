"""How tables meet images and wells, and how the files that a table names are found."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest

from embstore.sources.joining import loose_name, well_name
from embstore.sources.layouts import read_source
from embstore.sources.located import existing_like, foreign_folder, without_folder


@pytest.mark.parametrize("text", ["A1", "A01", "a01", "A/1", "A-001", "row A column 1", "Row A, col 01", " A 1 "])
def test_a_well_is_a_row_and_a_column(text: str) -> None:
    assert well_name(text) == "A1"


@pytest.mark.parametrize(
    ("text", "name"), [("AF12", "AF12"), ("A10", "A10"), ("A00", "A00"), ("1", "1"), ("pool 3", "pool 3"), ("", "")]
)
def test_what_is_no_well_stays_as_it_is(text: str, name: str) -> None:
    assert well_name(text) == name


def test_wells_join_however_they_are_padded(cases: Path) -> None:
    source = read_source(
        cases / "16-well-names-padding" / "plate.zarr", "ome", cases / "16-well-names-padding" / "platemap.csv"
    )
    assert {i.key: i.genes for i in source.images} == {
        "plate/A/1/0": ("ACTN1",),
        "plate/A/2/0": ("LMNB1",),
        "plate/A/10/0": ("TGOLN2",),
    }
    assert len(source.labels) == 3
    assert "labels: 3 of 3 images have a row in platemap.csv" in source.notes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "A01,G1\nB7,G2\n",
            "labels: 1 of 3 images have a row in map.csv; rows that match no image: 1 (B7); images",
        ),
        ("C1,G1\n", "warning: nothing joined: 0 of 3 images have a row in map.csv; rows that match no image: 1 (C1)"),
    ],
)
def test_what_did_not_join_is_named_from_both_sides(cases: Path, tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "map.csv").write_text("well,gene\n" + rows)
    source = read_source(cases / "16-well-names-padding" / "plate.zarr", "ome", tmp_path / "map.csv")
    (note,) = [note for note in source.notes if "have a row" in note]
    assert note.startswith(message)
    assert "images without a row: " in note


def test_two_rows_of_one_well_are_a_failure(cases: Path, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("well,gene\nA1,G1\nA01,G2\n")
    source = read_source(cases / "16-well-names-padding" / "plate.zarr", "ome", tmp_path / "map.csv")
    assert [f.error for f in source.failures] == ["A1 has an earlier row, which is used"]


def test_names_of_images_join_without_case_form_and_suffix(tmp_path: Path) -> None:
    for name in ("Field1_d.tif", "Field1_g.tif"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("image_id,gene\nfield1.TIF,G1\n")
    source = read_source(tmp_path, "fields", tmp_path / "t.csv", channels="_d=nucleus,_g=protein")
    assert [image.genes for image in source.images] == [("G1",)]


def test_names_are_compared_in_one_unicode_form() -> None:
    assert loose_name(unicodedata.normalize("NFD", "Müller.tif")) == loose_name("müller")


def test_load_data_of_cellprofiler_is_read_unedited(cases: Path) -> None:
    source = read_source(cases / "18-loaddata-windows-paths" / "load_data.csv", "manifest", None)
    (image,) = source.images
    assert (image.files, image.roles) == (("images/sub/f1_d0.tif", "images/sub/f1_d1.tif"), ("nucleus", "protein"))
    assert (image.plate, image.well, image.site) == ("P1", "B02", "1")
    assert any("C:/screen in the table is read as" in note for note in source.notes)


def test_files_of_another_folder_are_never_taken_for_those_of_one(tmp_path: Path) -> None:
    (tmp_path / "f.tif").touch()
    files = ["C:\\plate1\\f.tif", "C:\\plate2\\f.tif"]
    folder = foreign_folder(tmp_path, files)
    assert folder == "C:/plate1"
    assert [without_folder(file, folder) for file in files] == ["f.tif", "C:\\plate2\\f.tif"]


def test_backslashes_part_folders_where_the_file_is_there(cases: Path) -> None:
    (image,) = read_source(cases / "18-loaddata-windows-paths" / "manifest.csv", "manifest", None).images
    assert image.files == ("images/sub/f1_d0.tif", "images/sub/f1_d1.tif")


def test_a_missing_file_names_the_one_that_is_there(cases: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    shutil.copytree(cases / "18-loaddata-windows-paths" / "names", names)
    unicode_form, case = (f.error for f in read_source(names / "manifest.csv", "manifest", None).failures)
    assert "another Unicode form" in unicode_form
    assert case == "field1.TIF does not exist, Field1.tif does: upper and lower case differ"
    assert existing_like(names, "gone.tif") is None


def test_a_column_of_files_without_a_role_is_named(cases: Path) -> None:
    path = cases / "48-subcell-extra-pass-column" / "path_list.csv"
    note = "g2_image names files, but is not a known channel: left out (--channels g2_image=ROLE)"
    assert note in read_source(path, "crops", None).notes
    source = read_source(path, "crops", None, channels="g2_image=er")
    assert source.images[0].roles == ("nucleus", "protein", "er")
    assert note not in source.notes


def test_files_that_rows_share_are_counted(cases: Path) -> None:
    source = read_source(cases / "47-same-image-under-two-ids" / "manifest.csv", "manifest", None)
    assert "files that several rows name: 1 (c.tif)" in source.notes


def test_columns_are_known_by_the_names_that_people_use(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    (tmp_path / "manifest.csv").write_text(
        "Image file,Gene Symbol,Ensembl,Subcellular location\na.tif,ACTN1,ENSG00000072110,Cytosol;ER\n"
    )
    source = read_source(tmp_path, "manifest", None, channels="nucleus,protein")
    (image,) = source.images
    assert (image.files, image.genes, image.protein_ids) == (("a.tif",), ("ACTN1",), ("ensembl:ENSG00000072110",))
    assert [label.location for label in source.labels] == ["Cytosol", "ER"]
