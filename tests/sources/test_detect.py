"""The layout that names prove, and an error that asks where they don't."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import opencell_path, save_tiff, write_hpa

from embstore.errors import EmbstoreError
from embstore.sources.detect import detect

DOT = np.zeros((4, 4), np.uint8)


def test_published_names_prove_a_layout(tmp_path: Path) -> None:
    """OC-FOV names, HPA's own field names, a manifest, OME suffixes: each determines its layout, with the reason."""
    save_tiff(opencell_path(tmp_path / "oc", 1), DOT, metadata={})
    write_hpa(tmp_path / "hpa", "57_F11_1", 1, ("blue",))
    save_tiff(tmp_path / "tif" / "a.ome.tif", DOT, metadata={})
    save_tiff(tmp_path / "m" / "a.tif", DOT, metadata={})
    (tmp_path / "m" / "manifest.csv").write_text("nucleus\na.tif\n")
    (tmp_path / "z" / "a.zarr").mkdir(parents=True)
    for folder, layout, why in (
        ("oc", "opencell", "1 OC-FOV names"),
        ("hpa", "hpa", "1 HPA names"),
        ("tif", "ome", "1 OME-TIFFs"),
        ("m", "manifest", "it contains manifest.csv"),
        ("z", "ome", "it is, or contains, OME-Zarr"),
    ):
        assert detect(tmp_path / folder) == (layout, why)


def test_columns_prove_what_a_table_is(tmp_path: Path) -> None:
    """Columns of files make a manifest, SubCell's make crops; packed with gzip or not."""
    path = tmp_path / "t.csv.gz"
    for header, row, layout in (
        ("nucleus,protein,gene", "a,b,c", "manifest"),
        ("nucleus;protein;gene", "a;b;c", "manifest"),
        ("dapi_file,gene", "a.tif,c", "manifest"),
        ("r_image,y_image,b_image,g_image,output_prefix", "a,b,c,d,e", "crops"),
        ("#r_image,y_image,b_image,g_image,output_prefix", "a,b,c,d,e", "crops"),
        ("protein,x,y", "plate1/a,1.5,2", "manifest"),
    ):
        for write in (path.write_bytes, lambda data: path.write_bytes(gzip.compress(data))):
            write(f"{header}\n{row}\n".encode())
            assert detect(path)[0] == layout, header


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.csv", "gene,x,y,z\nA,1.5,nan,2\n"), ("t.csv", "protein,x,y\nP12814,1.5,2\n"), ("v.npz", ""), ("v.h5ad", "")],
)
def test_embeddings_are_no_layout_of_images(tmp_path: Path, name: str, text: str) -> None:
    """The error names the command that imports the file."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(EmbstoreError, match=f"embeddings are imported: embstore import {path} --dataset NAME"):
        detect(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            "image_id,gene\na,b\n",
            "has the columns image_id, gene, whose first row names no image",
        ),
        ("t.csv", "r.tif,,b.tif,g.tif,out\n", "has no header line, its first line names files; wanted one that names"),
        ("t.xls", "x", "is a workbook that is not read; save it as .xlsx, or its sheet as CSV"),
        ("t.csv", "PK\x03\x04", "contains a workbook or another archive; call it .xlsx, or save it as CSV"),
        ("t.csv", "\n", "is empty; wanted a CSV with a header line"),
    ],
)
def test_a_table_that_proves_nothing_is_asked_about(tmp_path: Path, name: str, text: str, message: str) -> None:
    """One line states what it has and how it may be given; it is not read as vectors."""
    (tmp_path / name).write_text(text)
    with pytest.raises(EmbstoreError, match=message):
        detect(tmp_path / name)


def test_names_that_prove_nothing_or_two_things_are_asked_about(tmp_path: Path) -> None:
    """The error states what was seen and lists the layouts."""
    save_tiff(tmp_path / "a.tif", DOT, metadata={})
    with pytest.raises(EmbstoreError, match="1 images whose names show no layout; choose how to read it: --layout"):
        detect(tmp_path)
    save_tiff(opencell_path(tmp_path, 1), DOT, metadata={})
    write_hpa(tmp_path, "57_F11_1", 1, ("blue",))
    with pytest.raises(EmbstoreError, match="1 OC-FOV names and 1 HPA names"):
        detect(tmp_path)
