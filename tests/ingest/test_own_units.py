"""External embeddings of the store's own cells and images: vectors of that unit, never proteins."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

import embstore as es
from embstore.ingest import Report, ingest

CELLS = "SELECT cell_id FROM cells ORDER BY cell_id"
IMAGES = "SELECT DISTINCT image_id FROM images ORDER BY image_id"
PROTEINS = "SELECT count(*) AS n FROM proteins"


def ids_of(store: es.Store, sql: str) -> list[str]:
    return [next(iter(row.values())) for row in es.query(store, sql).to_pylist()]


def vectors(n: int, dim: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def imported(store: es.Store | Path, folder: Path, ids: list[str], numbers: np.ndarray, **choices: Any) -> Report:
    path = folder / "theirs.npz"
    np.savez(path, X=numbers, id=np.array(ids))
    known: dict[str, Any] = {"backbone": "theirs", "embeddings": "X", "id_column": "id"}
    return es.import_embeddings(store, path, **known | choices)


def test_ids_of_cells_make_a_space_of_cells(phantom_copy: Path, tmp_path: Path) -> None:
    """The vectors are found under the cells, searched and verified; no protein and no profile comes of them."""
    store = es.open(phantom_copy)
    cells, proteins = ids_of(store, CELLS), es.query(store, PROTEINS).to_pylist()
    numbers = vectors(len(cells))
    report = imported(store, tmp_path, cells, numbers)
    assert report.vectors_in == {"theirs:unit=cell": len(cells)}
    assert "ids are those of this store's cells: the vectors are of the unit cell" in report.notes
    space = next(space for space in es.list_spaces(store).rows if space["backbone"] == "theirs")
    assert (space["unit"], space["precision"], report.dataset) == ("cell", "float32", "opencell")
    np.testing.assert_array_equal(store.matrix(space["digest"], cells[::-1]), numbers[::-1])
    assert es.query(store, PROTEINS).to_pylist() == proteins
    assert es.query(store, "SELECT count(*) AS n FROM profiles").to_pylist() == [{"n": 0}]
    neighbours = es.similar_cells(store, cells[0], backbone="theirs", k=1)
    similarity = numbers @ numbers[0] / np.linalg.norm(numbers, axis=1) / np.linalg.norm(numbers[0])
    assert neighbours.rows[0].cell_id == cells[int(np.argsort(-similarity)[1])]
    assert {row.gene for row in es.similar_proteins(store, "PHN001", backbone="theirs").rows} == {"PHN002", "PHN003"}
    assert not es.verify(store).wrong
    assert imported(store, tmp_path, cells, numbers).done_before == len(cells)
    assert imported(store, tmp_path, cells, vectors(len(cells), 4), backbone="others").vectors_in


def test_ids_of_images_make_a_space_of_images(phantom_copy: Path, phantom: Path, tmp_path: Path) -> None:
    """One vector an image, at its present content; beside one of cells under the same name."""
    store = es.open(phantom_copy)
    images = ids_of(store, IMAGES)
    imported(store, tmp_path, ids_of(store, CELLS), vectors(len(ids_of(store, CELLS))))
    assert imported(store, tmp_path, images, vectors(3)).vectors_in == {"theirs:unit=image": 3}
    neighbours = es.similar_proteins(store, "PHN001", backbone="theirs:unit=image")
    assert {(row.gene, row.n_cells) for row in neighbours.rows} == {("PHN002", 1), ("PHN003", 1)}
    assert not es.verify(store).wrong
    with pytest.raises(es.EmbstoreError, match="2 spaces match theirs; choose one"):
        es.similar_proteins(store, "PHN001", backbone="theirs")


def test_vectors_of_cells_that_are_no_more_current_are_kept_aside(
    phantom_copy: Path, phantom: Path, tmp_path: Path
) -> None:
    """Cells of an earlier segmentation take their vectors, are left out of search, and counted."""
    store = es.open(phantom_copy)
    old = ids_of(store, CELLS)
    ingest(store, phantom / "images", layout="opencell", backbones=["pixel-stats"], pixel_size_um=0.19)
    new = ids_of(store, CELLS)
    assert not set(old) & set(new)
    report = imported(store, tmp_path, old + new, vectors(len(old) + len(new)))
    assert any(note.startswith(f"{len(old)} of these cells are of earlier content") for note in report.notes)
    assert {row.cell_id for row in es.similar_cells(store, new[0], backbone="theirs", k=999).rows} == set(new[1:])
    assert not es.verify(store).wrong


def test_vectors_of_images_that_changed_stay_aside_until_they_are_replaced(
    phantom_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file again promotes none of them and writes nothing; new vectors are current, after an end too."""
    store = es.open(phantom_copy)
    images = ids_of(store, IMAGES)
    imported(store, tmp_path, images, vectors(3))
    space = next(space["digest"] for space in es.list_spaces(store).rows if space["backbone"] == "theirs")
    first = store.read("images").filter(pc.field("image_id") == images[0]).to_pylist()[0]
    store.upsert("images", [first | {"revision": first["revision"] + 1, "sha256": "0" * 64}])
    versions = store.versions()
    again = imported(store, tmp_path, images, vectors(3))
    assert "1 of these vectors are of earlier content of their images" in again.notes[-1]
    assert (again.done_before, again.vectors_in) == (3, {})
    assert store.versions() == versions
    with monkeypatch.context() as ended, pytest.raises(ZeroDivisionError):
        ended.setattr(import_module("embstore.ingest.own_units"), "_complete", lambda *_: 1 / 0)
        imported(store, tmp_path, images, vectors(3, seed=1), replace=True)
    imported(store, tmp_path, images, vectors(3, seed=1))
    revisions = {
        row["image_id"]: row["revision"] for row in store.read("ingested").to_pylist() if row["space"] == space
    }
    assert revisions == {image: first["revision"] + (image == images[0]) for image in images}
    assert not es.verify(store).wrong


def test_removing_images_takes_these_vectors_along(phantom_copy: Path, tmp_path: Path) -> None:
    """Nothing is left without an owner."""
    store = es.open(phantom_copy)
    cells = ids_of(store, CELLS)
    imported(store, tmp_path, cells, vectors(len(cells)))
    imported(store, tmp_path, ids_of(store, IMAGES), vectors(3))
    es.remove(store, "gene = 'PHN002'")
    assert not es.verify(store).wrong
    left = set(ids_of(store, CELLS))
    assert 0 < len(left) < len(cells)
    space = next(
        space for space in es.list_spaces(store).rows if (space["backbone"], space["unit"]) == ("theirs", "cell")
    )
    assert set(store.vectors(space["digest"])[0]) == left


def test_rows_that_name_nothing_fail_and_the_rest_goes_in(phantom_copy: Path, tmp_path: Path) -> None:
    """An unknown id, none at all, and a vector that is not whole: each is a failure that says so."""
    store = es.open(phantom_copy)
    cells = ids_of(store, CELLS)[:2]
    numbers = vectors(4)
    numbers[1, 0] = np.nan
    report = imported(store, tmp_path, [*cells, "opencell/x:12345678:1", ""], numbers)
    assert sum(report.vectors_in.values()) == 1
    assert [failure.error for failure in report.failures] == [
        f"the vector of {cells[1]} has 1 numbers that are missing or not finite in float32",
        "opencell/x:12345678:1 is no cell of this store",
        "no cell id",
    ]
    assert not es.verify(store).wrong


def test_other_vectors_of_the_same_cells_replace_only_when_asked(phantom_copy: Path, tmp_path: Path) -> None:
    """Another file under one name could be another network."""
    store = es.open(phantom_copy)
    cells = ids_of(store, CELLS)
    imported(store, tmp_path, cells, vectors(len(cells)))
    other = vectors(len(cells), seed=1)
    with pytest.raises(es.EmbstoreError, match=f"{len(cells)} cells have other vectors of theirs in the store"):
        imported(store, tmp_path, cells, other)
    dry = imported(store, tmp_path, cells, other, replace=True, dry_run=True)
    assert (dry.images_in, dry.vectors_in) == (len(cells), {})
    assert imported(store, tmp_path, cells, other, replace=True).vectors_replaced == len(cells)
    dry = imported(store, tmp_path, cells, other, dry_run=True)
    assert (dry.images_in, dry.done_before) == (0, len(cells))
    space = next(space for space in es.list_spaces(store).rows if space["backbone"] == "theirs")
    np.testing.assert_array_equal(store.matrix(space["digest"], cells), other)


def test_locations_beside_own_cells_are_labels_of_cells(phantom_copy: Path, tmp_path: Path) -> None:
    """The label set is of the level cell; a name that has labels of proteins already is refused."""
    store = es.open(phantom_copy)
    cells = ids_of(store, CELLS)
    where = [("golgi", "ER;golgi")[at % 2] for at in range(len(cells))]
    (tmp_path / "theirs.csv").write_text(
        "id,seen,v1,v2\n" + "".join(f"{c},{w},1,2\n" for c, w in zip(cells, where, strict=True))
    )
    how: dict[str, Any] = {"backbone": "theirs", "embeddings": "v*", "id_column": "id", "label_column": "seen"}
    report = es.import_embeddings(store, tmp_path / "theirs.csv", **how, location_map="hpa")
    assert report.labels_changed == len(cells)
    labels = es.query(store, "SELECT * FROM labels WHERE label_set = 'opencell/seen' ORDER BY ALL").to_pylist()
    assert {(row["level"], row["location"]) for row in labels} == {
        ("cell", "Golgi apparatus"),
        ("cell", "Endoplasmic reticulum"),
    }
    assert {row["subject_id"] for row in labels} == set(cells)
    assert not es.verify(store).wrong
    (tmp_path / "theirs.csv").write_text((tmp_path / "theirs.csv").read_text().replace("seen", "grade3"))
    with pytest.raises(es.EmbstoreError, match=r"grade3 has labels of proteins and theirs\.csv has labels of cells"):
        es.import_embeddings(store, tmp_path / "theirs.csv", **how | {"label_column": "grade3", "backbone": "other"})


def test_such_ids_never_become_proteins(phantom_copy: Path, tmp_path: Path) -> None:
    """Of another store, in the gene column, repeated, mixed, under another dataset: one line, and nothing written."""
    store = es.open(phantom_copy)
    cells, images = ids_of(store, CELLS), ids_of(store, IMAGES)
    strangers = [cell.replace("opencell/", "elsewhere/") for cell in cells]
    n = len(cells)
    cases: list[tuple[list[str], dict[str, Any], str]] = [
        (strangers, {"dataset": "d"}, "are of cells that this store does not have, such as elsewhere/"),
        (["opencell/none"] * n, {"dataset": "d"}, "are of images that this store does not have, such as opencell/none"),
        (cells, {"id_column": None, "gene_column": "id", "dataset": "d"}, "are ids of cells or images, such as"),
        ((images * n)[:n], {"id_column": None, "gene_column": "id", "dataset": "d"}, "name them by --id-column"),
        ([cells[0], *cells[:-1]], {}, f"several vectors of one cell, such as {cells[0]}"),
        ([images[0], *cells[1:]], {}, "names cells and images; import them as two files"),
        (cells, {"dataset": "hpa"}, "are of opencell, and --dataset names hpa; leave it out"),
        (cells, {"gene_column": "id"}, "are ids of cells or images"),
        (cells, {"backbone": "hpa"}, "cannot be called 'hpa'"),
        ([f"P{10000 + i}" for i in range(n)], {}, "have to belong to a dataset; name it: --dataset NAME"),
    ]
    for ids, choices, line in cases:
        with pytest.raises(es.EmbstoreError) as caught:
            imported(store, tmp_path, ids, vectors(n), **choices)
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(es.EmbstoreError, match="are of cells that this store does not have"):
        imported(tmp_path / "new", tmp_path, cells, vectors(n), dataset="d")
    assert not (tmp_path / "new").exists()
    assert [space["backbone"] for space in es.list_spaces(store).rows] == ["pixel-stats"]
    assert es.query(store, PROTEINS).to_pylist() == [{"n": 3}]


def test_genes_with_a_slash_stay_genes(phantom_copy: Path, tmp_path: Path) -> None:
    """IGHV3/OR16-10 is a symbol of HGNC's."""
    store = es.open(phantom_copy)
    report = imported(
        store, tmp_path, ["IGHV3/OR16-10", "ACTB"], vectors(2), id_column=None, gene_column="id", dataset="mine"
    )
    assert report.vectors_in == {"theirs": 2}
