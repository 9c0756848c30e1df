"""Files of embeddings as people really have them: the right values are imported, or one line states why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from case_files import CASES, needs_cases

from embstore.errors import EmbstoreError
from embstore.ingest import Report, import_embeddings
from embstore.search import similar_proteins
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import read_vectors
from embstore.store import Store, rows

pytestmark = needs_cases
INDEX = "09-pandas-index-column"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def bring(store: Store, name: str, **choices: Any) -> Report:
    return import_embeddings(store, CASES / name, dataset="d", backbone="b", **choices)


def vectors_of(store: Store, ids: list[str]) -> np.ndarray:
    (space,) = rows(store, "SELECT digest FROM spaces")
    return store.matrix(space["digest"], [f"d/{name}" for name in ids])


@pytest.mark.parametrize("name", ["profiles.csv", "profiles.parquet", "reset.csv"])
def test_09_the_index_is_no_feature(store: Store, name: str) -> None:
    """Four features of 60 rows, as pandas itself reads them; the report lists them, in a dry run too."""
    notes = ["features: 4 columns, 'f0' to 'f3'"]
    dry = bring(store, f"{INDEX}/{name}", gene_column="gene", dry_run=True)
    report = bring(store, f"{INDEX}/{name}", gene_column="gene")
    assert dry.notes == report.notes
    assert report.notes[:1] == notes
    assert report.notes[1].endswith("(an index)")
    table = pd.read_csv(CASES / INDEX / "profiles.csv")
    features = table[["f0", "f1", "f2", "f3"]].to_numpy(np.float32)
    np.testing.assert_allclose(vectors_of(store, [f"gene:{gene}" for gene in table["gene"]]), features, rtol=1e-6)
    assert max(row.similarity for row in similar_proteins(store, "G7").rows) < 0.95


def test_10_genes_of_a_spreadsheet_are_noted(store: Store) -> None:
    """Four of six, and DEC1 is none of them."""
    report = bring(store, "10-excel-date-genes/profiles.csv", embeddings="v*", gene_column="gene")
    (note,) = (note for note in report.notes if "spreadsheet" in note)
    assert note.startswith("4 gene names look as if a spreadsheet had changed them (2-Sep: SEPTIN2, 1-Mar: MARCHF1 or ")
    assert "DEC1" not in note


@pytest.mark.parametrize(("name", "value"), [("p", "-1 for Golgi"), ("nan", "nan for Golgi"), ("soft", "0.97")])
def test_11_multi_hot_labels_are_0_or_1(store: Store, name: str, value: str) -> None:
    """Unknown and probable are no positives: the value is named, and nothing is written."""
    with pytest.raises(EmbstoreError, match=f"labels is {value}.* in row 1"):
        bring(
            store,
            f"11-multihot-unknown-minus-one/{name}.npz",
            embeddings="features",
            gene_column="gene",
            label_column="labels",
        )
    assert rows(store, "SELECT * FROM profiles") == []


def test_17_a_pickled_member_does_not_condemn_the_file(store: Store) -> None:
    """DeepProfiler's features go in; its pickle is refused only where it is asked for."""
    path = "17-deepprofiler-npz-object-metadata/B02_1.npz"
    assert bring(store, path, embeddings="features").vectors_in == {"b": 8}
    with np.load(CASES / path) as data:
        np.testing.assert_array_equal(
            vectors_of(store, [f"B02_1.npz:{i}" for i in range(8)]), data["features"].astype(np.float32)
        )
    with pytest.raises(EmbstoreError, match="metadata is a pickle"):
        bring(store, path, embeddings="features", id_column="metadata")


def test_38_a_folder_of_npy_is_one_vector_a_file(store: Store, tmp_path: Path) -> None:
    """Keyed by the names of the files."""
    folder = CASES / "38-folder-of-npy"
    bring(store, folder.name)
    files = sorted(folder.glob("*.npy"))
    result = vectors_of(store, [file.stem for file in files])
    np.testing.assert_array_equal(result, np.stack([np.load(file).ravel() for file in files]).astype(np.float32))
    np.save(tmp_path / "a.npy", np.ones(3))
    np.save(tmp_path / "b.npy", np.ones(4))
    with pytest.raises(EmbstoreError, match=r"b\.npy has 4 numbers and a\.npy has 3"):
        read_vectors(tmp_path, Columns())


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors_text.csv"])
def test_07_lists_of_labels_are_their_items(store: Store, name: str) -> None:
    """A list column, and the text that Python prints of a list."""
    bring(
        store,
        f"07-parquet-list-labels/{name}",
        embeddings="v*",
        id_column="ensg_id",
        gene_column="gene",
        label_column="locations",
    )
    assert {row["location"] for row in rows(store, "SELECT location FROM labels")} == {
        "Cytosol",
        "Actin filaments",
        "Nuclear membrane",
    }


def test_08_missing_is_missing_in_every_spelling(store: Store) -> None:
    """Rows named nan and None name no protein; nan is no location."""
    columns = {"id_column": "ensg_id", "gene_column": "gene", "label_column": "location"}
    report = bring(store, "08-nan-strings/profiles.csv", embeddings="v*", **columns)
    assert report.vectors_in == {"b": 2}
    assert "location: 3 values mean a missing one (nan: 2, None: 1)" in report.notes
    assert [failure.source.rpartition(":")[2] for failure in report.failures] == ["3", "4", "6"]
    assert {row["location"] for row in rows(store, "SELECT location FROM labels")} == {"Cytosol"}


def test_30_a_zero_vector_is_similar_to_nothing(store: Store) -> None:
    """No NaN, and the order is sound, centred or not."""
    bring(store, "30-zero-vectors/p.csv", embeddings="v*", gene_column="gene")
    for centre, expected in ((False, 0.994), (True, 0.993)):
        answer = similar_proteins(store, "A1", centre=centre)
        result = [(row.gene, round(row.similarity, 3)) for row in answer.rows]
        assert result[0] == ("C1", expected)
        assert 0 in [similarity for _, similarity in result[1:]]
        assert np.isfinite([similarity for _, similarity in result]).all()


def test_31_line_ends_of_old_macs_are_read(store: Store) -> None:
    """CR alone ends a line."""
    bring(store, "31-csv-as-excel-writes-it/vec_cr_only.csv", gene_column="gene", label_column="location")
    np.testing.assert_allclose(vectors_of(store, ["gene:A1", "gene:B1"]), [[0.1, 0.2], [0.3, 0.1]])


def test_31_decimal_commas_are_recognised_from_more_than_two_lines(store: Store) -> None:
    """0,5 is a half; a file with marks of thousands too is refused in one line."""
    bring(store, "31-csv-as-excel-writes-it/vec_decimal.csv", gene_column="gene")
    wanted = [[0, 1, 0], [0.5, 1.25, 0.1], [0.25, 0.75, 0.3]]
    np.testing.assert_allclose(vectors_of(store, ["gene:A1", "gene:B1", "gene:C1"]), wanted, rtol=1e-6)
    with pytest.raises(EmbstoreError, match=r"column 'a' contains text such as '1\.234,5'"):
        bring(store, "31-csv-as-excel-writes-it/vec_thousands.csv", gene_column="gene")


# -- the same kinds, other files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "left"),
    [
        ("Metadata_Plate Metadata_Well_Num f0 f1", "f0 f1"),
        ("ImageNumber ObjectNumber AreaShape_Area Intensity_Mean", "AreaShape_Area Intensity_Mean"),
        (
            "Image_Metadata_Site Cells_Parent_Cell Cells_Number_Object_Number Cells_AreaShape_Area Cells_ObjectNumber",
            "Cells_AreaShape_Area",
        ),
        ("Cell_index x y centroid-0 centroid_y bbox-3 z1 x10 emb_3", "z1 x10 emb_3"),
        ("index level_0 plate site V1 V2", "V1 V2"),
        ("x y", "x y"),
        ("rownames y x 3", "3"),
    ],
)
def test_bookkeeping_is_no_feature(tmp_path: Path, columns: str, left: str) -> None:
    """What tools write beside measurements is left out; numbered features and lone coordinates are not."""
    names = columns.split()
    values = np.random.default_rng(0).normal(size=(6, len(names)))
    pq.write_table(pa.table({name: values[:, i] for i, name in enumerate(names)}), tmp_path / "v.parquet")
    result = read_vectors(tmp_path / "v.parquet", Columns())
    assert result.columns == tuple(left.split())
    np.testing.assert_array_equal(
        result.vectors, values[:, [names.index(name) for name in left.split()]].astype(np.float32)
    )


def test_a_first_column_that_counts_the_rows_is_no_feature(tmp_path: Path) -> None:
    """Whatever it is called; a pattern that names it takes it."""
    path = tmp_path / "v.csv"
    path.write_text("X,a,b\n" + "".join(f"{i + 1},{i / 3},{i * i}\n" for i in range(8)))
    assert read_vectors(path, Columns()).columns == ("a", "b")
    assert read_vectors(path, Columns("X,a")).columns == ("X", "a")
