"""Inputs that people really have, with masks, composites and files of other tools: `../shared/cases`."""

from __future__ import annotations

from pathlib import Path

import pytest
from case_files import CASES, needs_cases

from embstore.errors import EmbstoreError
from embstore.ingest import Report, ingest
from embstore.sources.detect import detect
from embstore.sources.layouts import read_source
from embstore.store import Store, rows

pytestmark = needs_cases


def take(store: Path, source: str, layout: str = "opencell", **choices: object) -> Report:
    if isinstance(masks := choices.pop("masks", None), str):
        choices["masks"] = CASES / masks
    return ingest(str(store), CASES / source, layout=layout, dataset="c", backbones=["pixel-stats"], **choices)


def areas(store: Path) -> list[float]:
    return [row["a"] for row in rows(Store.open(store), "SELECT nucleus_area_um2 a FROM cells ORDER BY label")]


@pytest.mark.parametrize("masks", ["masks", "masks_renamed"])
def test_05_a_class_map_of_ilastik_is_refused(tmp_path: Path, masks: str) -> None:
    """Under ilastik's own name or another, one line names the background and the export that is wanted."""
    report = take(
        tmp_path, "05-ilastik-simple-segmentation/f1.tif", masks=f"05-ilastik-simple-segmentation/{masks}",
        pixel_size_um=0.4,
    )  # fmt: skip
    (failure,) = report.failures
    assert "no background (0), and label 2 on 100% of the border" in failure.error
    assert "Object Identities" in failure.todo


def test_02_a_mask_of_bits_is_white_where_the_file_says_white(tmp_path: Path) -> None:
    """Photometric interpretation 0: the object is where the bits are 0."""
    bits = "02-tiff-whiteiszero/bilevel"
    assert take(tmp_path, "02-tiff-whiteiszero/g1.tif", masks=bits, pixel_size_um=0.4).failures == []
    assert areas(tmp_path) == pytest.approx([69.92])


def test_26_labels_keep_their_numbers(tmp_path: Path) -> None:
    """Float labels beyond 65535 are cells under these numbers; a cell of one pixel is one too."""
    take(tmp_path, "26-mask-label-ids/f1.tif", masks="26-mask-label-ids/masks", pixel_size_um=0.4)
    labels = [row["label"] for row in rows(Store.open(tmp_path), "SELECT label FROM cells ORDER BY label")]
    assert labels == [70001, 70002, 70003, 70004, 70099]
    assert areas(tmp_path)[-1] == pytest.approx(0.16)


def test_26_the_message_names_minus_one(tmp_path: Path) -> None:
    """-1 outside is refused, and the line says so."""
    (failure,) = take(tmp_path, "26-mask-label-ids/f1.tif", masks="26-mask-label-ids/minus").failures
    assert "has values that are not labels (-1)" in failure.error
    assert failure.todo == "-1 outside? save 0"


def test_26_a_pickle_of_cellpose_is_named_and_not_loaded(tmp_path: Path) -> None:
    """The message states what f1_seg.npy is and how to export masks."""
    (failure,) = take(tmp_path, "26-mask-label-ids/f1.tif", masks="26-mask-label-ids/seg").failures
    assert failure.todo.startswith("f1_seg.npy is Cellpose's pickle, which is never loaded: save its masks")


def test_33_vendor_files_are_named_with_what_converts_them() -> None:
    """With and without a layout: how many, their suffixes, and the tools."""
    message = (
        r"3 files in microscopes' own formats \(\.czi, \.lif, \.nd2\), which are not read: convert them to OME-TIFF"
    )
    with pytest.raises(EmbstoreError, match=message):
        detect(CASES / "33-vendor-files")
    with pytest.raises(EmbstoreError, match=message):
        read_source(CASES / "33-vendor-files", "fields", None, channels="_d=nucleus")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("layout", "channels"),
    [("hpa", ""), ("fields", "_blue=nucleus,_green=protein,_red=microtubules"), ("crops", "")],
)
def test_21_a_composite_is_left_out_and_noted(layout: str, channels: str, whole: bool) -> None:
    """HPA's `_blue_red_green.jpg` is no image, whatever the unit and the layout."""
    source = read_source(CASES / "21-hpa-composite-jpg", layout, None, channels=channels, whole=whole)
    assert [image.key for image in source.images] == ["921_B9_1"]
    assert source.failures == ()
    assert "composite pictures of several channels, left out: 1 (921_B9_1_blue_red_green.jpg)" in source.notes
