"""Which proteins, images and cells the rows of a label table mean."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import add_labels
from embstore.sources.layouts import read_source
from embstore.store import TABLES, Store, rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three images of two cells in two folders, one crop; three proteins, of which two are called ACTB."""
    store = Store.open(tmp_path_factory.mktemp("joins") / "store", create=True)
    images = {"a/f1": ["gene:X"], "b/f1": ["ensembl:E1"], "b/f2": ["uniprot:P1"], "crop": []}
    put(store, "images", [image(key, proteins) for key, proteins in images.items()])
    put(store, "cells", [cell(key, n) for key in images for n in range(1, 2 if key == "crop" else 3)])
    genes = {"gene:X": "X", "ensembl:E1": "ACTB", "uniprot:P1": "ACTB"}
    put(store, "proteins", [{"protein_id": p, "gene": g, "group_id": p} for p, g in genes.items()])
    return store


def put(store: Store, table: str, records: list[dict[str, object]]) -> None:
    store.upsert(table, pa.Table.from_pylist(records, TABLES[table].schema))


def image(key: str, proteins: list[str]) -> dict[str, object]:
    return {
        "image_id": f"d/{key}",
        "revision": 1,
        "dataset": "d",
        "segmentation": "s",
        "protein_ids": proteins,
        "genes": [],
    }


def cell(key: str, label: int) -> dict[str, object]:
    return {"cell_id": f"d/{key}:s:{label}", "image_id": f"d/{key}", "segmentation": "s", "label": label}


def labelled(store: Store, tmp_path: Path, text: str, scheme: str, level: str | None = None) -> tuple[set[str], str]:
    """Return the subjects that a table labels, and its notes."""
    (tmp_path / "t.csv").write_text(text)
    added = add_labels(store, tmp_path / "t.csv", dataset="d", scheme=scheme, level=level)
    named = rows(store, "SELECT subject_id FROM labels WHERE label_set = $s ORDER BY ALL", {"s": f"d/{scheme}"})
    return {row["subject_id"].removeprefix("d/") for row in named}, "\n".join(added.notes)


def test_a_gene_of_several_proteins_labels_each_and_says_so(store: Store, tmp_path: Path) -> None:
    """Both proteins called ACTB get the location of the gene's row; a row by id means that protein alone."""
    subjects, notes = labelled(store, tmp_path, "gene,locations\nACTB,er\n", "by-gene")
    assert subjects == {"ensembl:E1", "uniprot:P1"}
    assert "genes of several proteins of d, each of which was labelled: 1 (ACTB: ensembl:E1, uniprot:P1)" in notes
    assert labelled(store, tmp_path, "uniprot_id,gene,locations\nP1,ACTB,er\n", "by-id")[0] >= {"ensembl:E1"}


def test_a_name_that_fits_several_images_labels_none_and_says_so(store: Store, tmp_path: Path) -> None:
    """f1 lies in two folders: no image gets its label; a name that only one image has, and a whole key, join."""
    subjects, notes = labelled(store, tmp_path, "image_id,label\nf1,er\nf2,golgi\n", "names")
    assert subjects == {"b/f2"}
    assert "names that match several images of d, so that none of these has a row: 1 (f1: a/f1, b/f1); give" in notes
    assert labelled(store, tmp_path, "image_id,label\nf1,er\na/f1,er\n", "keys")[0] == {"a/f1"}


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("image_id,Cell_index,location\nf2,2,er\n", {"b/f2:s:2"}),
        ("image,ObjectNumber,label\nb/f2,2.0,er\nf2,9,er\n", {"b/f2:s:2"}),
        ("ID,Cell_index,Label\nf2,1,er\n", {"b/f2:s:1"}),
        ("image_id,cell_id,location\nF2,2,er\n", {"b/f2:s:2"}),
        ("image_id,label,location\na/f1,1,er\n", {"a/f1:s:1"}),
        ("image_id,cell_id,location\nf2,d/a/f1:s:1,er\n", {"a/f1:s:1"}),
        ("cell_id,location\na/f1:2,er\n", {"a/f1:s:2"}),
        ("cell,location\ncrop,er\n", {"crop:s:1"}),
    ],
)
def test_an_image_and_a_mask_label_name_a_cell(store: Store, tmp_path: Path, text: str, subjects: set[str]) -> None:
    """Under the column names that people use; cell_id still works, and a crop is its one cell."""
    assert labelled(store, tmp_path, text, f"cells{hash(text)}", "cell")[0] == subjects


def test_cells_are_meant_where_a_column_counts_them(store: Store, tmp_path: Path) -> None:
    """Without --level, an image and a label in its mask are a cell."""
    assert labelled(store, tmp_path, "image_id,Cell_index,location\nf2,1,er\n", "guessed")[0] == {"b/f2:s:1"}
    assert labelled(store, tmp_path, "image_id,object_id,location\nf2,left,er\n", "text")[0] == {"b/f2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image_id,Cell_index,location\nf2,0,er\nf2,1,er\n",
            r"line 2: Cell_index is '0'; wanted .* a whole number from 1",
        ),
        ("image_id,Cell_index,location\nf2,one,er\n", "line 2: Cell_index is 'one'"),
        ("image_id,location\nf2,er\n", "wanted cell_id, or image_id and Cell_index"),
        ("image_id,Cell_index,location\nf1,1,er\n", "names no cell of the dataset 'd'"),
    ],
)
def test_cells_that_are_not_certain_are_refused(store: Store, tmp_path: Path, text: str, message: str) -> None:
    """Labels counted from 0 would each mean the cell before; a name of two images means no cell."""
    with pytest.raises(EmbstoreError, match=message):
        labelled(store, tmp_path, text, "refused", "cell")


def test_a_name_of_two_images_describes_neither_at_ingest(tmp_path: Path) -> None:
    """In the layouts fields and hpa, a row named f1 is of neither a/f1 nor b/f1, and a note names both."""
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for name in ("f1_d.tif", "f1_g.tif", "f1_blue.png", "f1_green.png"):
            (tmp_path / "in" / folder / name).touch()
    (tmp_path / "t.csv").write_text("image_id,gene,locations\nf1,G1,er\n")
    (tmp_path / "kaggle.csv").write_text("ID,Label\nf1,0\n")
    for layout, table, channels in (("fields", "t.csv", "_d=nucleus,_g=protein"), ("hpa", "kaggle.csv", "")):
        source = read_source(tmp_path / "in", layout, tmp_path / table, channels=channels)
        assert [image.genes for image in source.images] == [(), ()]
        assert source.labels == ()
        assert any("f1: a/f1, b/f1" in note for note in source.notes)


def test_labels_of_cells_are_not_taken_for_their_images_at_ingest(tmp_path: Path) -> None:
    """Two cells of one image: the error names the command that labels them once the image is in."""
    for name in ("f1_d.tif", "f1_g.tif", "f1_blue.png", "f1_green.png"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("image_id,Cell_index,location\nf1,1,er\nf1,2,golgi\n")
    for layout, channels in (("fields", "_d=nucleus,_g=protein"), ("hpa", "")):
        with pytest.raises(EmbstoreError, match=r"t.csv labels cells.*embstore labels add .*t.csv --level cell"):
            read_source(tmp_path, layout, tmp_path / "t.csv", channels=channels)


def test_a_gene_of_two_targets_labels_no_image_by_its_gene(tmp_path: Path) -> None:
    """OpenCell images join by gene where their Ensembl id is unknown: of two targets of that gene neither is taken."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "OC-FOV_G1_ENSG00000000009_CID000001_FID00000001_proj.tif").touch()
    flat = "ensg_id,target_name,annotation_name,annotation_grade\nENSG00000000001,G1,er,3\n"
    for more, how in (
        ("", "gene: 1"),
        ("ENSG00000000002,G1,golgi,3\n", "nothing, as several targets have the gene: 1"),
    ):
        (tmp_path / "t.csv").write_text(flat + more)
        assert f"labels joined by {how}" in read_source(tmp_path / "in", "opencell", tmp_path / "t.csv").notes
