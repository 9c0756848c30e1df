"""Manifests: a table of a lab's own, with one row a field, and every failure in it at once."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from drawn_fields import CELLS, draw_field, save_tiff

from embstore.errors import EmbstoreError
from embstore.ingest import Report, ingest
from embstore.sources.channels import parse_channels
from embstore.sources.layouts import read_source
from embstore.store import Store, rows

HEADER = (
    "image_id",
    "nucleus",
    "protein",
    "gene",
    "ensg_id",
    "Metadata_Plate",
    "well",
    "pixel_size_um",
    "dose",
    "label",
)


def write_manifest(path: Path, lines: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def write_channels(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        field = draw_field(seed)
        save_tiff(folder / f"{name}_n.tif", field[0], metadata={})
        save_tiff(folder / f"{name}_p.tif", field[1], metadata={})


def take(store: Path, source: Path, **choices: object) -> Report:
    return ingest(
        str(store), source, **{"layout": "manifest", "dataset": "lab", "backbones": ["pixel-stats"]} | choices
    )


def test_columns_become_channels_proteins_places_and_extras(tmp_path: Path) -> None:
    """Known columns fill the image, locations become its labels, any further column can be asked for in SQL."""
    write_channels(tmp_path / "raw", "a", "b")
    lines = [
        ["f1", "raw/a_n.tif", "raw/a_p.tif", "HLA-A", "ENSG00000206503", "P1", "B02", "0.2", "high, twice", "er;golgi"],
        ["f2", "raw/b_n.tif", "", "A;B", "", "P1", "B03", "", "", ""],
    ]
    write_manifest(tmp_path / "manifest.csv", lines)
    report = take(tmp_path / "store", tmp_path)
    assert (report.images_in, report.cells_in, report.failures) == (2, 2 * CELLS, [])
    store = Store.open(tmp_path / "store")
    first, second = rows(store, "SELECT *, extra->>'dose' AS dose FROM images ORDER BY image_id")
    assert (first["image_id"], first["roles"], first["protein_ids"]) == (
        "lab/f1",
        ["nucleus", "protein"],
        ["ensembl:ENSG00000206503"],
    )
    assert (first["plate"], first["well"], first["dose"]) == ("P1", "B02", "high, twice")
    assert (first["pixel_size_um"], first["pixel_size_source"]) == (0.2, "manifest")
    assert (second["roles"], second["genes"], second["pixel_size_source"]) == (["nucleus"], ["A", "B"], "estimated")
    by_dose = rows(store, "SELECT extra->>'dose' AS dose, count(*) AS n FROM cells GROUP BY dose ORDER BY n, dose")
    assert by_dose[0] == {"dose": "high, twice", "n": CELLS}
    labels = rows(store, "SELECT label_set, level, subject_id, location FROM labels ORDER BY location")
    assert [tuple(row.values()) for row in labels] == [
        ("lab/main", "image", "lab/f1", "er"),
        ("lab/main", "image", "lab/f1", "golgi"),
    ]
    versions = store.versions()
    again = take(tmp_path / "store", tmp_path)
    assert (again.done_before, again.images_in, store.versions()) == (2, 0, versions)


def test_several_proteins_of_a_row_are_one_group_and_no_id_is_lost(tmp_path: Path) -> None:
    """Ids joined by commas are as many proteins, in one group; what is no accession is noted, with an example."""
    write_channels(tmp_path / "raw", "a", "b")
    lines = [
        ["f1", "raw/a_n.tif", "", "TSPAN6,SCYL3", "ENSG00000000003,ENSG00000000457"],
        ["f2", "raw/b_n.tif", "", "A,B-12", "ENSG0000000045"],
    ]
    write_manifest(tmp_path / "manifest.csv", lines, HEADER[:5])
    report = take(tmp_path / "store", tmp_path)
    store = Store.open(tmp_path / "store")
    first, second = rows(store, "SELECT protein_ids, genes FROM images ORDER BY image_id")
    assert first["genes"] == ["TSPAN6", "SCYL3"]
    assert (second["protein_ids"], second["genes"]) == (["gene:A,B-12"], ["A,B-12"])
    groups = {row["gene"]: row["group_id"] for row in rows(store, "SELECT * FROM proteins")}
    assert groups == {
        "TSPAN6": "ensembl:ENSG00000000003",
        "SCYL3": "ensembl:ENSG00000000003",
        "A,B-12": "gene:A,B-12",
    }
    (message,) = [note for note in report.notes if "accession" in note]
    assert message.startswith("no Ensembl gene id or UniProt accession in ensg_id: 1 (ENSG0000000045); ")


def test_absolute_paths_below_the_root_are_relative_ones(tmp_path: Path) -> None:
    """Named in full, or through a link to the root, a file is the one below the root and has the same key."""
    write_channels(tmp_path / "in" / "raw", "a", "b")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    lines = [[str(tmp_path / "in" / "raw" / "a_n.tif")], [str(tmp_path / "link" / "raw" / "." / "b_n.tif")]]
    manifest = write_manifest(tmp_path / "in" / "manifest.csv", lines, ["nucleus"])
    source = read_source(manifest, "manifest", None)
    assert [(image.key, image.files) for image in source.images] == [
        ("raw/a_n", ("raw/a_n.tif",)),
        ("raw/b_n", ("raw/b_n.tif",)),
    ]
    elsewhere = read_source(manifest, "manifest", None, source_root=tmp_path / "in" / "raw" / "..")
    assert elsewhere.images == source.images


@pytest.mark.parametrize("joint", [",", ";", " ; "])
def test_channels_are_joined_by_commas_or_semicolons(tmp_path: Path, joint: str) -> None:
    """In the column `channels` as in --channels; a file without a nucleus is told what a manifest calls it."""
    save_tiff(tmp_path / "a.tif", draw_field(1))
    manifest = write_manifest(
        tmp_path / "manifest.csv", [["a.tif", joint.join(["nucleus", "protein"])]], ["file", "channels"]
    )
    (image,) = read_source(manifest, "manifest", None).images
    assert image.roles == ("nucleus", "protein")
    assert parse_channels(joint.join(["nucleus", "protein"])).in_order == ("nucleus", "protein")
    assert parse_channels(joint.join(["gfp=protein", "x=er"])).by_name == {"gfp": "protein", "x": "er"}
    write_manifest(manifest, [["a.tif", joint.join(["er", "protein"])]], ["file", "channels"])
    (failure,) = read_source(manifest, "manifest", None).failures
    assert failure.todo.startswith(
        "add its nucleus channel (a column `nucleus`, or `nucleus` in `channels`), give masks"
    )


def test_every_fault_is_listed_with_its_line_and_good_rows_go_in(tmp_path: Path) -> None:
    """Missing files, paths out of the folder, duplicates, sizes that are none: a failure a row; corrected, it ends."""
    write_channels(tmp_path / "in", "a")
    save_tiff(tmp_path / "outside.tif", draw_field(3)[0], metadata={})
    good = ["a_n.tif", "a_p.tif", "", "", "", "", "", "", ""]
    lines = [
        ["ok", *good],
        ["ok", *good],
        ["gone", "nope.tif", "nor this.tif", "", "", "", "", "-3", "", ""],
        ["out", "../outside.tif", str(tmp_path / "outside.tif"), "", "", "", "", "", "", ""],
        ["blind", "", "a_p.tif", "", "", "", "", "", "", ""],
        ["empty", "", "", "", "", "", "", "", "", ""],
    ]
    manifest = write_manifest(tmp_path / "in" / "m.csv", lines)
    report = take(tmp_path / "store", manifest, dry_run=True)
    assert not (tmp_path / "store").exists()
    result = {int(failure.source.rsplit(":", 1)[1]): failure.error for failure in report.failures}
    assert result.keys() == {3, 4, 5, 6, 7}
    assert "ok is in line 2 already" in result[3]
    for text in ("nope.tif does not exist", "nor this.tif does not exist", "pixel_size_um is '-3'"):
        assert text in result[4]
    assert result[5].count("is not below") == 2
    assert "no nucleus" in result[6]
    assert "it names no file" in result[7]

    report = take(tmp_path / "store", manifest)
    assert (report.images_in, len(report.failures)) == (1, 5)
    write_manifest(manifest, lines[:1])
    take(tmp_path / "store", manifest)
    assert rows(Store.open(tmp_path / "store"), "SELECT * FROM failures") == []


def test_one_file_of_many_channels_and_parquet(tmp_path: Path) -> None:
    """`file` with `channels`, or --channels for all rows; CSV and Parquet are equivalent."""
    save_tiff(tmp_path / "x.tif", draw_field(1))
    header = ("file", "channels", "treatment")
    table = write_manifest(tmp_path / "m.csv", [["x.tif", "protein;nucleus", "none"]], header)
    pq.write_table(pacsv.read_csv(table), tmp_path / "m.parquet")
    for path in (table, tmp_path / "m.parquet"):
        source = read_source(path, "manifest", None)
        (image,) = source.images
        assert (image.key, image.files, image.roles) == ("x", ("x.tif",), ("protein", "nucleus"))
        assert image.extra == {"treatment": "none"}
    table = write_manifest(tmp_path / "m.csv", [["x.tif"]], ("file",))
    (image,) = read_source(table, "manifest", None, channels="nucleus,protein").images
    assert image.roles == ("nucleus", "protein")
    with pytest.raises(EmbstoreError, match="no channels; name what the planes of file show"):
        read_source(table, "manifest", None)


def test_files_may_lie_elsewhere_and_columns_have_any_name(tmp_path: Path) -> None:
    """--source-root is the folder of the files; --channels COLUMN=ROLE what a column shows."""
    write_channels(tmp_path / "disk", "a")
    table = write_manifest(tmp_path / "m.csv", [["a_n.tif", "a_p.tif"]], ("DAPI", "488"))
    source = read_source(table, "manifest", None, channels="488=protein", source_root=tmp_path / "disk")
    assert [image.roles for image in source.images] == [("nucleus", "protein")]
    with pytest.raises(EmbstoreError, match="and no 561 that --channels names"):
        read_source(table, "manifest", None, channels="561=protein", source_root=tmp_path / "disk")


def test_a_corrected_pixel_size_or_channel_order_makes_new_cells(tmp_path: Path) -> None:
    """The pixels are the same and mean something else now: the image gets a new revision, never the old cells."""
    save_tiff(tmp_path / "x.tif", draw_field(1))
    header = ("file", "channels", "pixel_size_um")
    for line in (
        ["x.tif", "nucleus;protein", "0.2"],
        ["x.tif", "nucleus;protein", "0.25"],
        ["x.tif", "nucleus;er", ".25"],
    ):
        report = take(tmp_path / "store", write_manifest(tmp_path / "m.csv", [line], header))
        assert report.images_in == 1
    images = rows(Store.open(tmp_path / "store"), "SELECT revision, pixel_size_um, roles FROM images ORDER BY revision")
    assert [tuple(row.values()) for row in images] == [
        (1, 0.2, ["nucleus", "protein"]),
        (2, 0.25, ["nucleus", "protein"]),
        (3, 0.25, ["nucleus", "er"]),
    ]
    assert len(rows(Store.open(tmp_path / "store"), "SELECT * FROM cells")) == CELLS


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("gene", "well"), "wanted files in columns named by role"),
        (("nucleus", "file", "channels"), "wanted one file for each row, or for each role"),
        ((), "is empty"),
    ],
)
def test_a_table_that_is_no_manifest_is_refused(tmp_path: Path, header: tuple[str, ...], message: str) -> None:
    """One line names the columns that it has and those that were wanted."""
    path = write_manifest(tmp_path / "m.csv", [["x"] * len(header)], header) if header else tmp_path / "m.csv"
    path.touch()
    with pytest.raises(EmbstoreError, match=message):
        read_source(path, "manifest", None)
    with pytest.raises(EmbstoreError, match="is no manifest and contains none"):
        read_source(tmp_path, "manifest", None)


@pytest.mark.parametrize("text", ["nucleus,nucleus", "a=,b=c", "a=b,c", ","])
def test_channels_that_cannot_be_meant_are_refused(text: str) -> None:
    """Roles stand once each, all by position or all by name."""
    with pytest.raises(EmbstoreError, match="wanted each role once"):
        parse_channels(text)


def test_real_fields_go_in_through_a_manifest(tmp_path: Path, samples: Path) -> None:
    """CellProfiler's and scPortrait's example fields, from a table beside neither of them, are found and segmented."""
    lines = [
        ["eh", *(f"other/examplehuman_3ch/AS_09125_050116030001_D03f00d{i}.tif" for i in (0, 1)), ""],
        ["sp", *(f"other/scportrait_ex2_3ch/ch{i}.tif" for i in (1, 2, 3))],
    ]
    table = write_manifest(tmp_path / "m.csv", lines, ("key", "nucleus", "protein", "membrane"))
    report = take(tmp_path / "store", table, source_root=samples)
    assert (report.images_in, report.failures, report.empty) == (2, [], {})
    assert report.cells_in > 100
