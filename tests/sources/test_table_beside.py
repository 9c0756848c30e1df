"""A table in a folder of images, in every layout: source_read, joined by key, file or place, and reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
import tifffile

from embstore.errors import EmbstoreError
from embstore.sources.layouts import ASKED, NAMED, read_source
from embstore.sources.record import Source, SourceImage

# layout -> the files of two images, and --channels
LAYOUTS = {
    "opencell": (("a.tif", "b.tif"), ""),
    "hpa": (("a_blue.png", "a_green.png", "b_blue.png", "b_green.png"), ""),
    "fields": (("a_d.tif", "a_g.tif", "b_d.tif", "b_g.tif"), "_d=nucleus,_g=protein"),
    "crops": (("a_dna.tif", "a_gfp.tif", "b_dna.tif", "b_gfp.tif"), ""),
    "ome": (("a.ome.tif", "b.ome.tif"), "nucleus"),
}


def folder(tmp_path: Path, layout: str, below: str = "") -> Path:
    """Make the files of a layout."""
    (tmp_path / below).mkdir(exist_ok=True)
    for name in LAYOUTS[layout][0]:
        tifffile.imwrite(tmp_path / below / name, np.zeros((1, 8, 8), np.uint8))
    return tmp_path


def read(source: Path, layout: str, labels: Path | None = None, **options: dict[str, str]) -> Source:
    return read_source(source, layout, labels, channels=LAYOUTS[layout][1], whole=True, **options)  # type: ignore[arg-type]


def by_key(source: Source) -> dict[str, SourceImage]:
    return {Path(image.key).name: image for image in source.images}


def save(path: Path, *rows: list[str]) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def test_every_layout_is_here() -> None:
    """A new layout reads a table beside its images too; a manifest is the table."""
    assert set(LAYOUTS) == {*NAMED, *ASKED} - {"manifest"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_spreadsheet_beside_the_images_describes_them(layout: str, tmp_path: Path) -> None:
    """By the names of their files, under the lab's own names of columns; --dry-run and ingest read sources alike."""
    source = folder(tmp_path, layout)
    files = [LAYOUTS[layout][0][0], LAYOUTS[layout][0][-1].upper()]
    rows = [
        ["Photo", "Symbol", "Where is it?"],
        [files[0], "G1", "ER;Golgi"],
        [f"D:\\x\\{source.name}\\{files[1]}", "G2"],
    ]
    save(tmp_path / "my list.xlsx", *rows, ["c.tif", "G3", "ER"])
    source_read = read(source, layout, columns={"Where is it?": "locations"})
    assert {key: image.genes for key, image in by_key(source_read).items()} == {"a": ("G1",), "b": ("G2",)}
    assert [label.location for label in source_read.labels] == ["ER", "Golgi"]
    notes = "\n".join(source_read.notes)
    assert "my list.xlsx is next to the images and describes them: read as --labels" in notes
    assert "labels: 2 of 2 images have a row in my list.xlsx; rows that match no image: 1 (c.tif)" in notes
    assert "column Where is it? read as locations" in notes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_keys_is_read_where_it_is_given(layout: str, tmp_path: Path) -> None:
    """As in every layout before; OpenCell's took only OpenCell's tables."""
    source = folder(tmp_path, layout)
    (tmp_path / "t.csv").write_text("image_id,gene,locations\na,G1,ER\nb,G2,Golgi\n")
    source_read = read(source, layout, tmp_path / "t.csv")
    assert {key: image.genes for key, image in by_key(source_read).items()} == {"a": ("G1",), "b": ("G2",)}
    assert sorted(label.location for label in source_read.labels) == ["ER", "Golgi"]


def test_several_tables_are_named_and_none_is_read(tmp_path: Path) -> None:
    """--labels chooses; tables of other things do not count, nor does the lock that Excel leaves."""
    source = folder(tmp_path, "fields")
    for name in ("one.csv", "two.tsv", "~$one.xlsx"):
        (tmp_path / name).write_text("image_id\tgene\na\tG1\n".replace("\t", "," if name == "one.csv" else "\t"))
    (tmp_path / "proteins.csv").write_text("gene,locations\nG1,ER\n")
    (tmp_path / "cells.csv").write_text("image_id,area\na,1\na,2\n")
    source_read = read(source, "fields")
    assert by_key(source_read)["a"].genes == ()
    assert source_read.notes[0] == (
        "tables that describe these images: 2 (one.csv, two.tsv); none is read: choose with --labels"
    )
    assert by_key(read(source, "fields", tmp_path / "two.tsv"))["a"].genes == ("G1",)


def test_a_table_that_cannot_be_read_does_not_stop_the_images(tmp_path: Path) -> None:
    """The report states why it was left out; with --columns, which needs a table, it is the error."""
    source = folder(tmp_path, "fields")
    (tmp_path / "bad.csv").write_text("image_id,gene\na\n")
    source_read = read(source, "fields")
    assert len(source_read.images) == 2
    assert source_read.notes[0].startswith("bad.csv is next to the images, but cannot be read: ")
    with pytest.raises(EmbstoreError, match="--columns names columns of a table, and no table describes"):
        read(source, "fields", columns={"x": "gene"})


def test_files_of_one_image_share_a_row_only_where_they_agree(tmp_path: Path) -> None:
    """One row a channel is usual; two genes for one image are a failure."""
    source = folder(tmp_path, "fields")
    table = tmp_path / "t.csv"
    table.write_text("file,dye,gene\na_d.tif,DAPI,G1\na_g.tif,GFP,G1\nb_d.tif,DAPI,G2\nb_g.tif,GFP,G3\n")
    source_read = read(source, "fields", table)
    assert {key: image.genes for key, image in by_key(source_read).items()} == {"a": ("G1",), "b": ("G2",)}
    assert [failure.error for failure in source_read.failures] == [
        "b_g.tif is b too, which line 4 describes differently; that line is used"
    ]


def test_a_name_in_another_folder_is_another_file(tmp_path: Path) -> None:
    """P1/a_d.tif is no row of P2/a_d.tif, wherever the table lies."""
    source = folder(tmp_path, "fields", below="P2")
    (tmp_path / "t.csv").write_text("file,gene\nP1/a_d.tif,G1\nP2/b_d.tif,G2\n")
    for where in (source, source / "P2"):
        source_read = read(where, "fields", tmp_path / "t.csv")
        assert {key: image.genes for key, image in by_key(source_read).items()} == {"a": (), "b": ("G2",)}


def test_a_column_that_hides_another_is_reported(tmp_path: Path) -> None:
    """A lab's own choice takes precedence over every well-known name, also in a manifest."""
    source = folder(tmp_path, "fields")
    (tmp_path / "t.csv").write_text("image_id,label,Location,Where\na,x,Golgi,ER\n")
    source_read = read(source, "fields", tmp_path / "t.csv", columns={"Where": "locations"})
    assert [label.location for label in source_read.labels] == ["ER"]
    assert "column Where read as locations; label, Location of the same meaning left out" in source_read.notes
    (tmp_path / "m.csv").write_text("nucleus,protein,Name,gene\na_d.tif,a_g.tif,n1,G1\n")
    (image,) = read_source(tmp_path / "m.csv", "manifest", None, columns={"Name": "gene"}).images
    assert (image.genes, image.extra) == (("n1",), {})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"nope": "gene"}, "has no column 'nope', which --columns names; it has: image_id, a, b"),
        ({"a": "place"}, "gives a column the name 'place'; wanted one of: image_id, cell_id, gene"),
        ({"a": "ensg_id", "b": "uniprot_id"}, r"two columns for one meaning \(ensg_id, uniprot_id\)"),
    ],
)
def test_wrong_names_of_columns_are_one_line(columns: dict[str, str], message: str, tmp_path: Path) -> None:
    """With the names that exist, and those that could be meant."""
    source = folder(tmp_path, "fields")
    (tmp_path / "t.csv").write_text("image_id,a,b\na,1,2\n")
    with pytest.raises(EmbstoreError, match=message):
        read(source, "fields", tmp_path / "t.csv", columns=columns)
