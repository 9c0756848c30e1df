"""Composite pictures beside the files of their channels: told by names, never against a field of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.errors import EmbstoreError
from embstore.sources.detect import detect
from embstore.sources.layouts import read_source


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("files", "composites"),
    [
        (("a_dapi.tif", "a_gfp.tif", "a_dapi_gfp.tif"), ["a_dapi_gfp.tif"]),
        (("a_dapi.tif", "a_gfp.tif", "a_merge_dapi.tif"), []),
        (("x_gfp_dapi.tif", "x_gfp_gfp.tif"), []),  # a field called x_gfp
        (("x_gfp_dapi.tif",), []),  # the same, of one channel
        (("a_red_green_gfp.tif", "a_dapi.tif"), ["a_red_green_gfp.tif"]),
    ],
)
def test_a_lone_file_of_several_channels_is_a_composite(
    tmp_path: Path, files: tuple[str, ...], composites: list[str]
) -> None:
    """It has the ending of another channel behind the key of a field that is here, or of a colour."""
    source = read_source(touch(tmp_path, *files), "fields", None, channels="_dapi=nucleus,_gfp=protein", whole=True)
    taken = {file for image in source.images for file in image.files}
    assert sorted({*files} - taken) == composites
    assert any("composite pictures" in note for note in source.notes) is bool(composites)


@pytest.mark.parametrize("word", ["merge", "Merged", "overlay", "composite", "RGB", "color"])
def test_a_name_that_says_composite_is_left_out_of_every_file(tmp_path: Path, word: str) -> None:
    """`*=nucleus` takes every file but these; an ending that asks for them has them."""
    touch(tmp_path, "a.tif", f"a_{word}.tif")
    source = read_source(tmp_path, "fields", None, channels="*=nucleus")
    assert [image.files for image in source.images] == [("a.tif",)]
    assert f"composite pictures of several channels, left out: 1 (a_{word}.tif)" in source.notes
    asked = read_source(tmp_path, "fields", None, channels=f"_{word}=nucleus")
    assert [image.files for image in asked.images] == [(f"a_{word}.tif",)]


def test_a_folder_of_no_layout_is_described(tmp_path: Path) -> None:
    """The message counts suffixes, gives an example, and names the layout that repeated endings point to."""
    touch(tmp_path, "a_d0.tif", "a_d1.tif", "b_d0.tif", "b_d1.tif", "notes.txt")
    with pytest.raises(
        EmbstoreError, match=r"4 \.tif, 1 \.txt, such as a_d0\.tif.*fields --channels _d0=ROLE,_d1=ROLE"
    ):
        detect(tmp_path)


def test_vendor_files_beside_images_are_reported(tmp_path: Path) -> None:
    """What is not read is reported."""
    source = read_source(touch(tmp_path, "a_dapi.tif", "b.nd2"), "fields", None, channels="_dapi=nucleus")
    assert any("1 files in microscopes' own formats (.nd2), which are not read" in note for note in source.notes)
