"""Imports that meet rows of other files, repeated ids, missing numbers and files that lie."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embstore as es
from embstore.errors import EmbstoreError
from embstore.ingest import Report, import_embeddings
from embstore.sources.decoding import Decoder
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import read_vectors
from embstore.store import Store, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def save(path: Path, vectors: Any, genes: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    np.savez(path, X=np.array(vectors, np.float32), gene=np.array(genes.split()))
    return path


def bring(store: Store, path: Path, **choices: Any) -> Report:
    columns = {"embeddings": "X", "gene_column": "gene"}
    return import_embeddings(store, path, **{"dataset": "d", "backbone": "b"} | columns | choices)


def stored(store: Store) -> dict[str, list[float]]:
    (space,) = rows(store, "SELECT digest FROM spaces")
    ids, vectors = store.vectors(space["digest"])
    return {name.removeprefix("d/gene:"): vector.tolist() for name, vector in sorted(zip(ids, vectors, strict=True))}


def test_a_dry_run_counts_the_rows_that_are_done(store: Store, tmp_path: Path) -> None:
    """After an import none is left; a row that is new is."""
    bring(store, save(tmp_path / "v.npz", [[1, 0], [2, 0]], "A B"))
    dry = bring(store, save(tmp_path / "v.npz", [[1, 0], [2, 0], [3, 0]], "A B C"), dry_run=True)
    assert (dry.images_in, dry.done_before) == (1, 2)


def test_a_second_file_never_replaces_rows_of_the_first(store: Store, tmp_path: Path) -> None:
    """Two plates that share an id: the second is refused before anything is written, unless it is to replace."""
    first = save(tmp_path / "1" / "plate.npz", [[1, 0], [2, 0]], "A B")
    second = save(tmp_path / "2" / "plate.npz", [[3, 0], [4, 0]], "B C")
    bring(store, first)
    versions = store.versions()
    for dry_run in (True, False):
        with pytest.raises(
            EmbstoreError, match=rf"1 rows of plate\.npz are in the dataset 'd'.*from {first} \(gene:B\)"
        ):
            bring(store, second, dry_run=dry_run)
    assert store.versions() == versions
    report = bring(store, second, replace=True)
    assert (report.vectors_in, report.vectors_replaced) == ({"b": 2}, 1)
    assert stored(store) == {"A": [1, 0], "B": [3, 0], "C": [4, 0]}
    assert bring(store, second).done_before == 2
    with pytest.raises(EmbstoreError, match=rf"from {second} \(gene:B\)"):
        bring(store, first)


def test_the_same_rows_from_another_file_are_done(store: Store, tmp_path: Path) -> None:
    """A copy of the file brings nothing new; a changed version of the file updates its rows."""
    first = save(tmp_path / "1" / "v.npz", [[1, 0], [2, 0]], "A B")
    bring(store, first)
    assert bring(store, save(tmp_path / "2" / "v.npz", [[1, 0], [2, 0]], "A B")).done_before == 2
    save(first, [[5, 0]], "A")
    report = bring(store, first)
    assert (report.vectors_replaced, report.vectors_deleted) == (1, 1)
    assert stored(store) == {"A": [5, 0]}


def test_two_backbones_of_one_dataset_share_ids(store: Store, tmp_path: Path) -> None:
    """A second file under another backbone overwrites nothing, unless it names another gene."""
    bring(store, save(tmp_path / "a.npz", [[1, 0], [2, 0]], "A B"))
    assert bring(store, save(tmp_path / "b.npz", [[1, 0, 0]], "A"), backbone="c").vectors_in == {"c": 1}
    np.savez(tmp_path / "c.npz", X=np.ones((1, 4)), id=["gene:A"], gene=["Z"])
    with pytest.raises(EmbstoreError, match="with other values"):
        bring(store, tmp_path / "c.npz", backbone="e", id_column="id")


def test_the_file_of_each_vector_is_recorded(store: Store, tmp_path: Path) -> None:
    """Two files of the same ids under two backbones: each is updated by its own file, and by no other."""
    first, second = tmp_path / "1.npz", tmp_path / "2.npz"
    bring(store, save(first, [[1, 0], [2, 0]], "A B"))
    bring(store, save(second, [[3, 0, 0], [4, 0, 0]], "B A"), backbone="c")
    asked = (
        "SELECT s.backbone, i.* EXCLUDE (space) FROM imported AS i JOIN spaces AS s ON s.digest = i.space ORDER BY ALL"
    )
    assert [(row["backbone"], row["profile_id"], row["source"], row["row"]) for row in rows(store, asked)] == [
        ("b", "d/gene:A", str(first), 0),
        ("b", "d/gene:B", str(first), 1),
        ("c", "d/gene:A", str(second), 1),
        ("c", "d/gene:B", str(second), 0),
    ]
    assert bring(store, save(second, [[9, 0, 0]], "B"), backbone="c").vectors_deleted == 1  # was refused
    assert [row["profile_id"] for row in rows(store, asked) if row["backbone"] == "c"] == ["d/gene:B"]
    with pytest.raises(EmbstoreError, match=rf"from {first} \(gene:B\)"):
        bring(store, save(tmp_path / "3.npz", [[7, 0]], "B"))
    assert es.verify(store).wrong == ()
    es.remove(store, "profile_id = 'd/gene:B'")
    assert [row["profile_id"] for row in rows(store, asked)] == ["d/gene:A"]


def test_vectors_from_before_the_record_are_those_of_their_profile_s_file(store: Store, tmp_path: Path) -> None:
    """A store that an earlier version wrote has no table `imported`."""
    first = save(tmp_path / "1.npz", [[1, 0], [2, 0]], "A B")
    bring(store, first)
    shutil.rmtree(tmp_path / "store" / "imported.lance")
    store = Store.open(tmp_path / "store")
    with pytest.raises(EmbstoreError, match=rf"from {first} \(gene:A\)"):
        bring(store, save(tmp_path / "2.npz", [[7, 0]], "A"))
    assert bring(store, save(first, [[5, 0], [2, 0]], "A B")).vectors_replaced == 1
    assert [row["profile_id"] for row in rows(store, "SELECT * FROM imported")] == ["d/gene:A"]


@pytest.mark.parametrize("genes", ["X X X#2", "X#2 X X", "X X#2 X X#2"])
def test_repeated_ids_are_kept_apart(store: Store, tmp_path: Path, genes: str) -> None:
    """A number that tells rows of one name apart is not one that another row has."""
    names = genes.split()
    path = save(tmp_path / "v.npz", [[i, 1] for i in range(len(names))], genes)
    assert bring(store, path).vectors_in == {"b": len(names)}
    result = stored(store)
    assert sorted(vector[0] for vector in result.values()) == list(range(len(names)))
    assert result["X#2"][0] == names.index("X#2")
    assert bring(store, path).done_before == len(names)


def test_missing_numbers_are_filled_on_request(store: Store, tmp_path: Path) -> None:
    """With the mean of the finite numbers of their column in this file, or 0; the report states which and how many."""
    nan, inf = np.nan, np.inf
    path = save(tmp_path / "v.npz", [[1, nan, nan], [2, 4, nan], [nan, 8, nan], [3, 0, inf]], "A B C D")
    assert len(bring(store, path, dry_run=True).failures) == 4
    report = bring(store, path, fill_nan="mean", dry_run=True)
    assert len(report.failures) == 4  # the last column has no finite number
    save(path, [[1, nan], [2, 4], [nan, 8], [3, inf]], "A B C D")
    report = bring(store, path, fill_nan="mean")
    assert stored(store) == {"A": [1, 6], "B": [2, 4], "C": [2, 8]}
    assert [failure.source for failure in report.failures] == [f"{path}:4"]
    (note,) = (note for note in report.notes if note.startswith("filled"))
    assert note == (
        "filled: 2 missing numbers in 2 columns with the mean of their column (number 1: 1 with 2, number 2: 1 with 6)"
    )
    bring(store, path, fill_nan="0")
    assert stored(store) == {"A": [1, 0], "B": [2, 4], "C": [0, 8]}
    with pytest.raises(EmbstoreError, match="cannot be filled with 'median'; choose mean or 0"):
        bring(store, path, fill_nan="median")


def npy_bytes(claimed: tuple[int, ...], numbers: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": claimed})
    return file.getvalue() + bytes(4 * numbers)


def test_headers_that_claim_more_than_the_file_are_refused(tmp_path: Path) -> None:
    """Before anything of that size is allocated, in npy and in members of an npz."""
    for claimed in ((1 << 40, 4), (5, 2), (2, 1 << 60)):
        (tmp_path / "v.npy").write_bytes(npy_bytes(claimed, 8))
        with pytest.raises(EmbstoreError, match="cannot be read as an npy without pickles"):
            read_vectors(tmp_path / "v.npy", Columns())
        with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
            archive.writestr("X.npy", npy_bytes(claimed, 8))
        with pytest.raises(EmbstoreError, match=r"the header of X claims .* bytes and the file contains at most 32"):
            read_vectors(tmp_path / "v.npz", Columns("X"))


def test_a_damaged_lzma_member_is_one_line(tmp_path: Path) -> None:
    """And a sound one is read."""
    path = tmp_path / "v.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("X.npy", npy_bytes((20_000, 4), 80_000))
        place = archive.getinfo("X.npy").header_offset
    assert read_vectors(path, Columns("X")).vectors.shape == (20_000, 4)
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", content, place + 26)
    content[place + 30 + name + extra + 9 : place + 30 + name + extra + 49] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises(EmbstoreError, match="cannot be read as an npz without pickles"):
        _ = read_vectors(path, Columns("X")).vectors


def test_text_of_a_parquet_file_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    """Other programs write bytes as text."""
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(pa.table({"gene": bad, "a": [1.0], "b": [2.0]}), tmp_path / "v.parquet")
    with pytest.raises(EmbstoreError, match=r"cannot be read as a Parquet .*UTF"):
        read_vectors(tmp_path / "v.parquet", Columns(gene="gene"))


def test_a_mistake_of_our_own_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a library raises is an error of the file: a TypeError of a reader is a traceback."""
    path = save(tmp_path / "v.npz", [[1, 0]], "A")
    with pytest.raises(EmbstoreError, match="cannot be read as numbers"):
        Decoder(path, "numbers", "save it again")(int, "x")
    monkeypatch.setattr("embstore.sources.vectors.checked_shape", None, raising=False)
    monkeypatch.setattr("embstore.sources.arrays.checked_shape", None)
    with pytest.raises(TypeError):
        read_vectors(path, Columns("X"))


def test_fortran_order_and_large_row_groups_are_read_by_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of reading some rows at a time gives the rows of the whole file, in order."""
    monkeypatch.setattr("embstore.sources.matrix.BLOCK_BYTES", 4 * 70 * 9)
    monkeypatch.setattr("embstore.sources.parquet_vectors.ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr("embstore.sources.vector_tables.CSV_BLOCK_BYTES", 10_000)
    X = np.random.default_rng(0).normal(size=(100, 70)).astype(np.float32)
    np.save(tmp_path / "c.npy", X)
    np.save(tmp_path / "f.npy", np.asfortranarray(X.astype(">f8")))
    np.savez_compressed(tmp_path / "c.npz", X=X)
    np.savez(tmp_path / "f.npz", X=np.asfortranarray(X))
    table = pa.table({f"f{i}": X[:, i] for i in range(70)})
    pq.write_table(table, tmp_path / "columns.parquet", row_group_size=60)
    pq.write_table(pa.table({"v": pa.array(list(X), pa.list_(pa.float32()))}), tmp_path / "lists.parquet")
    (tmp_path / "v.csv").write_text(
        "\n".join([",".join(table.column_names), *(",".join(map(repr, r)) for r in X.tolist())])
    )
    for path in sorted(tmp_path.iterdir()):
        result = read_vectors(path, Columns())
        assert len(list(result.blocks())) > 1, path.name
        np.testing.assert_array_equal(result.vectors, X, err_msg=path.name)
