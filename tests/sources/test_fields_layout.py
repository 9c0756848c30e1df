"""The fields layout: a file for each channel, told by how the files' names end."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_fields import CELLS, draw_field, save_tiff

from embstore.errors import EmbstoreError
from embstore.ingest import ingest
from embstore.sources.layouts import read_source
from embstore.sources.record import Source
from embstore.store import Store, rows

ENDINGS = "_dapi=nucleus,_gfp=protein"


def read(folder: Path, channels: str = ENDINGS) -> Source:
    return read_source(folder, "fields", None, channels=channels)


def write(folder: Path, *names: str) -> None:
    for name in names:
        save_tiff(folder / name, draw_field(1)[:1])


def test_files_of_one_beginning_are_one_field(tmp_path: Path) -> None:
    """Each ending shows its role, in any subfolder; the store has the fields under the beginning of their names."""
    for seed, field in enumerate(("p1/A1", "p2/A1")):
        for plane, ending in zip(draw_field(seed), ("_dapi", "_gfp"), strict=True):
            save_tiff(tmp_path / "in" / f"{field}{ending}.tif", plane, metadata={"axes": "YX"})
    labels = tmp_path / "labels.csv"
    labels.write_text("image_id,gene\np1/A1,ACTB\n")
    ask = {"layout": "fields", "dataset": "f", "backbones": ["pixel-stats"], "channels": ENDINGS}
    report = ingest(str(tmp_path / "store"), tmp_path / "in", labels=labels, **ask)
    assert (report.images_in, report.cells_in, report.failures) == (2, 2 * CELLS, [])
    result = rows(Store.open(tmp_path / "store"), "SELECT image_id, roles, genes FROM images ORDER BY image_id")
    assert result == [
        {"image_id": "f/p1/A1", "roles": ["nucleus", "protein"], "genes": ["ACTB"]},
        {"image_id": "f/p2/A1", "roles": ["nucleus", "protein"], "genes": []},
    ]


def test_a_star_stands_for_anything_and_stays_in_the_key(tmp_path: Path) -> None:
    """CellProfiler-like names with a site between channel and well: two sites of one well are two fields."""
    write(tmp_path, *(f"B7_{n}_{site}_{dye}.tif" for site in "23" for n, dye in enumerate(("DAPI", "GFP"), 1)))
    source = read(tmp_path, "_1_*_DAPI=nucleus,_2_*_GFP=protein")
    assert {image.key: image.files for image in source.images} == {
        f"B7_{site}": (f"B7_1_{site}_DAPI.tif", f"B7_2_{site}_GFP.tif") for site in "23"
    }


def test_files_named_by_their_channel_alone_are_the_field_of_their_folder(tmp_path: Path) -> None:
    """`<folder>/ch1.tif` shows the field <folder>, in the source itself and below it."""
    for folder in ("in", "in/B"):
        write(tmp_path / folder, "ch1.tif", "ch2.tif")
    assert [image.key for image in read(tmp_path / "in", "ch1=nucleus,ch2=protein").images] == ["B", "in"]


def test_other_files_are_left_out_and_noted(tmp_path: Path) -> None:
    """A picture with none of the endings is a note; a second file of one role, or no nucleus, is a failure."""
    write(tmp_path, "a_dapi.tif", "a_gfp.tif", "a_overview.tif", "a_gfp.png", "b_gfp.tif")
    source = read(tmp_path)
    assert [image.key for image in source.images] == ["a"]
    assert "left out, because their names end in none of _dapi, _gfp: 1 (a_overview.tif)" in source.notes
    errors = {Path(failure.source).name: failure.error for failure in source.failures}
    assert errors["a_gfp.tif"] == "a_gfp.png is the protein of a too"
    assert "no nucleus" in errors["b_gfp.tif"]


@pytest.mark.parametrize("channels", ["", "nucleus,protein"])
def test_endings_have_to_be_given(tmp_path: Path, channels: str) -> None:
    """Without them, or with roles by position, one line states what is wanted."""
    write(tmp_path, "a_dapi.tif")
    with pytest.raises(EmbstoreError, match="--channels _dapi=nucleus"):
        read(tmp_path, channels)
