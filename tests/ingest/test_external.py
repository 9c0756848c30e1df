"""External embeddings: a file's rows become profiles, exactly once, and unusable rows are reported one by one."""

from __future__ import annotations

import csv
import gzip
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import Report, import_embeddings
from embstore.search import similar_proteins
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import read_vectors
from embstore.store import Store, rows

COLUMNS = Columns("X", "id", "gene", "label")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def save(path: Path, n: int = 4, **changed: Any) -> Path:
    """Write an npz of n proteins x 3 numbers with ids, genes and `;`-joined labels."""
    rng = np.random.default_rng(0)
    arrays = {
        "X": rng.normal(size=(n, 3)),
        "id": np.array([f"ENSG{i:011d}" for i in range(n)]),
        "gene": np.array([f"G{i}" for i in range(n)]),
        "label": np.array([["er", "Golgi, cis;er", "unknown", ""][i % 4] for i in range(n)]),
    }
    np.savez(path, **arrays | changed)
    return path


def bring(store: Store, path: Path, columns: Columns = COLUMNS, **choices: Any) -> Report:
    return import_embeddings(
        store,
        path,
        embeddings=columns.embeddings,
        id_column=columns.identifier,
        gene_column=columns.gene,
        label_column=columns.label,
        unlabelled=columns.unlabelled,
        header=columns.header,
        table=columns.table,
        **{"dataset": "mine", "backbone": "theirs"} | choices,
    )


def space_of(store: Store, backbone: str = "theirs") -> dict[str, Any]:
    (space,) = rows(store, "SELECT * FROM spaces WHERE backbone = ?", [backbone])
    return space


# -- real files ------------------------------------------------------------------------------------------------------


def test_hpa_features_go_in_as_they_are(store: Store, samples: Path) -> None:
    """1132 proteins x 686 features in float32, beyond float16 too, under Ensembl ids, in 7 classes."""
    path = samples / "embeddings" / "hpa_if_protein_slf686.npz"
    report = bring(store, path, Columns("features", "ensg_id", "gene", "labels"), dataset="slf", backbone="slf686")
    assert (report.images, report.vectors_in, report.failures) == (1132, {"slf686": 1132}, [])
    space = space_of(store, "slf686")
    assert (space["dim"], space["unit"], space["precision"], space["strategy"]) == (
        686,
        "protein",
        "float32",
        "brought",
    )
    with np.load(path) as data:  # twin: straight from the file
        features, hot, names = data["features"], data["labels"], data["label_names"]
        ids, genes = data["ensg_id"].astype(str), data["gene"].astype(str)
    result = store.matrix(space["digest"], [f"slf/{i}" for i in ids])
    np.testing.assert_array_equal(result, features.astype(np.float32))
    assert result.max() > 100_000
    labels = {
        (r["subject_id"], r["location"]) for r in rows(store, "SELECT * FROM labels WHERE label_set = 'slf/labels'")
    }
    assert labels == {(f"ensembl:{ids[i]}", str(names[j])) for i, j in zip(*np.nonzero(hot), strict=True)}
    stored = {r["profile_id"]: r["genes"] for r in store.read("profiles").to_pylist()}
    assert stored == {f"slf/{i}": [g] for i, g in zip(ids, genes, strict=True)}

    versions = store.versions()
    again = bring(store, path, Columns("features", "ensg_id", "gene", "labels"), dataset="slf", backbone="slf686")
    assert (again.done_before, again.vectors_in) == (1132, {})
    assert store.versions() == versions


def test_spatial_proteomics_without_an_id_goes_by_its_feature(store: Store, samples: Path) -> None:
    """406 of orre2019's proteins have no UniProt id and are known by gene; `unknown` is no label; commas survive."""
    path = samples / "embeddings" / "prolocdata" / "orre2019a431.csv.gz"
    with gzip.open(path, "rt") as file:
        table = list(csv.DictReader(file))
    vectors = [c for c in table[0] if c not in ("feature", "markers", "protein")]
    columns = Columns(",".join(vectors), "protein", "feature", "markers", "unknown")
    report = bring(store, path, columns, dataset="a431", backbone="orre")
    assert report.vectors_in == {"orre": len(table)}
    ids = [p for row in store.read("profiles").to_pylist() for p in row["protein_ids"]]
    assert sum(i.startswith("gene:") for i in ids) == sum(not r["protein"] for r in table) == 406
    assert sum(i.startswith("uniprot:") for i in ids) == len(table) - 406
    locations = {r["location"] for r in rows(store, "SELECT DISTINCT location FROM labels")}
    assert locations == {r["markers"] for r in table} - {"unknown"}
    assert any("," in location for location in locations)
    assert len(locations) == 15
    first = next(i for i, r in enumerate(table) if not r["protein"])
    key = f"a431/gene:{table[first]['feature']}"
    np.testing.assert_array_equal(
        store.matrix(space_of(store, "orre")["digest"], [key])[0],
        np.array([float(table[first][c]) for c in vectors], np.float32),
    )
    # several rows of one protein are distinguished, none is lost
    assert len(set(store.read("profiles")["profile_id"].to_pylist())) == len(table)


# -- reruns and changes ----------------------------------------------------------------------------------------------


def test_bad_rows_fail_and_the_rest_goes_in(store: Store, tmp_path: Path) -> None:
    """A missing number and a row that names no protein are failures with their row; corrected, they are imported."""
    X = np.arange(15.0).reshape(5, 3)
    X[1, 2], X[3, 0] = np.nan, np.inf
    names = {
        "id": np.array(["ENSG00000000001", "ENSG00000000002", "", "", ""]),
        "gene": np.array(["", "", "", "D", "E"]),
    }
    path = save(tmp_path / "v.npz", 5, X=X, **names)
    report = bring(store, path)
    assert report.vectors_in == {"theirs": 2}
    errors = {row["source"].rsplit(":", 1)[1]: row["error"] for row in rows(store, "SELECT * FROM failures")}
    assert errors.keys() == {"2", "3", "4"}
    assert errors["2"].startswith("the vector of ENSG00000000002 has 1 ")
    assert errors["3"] == "no protein id and no gene"
    assert errors["4"].startswith("the vector of D has 1 ")
    assert store.vectors(space_of(store)["digest"])[0] == ["mine/ENSG00000000001", "mine/gene:E"]

    X[1, 2] = 7
    save(path, 5, X=X, **names)
    report = bring(store, path)
    assert (report.vectors_in, report.done_before) == ({"theirs": 1}, 2)
    assert {row["source"].rsplit(":", 1)[1] for row in rows(store, "SELECT * FROM failures")} == {"3", "4"}


def test_a_changed_row_is_replaced(store: Store, tmp_path: Path) -> None:
    """A row whose vector, gene or label changed gets the new one; nothing else is written anew."""
    path = save(tmp_path / "v.npz")
    columns = Columns("X", "id", "gene", "label", "unknown")
    bring(store, path, columns)
    with np.load(path) as data:
        arrays = dict(data)
    arrays["X"][2] += 1
    arrays["gene"][0] = "Z"
    arrays["label"][1] = "er"
    arrays["label"][0] = "unknown"  # its only label is taken back
    np.savez(path, **arrays)
    report = bring(store, path, columns)
    assert (report.vectors_in, report.done_before) == ({"theirs": 1}, 3)
    result = store.matrix(space_of(store)["digest"], [f"mine/ENSG{i:011d}" for i in range(4)])
    np.testing.assert_array_equal(result, arrays["X"].astype(np.float32))
    profiles = {row["row"]: row["genes"] for row in store.read("profiles").to_pylist()}
    assert profiles == {0: ["Z"], 1: ["G1"], 2: ["G2"], 3: ["G3"]}
    labels = {(row["subject_id"][-1], row["location"], row["revision"]) for row in rows(store, "SELECT * FROM labels")}
    assert labels == {("1", "er", 2)}
    versions = store.versions()
    assert bring(store, path, columns).vectors_in == {}
    assert store.versions() == versions


def test_several_rows_of_one_protein_are_kept_apart(store: Store, tmp_path: Path) -> None:
    """The second row of an id gets its number; both count as profiles of one protein in a search."""
    ids = np.array(["P12814", "P12814", "P35609-2", "O43707"])
    bring(store, save(tmp_path / "v.npz", id=ids, label=np.array([""] * 4)))
    assert store.read("profiles")["profile_id"].to_pylist() == [
        "mine/P12814",
        "mine/P12814#2",
        "mine/P35609-2",
        "mine/O43707",
    ]
    result = similar_proteins(store, "O43707")
    assert {row.protein_id: row.n_cells for row in result.rows} == {"uniprot:P12814": 2, "uniprot:P35609": 1}


def test_vectors_of_another_length_are_refused(store: Store, tmp_path: Path) -> None:
    """A name stands for one space: other lengths ask for another name, and nothing is written."""
    bring(store, save(tmp_path / "v.npz"))
    versions = store.versions()
    other = save(tmp_path / "w.npz", X=np.ones((4, 5)))
    with pytest.raises(EmbstoreError, match=r"theirs has vectors of 3 .* 5.*; .* another --backbone"):
        bring(store, other)
    assert store.versions() == versions
    bring(store, other, backbone="wider")
    assert {s["backbone"]: s["dim"] for s in rows(store, "SELECT * FROM spaces")} == {"theirs": 3, "wider": 5}


# -- files -----------------------------------------------------------------------------------------------------------


def test_pickles_are_never_read(tmp_path: Path) -> None:
    """Object arrays, bare pickles and npy files under an npz name are refused, and no code of theirs runs."""
    trap = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (trap,))

    objects = save(tmp_path / "objects.npz", id=np.array(["a", "b", "c", Bomb()], object))
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps({"X": Bomb()}))
    lone = tmp_path / "lone.npz"
    with lone.open("wb") as file:
        np.save(file, np.ones((2, 2)))
    for path in (objects, bare, lone):
        with pytest.raises(EmbstoreError, match="cannot be read as an npz without pickles"):
            read_vectors(path, COLUMNS)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("changed", "columns", "message"),
    [
        ({}, Columns("Y", "id"), r"has X \(4, 3\), id \(4,\), .*; wanted a 2-dimensional array 'Y'"),
        ({"X": np.ones(4)}, COLUMNS, "wanted a 2-dimensional array 'X'"),
        ({"X": np.full((4, 3), "a")}, COLUMNS, "X is <U1.*; wanted .*numbers"),
        ({"id": np.array(["a"])}, COLUMNS, "id has 1 rows and the vectors have 4"),
        ({"label": np.ones((4, 2))}, COLUMNS, "wanted a 1-dimensional array 'label_names'"),
        ({"label": np.ones((4, 2)), "label_names": np.array(["a"])}, COLUMNS, r"label is \(4, 2\); wanted \(4, 1\)"),
    ],
)
def test_an_npz_of_another_shape_is_refused(
    tmp_path: Path, changed: dict[str, Any], columns: Columns, message: str
) -> None:
    """The error states what the file contains and what was wanted."""
    with pytest.raises(EmbstoreError, match=message):
        read_vectors(save(tmp_path / "v.npz", **changed), columns)


def test_ids_may_be_bytes_and_numbers_may_overflow(tmp_path: Path) -> None:
    """Names saved as bytes are read as text; what float32 cannot represent is infinite, which is refused by row."""
    embeddings = read_vectors(
        save(tmp_path / "v.npz", id=np.array([b"a", b"b", b"c", b"d"]), X=np.full((4, 3), 1e300)), COLUMNS
    )
    assert embeddings.ids == ["a", "b", "c", "d"]
    assert np.isinf(embeddings.vectors).all()


def csv_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_csv_columns_are_chosen_by_pattern_and_names_stay_text(tmp_path: Path) -> None:
    """`F*,Q1` picks columns in file order; 007 and a date are names; a missing number is NaN."""
    text = "F2,protein,F10,Q1,note,gene\n1,007,2,16777217,x,2001-03-01\n3,NA,,5,y,true\n"
    embeddings = read_vectors(csv_file(tmp_path / "v.csv", text), Columns("F*,Q1", "protein", "gene"))
    assert (embeddings.ids, embeddings.genes) == (["007", ""], ["2001-03-01", "true"])
    np.testing.assert_array_equal(embeddings.vectors, np.array([[1, 2, 16777216], [3, np.nan, 5]], np.float32))


@pytest.mark.parametrize(
    ("text", "gene", "line"),
    [
        ("gene,x,y\nA,1,2\nB,,4\n", "gene", 3),
        ("A,1,2\nB,,4\n", "1", 2),  # without a header
        ("gene,x,y\n\n\nA,1,2\n\nB,,4\n", "gene", 6),
        ('gene,x,y\n"A\na",1,2\nB,,4\n', "gene", 4),
    ],
)
def test_a_bad_row_is_named_by_its_line(store: Store, tmp_path: Path, text: str, gene: str, line: int) -> None:
    """The line that an editor shows, also below blank lines and fields of two lines, packed or not."""
    for name, data in (("plain.csv", text.encode()), ("packed.csv", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        report = bring(store, tmp_path / name, Columns(gene=gene, header=gene != "1"), dry_run=True)
        assert [failure.source for failure in report.failures] == [f"{tmp_path / name}:{line}"]
        assert report.images_in == 1


def test_fields_may_be_separated_by_semicolons(tmp_path: Path) -> None:
    """As Excel writes a CSV in much of Europe; a semicolon within a field of a comma's file stays there."""
    result = read_vectors(csv_file(tmp_path / "v.csv", "gene;x;y\nA;1;2\n"), Columns(gene="gene"))
    np.testing.assert_array_equal(result.vectors, np.array([[1, 2]], np.float32))
    result = read_vectors(csv_file(tmp_path / "v.csv", "gene;x;y\nA;1,5;-2\n"), Columns(gene="gene"))
    np.testing.assert_array_equal(result.vectors, np.array([[1.5, -2]], np.float32))
    result = read_vectors(csv_file(tmp_path / "v.csv", "gene,loc,x\nA,er;golgi,1\n"), Columns(gene="gene", label="loc"))
    assert result.locations == [["er", "golgi"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"cannot be read as a CSV \(Empty CSV file\)"),
        ("id,f1\n", "no row below its header"),
        ("id,f1,f1\na,1,2\n", "the column 'f1' more than once"),
        ("id,f1,f2\na,1\n", "cannot be read as a CSV"),
        ("id,f1\na,b\n", "column 'f1' contains text such as 'b'; wanted numbers"),
        ("id,g1\na,1\n", r"no column matches 'f\*'; it has id, g1"),
        ("name,f1\na,1\n", "has no column 'id'; it has name, f1"),
        ("name,f1\na,b\n", "has no column 'id'; it has name, f1"),
    ],
)
def test_a_csv_without_usable_columns_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Empty, ragged, doubled, text where numbers are wanted, wrong names: each in one line."""
    with pytest.raises(EmbstoreError, match=message):
        read_vectors(csv_file(tmp_path / "v.csv", text), Columns("f*", "id"))


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    """A cut-off gzip, flipped bytes, another suffix and a missing file are one line each, never a traceback."""
    whole = save(tmp_path / "v.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:300])
    for at in range(40, len(whole), 101):  # damage anywhere: refused, or read where it did not matter
        (tmp_path / "flipped.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            read_vectors(tmp_path / "flipped.npz", COLUMNS)
        except EmbstoreError:
            continue
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"id,f1\n" + b"a,1\n" * 1000)[:-12])
    (tmp_path / "v.h5").write_bytes(b"x")
    for name, message in (
        ("cut.npz", "cannot be read as an npz"),
        ("cut.csv.gz", "cannot be read as a CSV"),
        ("v.h5", "is not a file of embeddings; wanted one of .csv, .csv.gz, .tsv, .tsv.gz, .parquet"),
        ("absent.npz", "there is no file"),
    ):
        with pytest.raises(EmbstoreError, match=message):
            read_vectors(tmp_path / name, COLUMNS)


# -- other files -----------------------------------------------------------------------------------------------------


def test_a_table_without_a_header_or_a_list_of_vectors(store: Store, samples: Path) -> None:
    """MuSIC's tables have no header: columns are called 1, 2, ...; every other column is the vector."""
    path = samples / "embeddings" / "music_toy" / "toy_IF_image_embedding.csv"
    columns = Columns(identifier="1", gene="2", header=False)
    report = bring(store, path, columns)
    assert (report.vectors_in, report.failures) == ({"theirs": 100}, [])
    with path.open(newline="") as file:
        (first, *_) = csv.reader(file)
    np.testing.assert_array_equal(
        store.matrix(space_of(store)["digest"], [f"mine/{first[0]}"])[0], np.array(first[2:], np.float32)
    )
    assert space_of(store)["dim"] == len(first) - 2
    assert rows(store, "SELECT genes, protein_ids FROM profiles WHERE profile_id = ?", [f"mine/{first[0]}"]) == [
        {"genes": [first[1]], "protein_ids": [f"gene:{first[1]}"]}
    ]


def test_rows_that_name_no_protein_go_in_by_their_number(store: Store, samples: Path) -> None:
    """DeepProfiler's and CellProfiler's cells have no protein: in the store, counted, and done on a rerun."""
    folder = samples / "embeddings"
    report = bring(store, folder / "deepprofiler_cells" / "Week1_22123_B02_s1.npz", Columns(), backbone="dp")
    assert (report.vectors_in, report.without_protein, report.failures) == ({"dp": 206}, 206, [])
    path, columns = folder / "examplehuman_cellprofiler" / "Cells.csv", Columns("AreaShape_*,Intensity_*")
    assert bring(store, path, columns, backbone="cp").vectors_in == {"cp": 289}
    assert bring(store, path, columns, backbone="cp").done_before == 289
    assert rows(store, "SELECT count(*) AS n FROM profiles WHERE len(protein_ids) = 0") == [{"n": 206 + 289}]
    assert rows(store, "SELECT profile_id AS p FROM profiles WHERE row = 7 ORDER BY p") == [
        {"p": "mine/Cells.csv:7"},
        {"p": "mine/Week1_22123_B02_s1.npz:7"},
    ]


def vectors_and_names() -> tuple[np.ndarray, dict[str, list[str]]]:
    X = np.arange(12, dtype=np.float32).reshape(4, 3)
    X[2, 1] = np.nan
    names = {"id": [f"ENSG{i:011d}" for i in range(4)], "gene": list("ABCD"), "label": ["er;golgi", "", "er", "x"]}
    return X, names


def check_imported(store: Store, path: Path, columns: Columns) -> None:
    X, names = vectors_and_names()
    dry = bring(store, path, columns, dry_run=True)
    assert (dry.images_in, len(dry.failures)) == (3, 1)
    assert rows(store, "SELECT * FROM spaces") == []
    report = bring(store, path, columns)
    assert report.vectors_in == {"theirs": 3}
    (failure,) = report.failures
    assert failure.source == f"{path}:3"  # counted from 1
    ids = [f"mine/{name}" for i, name in enumerate(names["id"]) if i != 2]
    np.testing.assert_array_equal(store.matrix(space_of(store)["digest"], ids), X[[0, 1, 3]])
    assert {row["location"] for row in rows(store, "SELECT location FROM labels")} == {"er", "golgi", "x"}
    assert bring(store, path, columns).done_before == 3


@pytest.mark.parametrize("beside", [None, "rows.csv"])
def test_npy_goes_with_the_table_beside_it(store: Store, tmp_path: Path, beside: str | None) -> None:
    """The table of the same name, or the one that is named, describes each row; a row with NaN fails alone."""
    X, names = vectors_and_names()
    np.save(tmp_path / "v.npy", X)
    columns = Columns(identifier="id", gene="gene", label="label", table=tmp_path / beside if beside else None)
    with pytest.raises(EmbstoreError, match="--table FILE"):
        bring(store, tmp_path / "v.npy", columns)
    with (tmp_path / (beside or "v.csv")).open("w", newline="") as file:
        csv.writer(file).writerows([list(names), *zip(*names.values(), strict=True)])
    check_imported(store, tmp_path / "v.npy", columns)
    np.save(tmp_path / "v.npy", X[:3])
    with pytest.raises(EmbstoreError, match=r"v\.npy has 3 rows and .*\.csv has 4"):
        bring(store, tmp_path / "v.npy", columns)


@pytest.mark.parametrize("form", ["columns", "lists"])
def test_parquet_holds_columns_or_one_column_of_lists(store: Store, tmp_path: Path, form: str) -> None:
    """Both shapes of an exported table give the same vectors."""
    X, names = vectors_and_names()
    numbers = {f"f{j}": X[:, j] for j in range(3)} if form == "columns" else {"emb": list(X)}
    pq.write_table(pa.table(names | numbers), tmp_path / "v.parquet")
    pattern = "f*" if form == "columns" else "emb"
    check_imported(store, tmp_path / "v.parquet", Columns(pattern, "id", "gene", "label"))


def test_h5ad_gives_a_matrix_and_columns_of_obs(store: Store, tmp_path: Path) -> None:
    """X, a key of obsm or a layer, sparse or not; obs names the rows; unknown names are listed."""
    anndata = pytest.importorskip("anndata", reason="the extra `h5ad` is not installed")
    import pandas as pd
    from scipy.sparse import csr_matrix

    X, names = vectors_and_names()
    obs = pd.DataFrame(names | {"gene": pd.Categorical(names["gene"])}, index=[f"cell{i}" for i in range(4)])
    path = tmp_path / "v.h5ad"
    anndata.AnnData(csr_matrix(np.nan_to_num(X)), obs=obs, obsm={"X_dino": X}).write_h5ad(path)
    np.testing.assert_array_equal(read_vectors(path, Columns(gene="index")).vectors, np.nan_to_num(X))
    check_imported(store, path, Columns("X_dino", "id", "gene", "label"))
    with pytest.raises(EmbstoreError, match="no column 'nope' in obs; it has index, id, gene, label"):
        read_vectors(path, Columns(gene="nope"))
    with pytest.raises(EmbstoreError, match="has the matrices X, X_dino; wanted 'Y'"):
        read_vectors(path, Columns("Y", gene="gene"))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(EmbstoreError, match="cannot be read as AnnData"):
        read_vectors(path, Columns(gene="gene"))


def test_a_missing_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anndata, an .h5ad is one line with the command that helps."""
    (tmp_path / "v.h5ad").touch()
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(EmbstoreError, match=r"pip install 'embstore\[h5ad\]'"):
        read_vectors(tmp_path / "v.h5ad", COLUMNS)
