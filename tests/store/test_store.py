"""The store prevents what Lance does wrong without warning, and reports what cannot be done in one line."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from drawn_fields import run_together
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embstore.errors import MissingStoreError, StoreError
from embstore.store import (
    Store,
    add_space,
    code_version,
    drop_repeats,
    list_spaces,
    list_spaces_sql,
    make_table,
    now,
    put_vectors,
    query,
    quoted,
    schema,
)

SPACE = "ab" * 32
HALF = "cd" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def space_record(digest: str) -> dict[str, object]:
    return {"digest": digest, "backbone": "drawn", "revision": 1, "strategy": "brought", "roles": []}


def proteins(*names: str) -> list[dict[str, str]]:
    return [{"protein_id": name, "gene": name, "group_id": name} for name in names]


# -- keys ------------------------------------------------------------------------------------------------------------

UPSERTS = """
from embstore.store import Store
store, me = Store.open(sys.argv[1]), sys.argv[2]
go()
for turn in range(3):
    store.upsert("proteins", [{"protein_id": f"p{i}", "gene": me, "group_id": str(turn)} for i in range(300)])
    keys = [{"label_set": "d/any", "level": "protein", "subject_id": f"p{i}"} for i in range(100)]
    store.upsert("labels", [k | {"location": o, "source": me, "revision": turn} for k in keys for o in ("er", "golgi")])
"""


def test_processes_that_upsert_the_same_keys_at_once_leave_no_duplicate(store: Store) -> None:
    """Three processes write the same single-column and composite keys three times each: every key is there once."""
    run_together(UPSERTS, [(store.uri, name) for name in "abc"])
    result = store.read("proteins")
    assert sorted(result["protein_id"].to_pylist()) == sorted(f"p{i}" for i in range(300))
    labels = [(row["subject_id"], row["location"]) for row in store.read("labels").to_pylist()]
    assert sorted(labels) == sorted((f"p{i}", o) for i in range(100) for o in ("er", "golgi"))
    # and each row is one process's whole row, not a mixture
    assert set(result["gene"].to_pylist()) <= set("abc")
    assert set(result["group_id"].to_pylist()) == {"2"}


def test_every_key_column_of_every_table_is_marked_and_required(store: Store) -> None:
    """Without the mark and non-null, concurrent upserts duplicate rows: no table, of spaces neither, may lack them."""
    add_space(store, space_record(SPACE), 4, half=False)
    names = store.table_names()
    assert set(names) == {*schema.TABLES, schema.embeddings_name(SPACE)}
    for name in names:
        key = schema.TABLES[name].key if name in schema.TABLES else ("id",)
        stored = store.dataset(name).schema
        for field in stored:
            marked = (field.metadata or {}).get(b"lance-schema:unenforced-primary-key") == b"true"
            assert marked == (field.name in key), (name, field.name)
            assert field.nullable == (field.name not in key), (name, field.name)


def test_a_key_without_a_value_is_refused(store: Store) -> None:
    """A null in a key column is a StoreError and nothing is written."""
    with pytest.raises(StoreError, match="proteins was given a row without protein_id"):
        store.upsert("proteins", [{"protein_id": None, "gene": "A"}])
    assert store.read("proteins").num_rows == 0


def test_a_key_that_comes_twice_in_one_write_is_refused(store: Store) -> None:
    """Lance would insert both rows without warning; composite keys are compared as a whole."""
    with pytest.raises(StoreError, match="proteins was given two rows of protein_id 'p'; wanted each key once"):
        store.upsert("proteins", proteins("q", "p", "p"))
    labels = [{"label_set": "a", "level": "protein", "subject_id": "p", "location": o, "revision": 1} for o in "xyx"]
    with pytest.raises(StoreError, match="subject_id 'p', location 'x'"):
        store.upsert("labels", labels)
    store.upsert("labels", labels[:2])
    assert store.read("labels").num_rows == 2
    add_space(store, space_record(SPACE), 2, half=False)
    with pytest.raises(StoreError, match="two rows of id 'a'"):
        put_vectors(store, SPACE, ["a", "a"], np.ones((2, 2)))


def test_an_upsert_replaces_whole_rows_and_returns_the_new_version(store: Store) -> None:
    """Known keys are replaced, new ones added, nothing to write makes no version."""
    first = store.upsert("proteins", proteins("p", "q"))
    second = store.upsert("proteins", [{"protein_id": "q", "group_id": "g"}, *proteins("r")])
    assert first < second == store.versions()["proteins"]
    rows = {row["protein_id"]: (row["gene"], row["group_id"]) for row in store.read("proteins").to_pylist()}
    assert rows == {"p": ("p", "p"), "q": (None, "g"), "r": ("r", "r")}
    assert store.upsert("proteins", []) == second
    assert store.delete("proteins", f"protein_id = {quoted('p')}") > second
    assert store.dataset("proteins", first).count_rows() == 2


def test_a_quoted_text_is_one_literal(store: Store) -> None:
    """A name with a quote in it deletes itself and nothing else."""
    store.upsert("proteins", proteins("5'-end", "x", "' OR '1'='1"))
    store.delete("proteins", f"protein_id IN ({quoted(chr(39) + ' OR ' + quoted('1') + '=' + chr(39) + '1')})")
    store.delete("proteins", "protein_id = " + quoted("5'-end"))
    assert store.read("proteins", ["protein_id"])["protein_id"].to_pylist() == ["x"]


# -- vectors ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, np.ndarray]]:
    """A space written in three parts, some rows replaced and some deleted, and the same as a dict."""
    store = Store.open(tmp_path_factory.mktemp("known") / "store", create=True)
    add_space(store, space_record(SPACE), 5, half=False)
    rng = np.random.default_rng(0)
    twin: dict[str, np.ndarray] = {}
    for ids in (range(0, 20), range(10, 30), range(25, 40)):
        names = [f"cell {i}" for i in rng.permutation(list(ids))]
        vectors = rng.normal(size=(len(names), 5)).astype(np.float32)
        put_vectors(store, SPACE, names, vectors)
        twin |= dict(zip(names, vectors, strict=True))
    store.delete(schema.embeddings_name(SPACE), "id IN ('cell 3', 'cell 17', 'cell 33')")
    for gone in ("cell 3", "cell 17", "cell 33"):
        del twin[gone]
    return store, twin


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_matrix_gives_the_vectors_asked_for_in_that_order(
    data: st.DataObject, known: tuple[Store, dict[str, np.ndarray]]
) -> None:
    """Shuffled and repeated ids, few or nearly all, give exactly what a dict gives, row by row."""
    store, twin = known
    ids = data.draw(st.lists(st.sampled_from(sorted(twin)), max_size=50))
    expected = np.array([twin[i] for i in ids], np.float32).reshape(len(ids), 5)
    result = store.matrix(SPACE, ids)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_matrix_refuses_an_id_that_is_not_there(known: tuple[Store, dict[str, np.ndarray]]) -> None:
    """An absent, deleted or misspelled id is an error that names it and counts them, never a shorter answer."""
    store, twin = known
    for absent in ("cell 99", "cell 3", "CELL 1", ""):
        with pytest.raises(StoreError, match=rf"space abababababab has no vector of '{absent}' \(1 of 3 absent\)"):
            store.matrix(SPACE, ["cell 1", absent, "cell 2"])
    with pytest.raises(StoreError, match=f"no table 'emb_{HALF[:12]}'"):
        store.matrix(HALF, ["cell 1"])
    ids, vectors = store.vectors(SPACE)
    assert {i: v.tolist() for i, v in zip(ids, vectors, strict=True)} == {i: v.tolist() for i, v in twin.items()}


def test_matrix_reads_an_earlier_version_as_it_was(store: Store) -> None:
    """A version that an entry cites gives the vectors of then."""
    add_space(store, space_record(SPACE), 2, half=False)
    then = put_vectors(store, SPACE, ["a", "b"], np.array([[1, 2], [3, 4]]))
    put_vectors(store, SPACE, ["b", "c"], np.array([[5, 6], [7, 8]]))
    assert store.matrix(SPACE, ["b", "a"], version=then).tolist() == [[3, 4], [1, 2]]
    assert store.matrix(SPACE, ["c", "b", "b"]).tolist() == [[7, 8], [5, 6], [5, 6]]
    with pytest.raises(StoreError, match="'c'"):
        store.matrix(SPACE, ["c"], version=then)


def test_half_precision_is_rounded_once_and_overflow_is_refused(store: Store) -> None:
    """Vectors come back as float16 rounds them; what float16 or any float cannot represent is refused by id."""
    add_space(store, space_record(HALF), 3, half=True)
    add_space(store, space_record(SPACE), 3, half=False)
    vectors = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    put_vectors(store, HALF, ["a", "b"], vectors)
    np.testing.assert_array_equal(store.matrix(HALF, ["b", "a"]), vectors[::-1].astype(np.float16).astype(np.float32))

    slf = np.array([[0, 1, 2], [143_867, 0, 0]], np.float32)  # the largest value of the HPA sample vectors
    with pytest.raises(StoreError, match=r"the vector of 'd' is not finite as float16 \(1 such vectors\)"):
        put_vectors(store, HALF, ["c", "d"], slf)
    put_vectors(store, SPACE, ["c", "d"], slf)
    for bad in (np.nan, np.inf, -np.inf, 1e39):
        with pytest.raises(StoreError, match="'f' is not finite as float32"):
            put_vectors(store, SPACE, ["e", "f"], np.array([[1, 1, 1], [1, bad, 1]]))
    assert store.vectors(HALF)[0] == ["a", "b"]
    assert store.vectors(SPACE)[0] == ["c", "d"]


@pytest.mark.parametrize("shape", [(2, 4), (1, 3), (3,), (3, 2)])
def test_vectors_of_another_shape_are_refused(store: Store, shape: tuple[int, ...]) -> None:
    """One vector for each id, of the space's length."""
    add_space(store, space_record(SPACE), 3, half=False)
    with pytest.raises(StoreError, match=r"space abababababab takes vectors of shape \(2, 3\), got"):
        put_vectors(store, SPACE, ["a", "b"], np.ones(shape))


def test_a_space_that_is_there_is_left_as_it_is(store: Store) -> None:
    """Adding a space again neither empties its vectors nor replaces its canary."""
    add_space(store, space_record(SPACE), 2, half=False, canary=[1.0, 2.0])
    put_vectors(store, SPACE, ["a"], np.ones((1, 2)))
    add_space(store, space_record(SPACE), 2, half=False, canary=[9.0, 9.0])
    assert store.read("spaces")["canary"].to_pylist() == [[1.0, 2.0]]
    assert store.matrix(SPACE, ["a"]).tolist() == [[1, 1]]


# -- opening ---------------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_opened_is_one_clear_line(tmp_path: Path) -> None:
    """A missing folder, a file, a folder of something else: what was found and what to do, and nothing is created."""
    folder, file = tmp_path / "photos", tmp_path / "file"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(b"x")
    file.write_bytes(b"x")
    for path, message in (
        (tmp_path / "absent", "there is no store at .*; make one with `embstore ingest`"),
        (tmp_path / ("x" * 300), "cannot open a store at .*: File name too long; name a folder with --store"),
        (file, "cannot open a store at .*: it is a file; name a folder"),
        (folder, "photos is not an embstore store, and contains cat.jpg; name an empty or a new folder"),
    ):
        with pytest.raises(StoreError, match=message) as error:
            Store.open(path)
        assert "\n" not in str(error.value)
    with pytest.raises(StoreError, match="cannot open a store at"):
        Store.open(file, create=True)
    with pytest.raises(StoreError, match=r"contains cat.jpg; name an empty or a new .* `embstore ingest --force`"):
        Store.open(folder, create=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["cat.jpg", "file", "photos"]
    assert Store.open(folder, create=True, force=True).read("images").num_rows == 0
    assert Store.open(folder).read("images").num_rows == 0  # the store is found among them without being told
    with pytest.raises(StoreError, match=r"and contains photos, work, x.lance and 1 more;"):
        for name in ("work", "x.lance", ".git", "z"):
            (tmp_path / name).mkdir()
        (tmp_path / "file").unlink()
        Store.open(tmp_path, create=True)


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    """Also one with nothing but hidden files: there is no store to read, and one can be made."""
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    with pytest.raises(MissingStoreError, match=r"there is no store at .*; make one with `embstore ingest`"):
        Store.open(tmp_path)
    assert Store.open(tmp_path, create=True).table_names() == sorted(schema.TABLES)


def test_a_store_of_another_format_is_not_touched(store: Store) -> None:
    """A newer store names its format and who wrote it, for reading and for writing alike."""
    store.upsert("store_meta", [{"name": "embstore", "format_version": 3, "created": now(), "written_by": "later"}])
    for create in (False, True):
        with pytest.raises(
            StoreError, match="has store format 3, this embstore reads formats 1 to 2; use the embstore version"
        ):
            Store.open(store.uri, create=create)


def test_a_new_store_says_who_wrote_it(store: Store) -> None:
    """One row of store_meta: the format and the version; opening again with `create` changes nothing."""
    (meta,) = store.read("store_meta").to_pylist()
    assert (meta["name"], meta["format_version"], meta["written_by"]) == ("embstore", 2, code_version())
    versions = store.versions()
    assert Store.open(store.uri, create=True).versions() == versions


KILLED = """
import os, signal
from embstore.store import schema
from embstore.store import Store
class Fatal(dict):
    def values(self):
        for number, table in enumerate(super().values()):
            if number == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            yield table
schema.TABLES = Fatal(schema.TABLES)
Store.open(sys.argv[1], create=True)
"""


def test_a_kill_between_tables_leaves_a_store_that_the_next_create_completes(tmp_path: Path) -> None:
    """After kill -9 with 7 tables made, reading reports that it is no store yet, and creating makes the rest."""
    done = subprocess.run([sys.executable, "-c", "import sys\n" + KILLED, tmp_path / "store"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "store").glob("*.lance"))) == 7
    with pytest.raises(StoreError, match="is not an embstore store"):
        Store.open(tmp_path / "store")
    store = Store.open(tmp_path / "store", create=True)
    assert store.table_names() == sorted(schema.TABLES)
    assert store.upsert("proteins", proteins("p")) == store.versions()["proteins"]
    assert Store.open(tmp_path / "store").read("proteins").num_rows == 1


def test_a_table_whose_creation_was_cut_off_is_made_again(tmp_path: Path) -> None:
    """A table's folder without a version in it, as a kill inside a creation leaves it, is no obstacle."""
    Store.open(tmp_path / "store", create=True)
    for name in ("store_meta", "cells"):
        shutil.rmtree(tmp_path / "store" / f"{name}.lance")
    (tmp_path / "store" / "cells.lance").mkdir()
    store = Store.open(tmp_path / "store", create=True)
    assert store.read("cells").schema.names == schema.TABLES["cells"].schema.names


# -- versions --------------------------------------------------------------------------------------------------------


def test_a_tag_keeps_its_versions_when_old_ones_are_cleaned(store: Store) -> None:
    """Cleaning removes untagged versions and leaves tagged ones readable; a tag of the same name moves."""
    versions = [store.upsert("proteins", proteins(name)) for name in "abcd"]
    store.tag("bench-1", {"proteins": versions[0]})
    store.tag("moved", {"proteins": versions[0]})
    store.tag("moved", {"proteins": versions[2], "labels": store.versions()["labels"]})
    data = store.dataset("proteins")
    data.cleanup_old_versions(older_than=timedelta(0), error_if_tagged_old_versions=False)
    assert store.dataset("proteins", versions[0]).to_table()["protein_id"].to_pylist() == ["a"]
    assert store.dataset("proteins", versions[2]).count_rows() == 3
    assert store.dataset("proteins").count_rows() == 4
    with pytest.raises(StoreError, match=f"proteins has no version {versions[1]}"):
        store.dataset("proteins", versions[1])


def test_status_counts_what_is_there(store: Store) -> None:
    """One record a table: its live rows, its version, and the bytes of its live files."""
    store.upsert("proteins", proteins("a", "b"))
    store.delete("proteins", "protein_id = 'a'")
    status = {record["name"]: record for record in store.status()}
    assert list(status) == store.table_names()
    assert status["proteins"]["rows"] == 1
    files = list((Path(store.uri) / "proteins.lance" / "data").glob("*.lance"))
    assert status["proteins"]["bytes"] == sum(file.stat().st_size for file in files) > 0
    assert (status["cells"]["rows"], status["cells"]["bytes"]) == (0, 0)
    assert {name: record["version"] for name, record in status.items()} == store.versions()


def test_every_write_returns_the_versions_that_it_made(store: Store) -> None:
    """Spaces, tags and upkeep too, so that a caller can cite what it wrote; a second time nothing changes."""
    made = add_space(store, space_record(SPACE), 2, half=False)
    assert made == {name: store.versions()[name] for name in ("spaces", schema.embeddings_name(SPACE))}
    assert add_space(store, space_record(SPACE), 2, half=False) == made
    assert store.tag("t", made) == made == store.tags()["t"]
    assert store.untag("t", ["spaces"]) == {"spaces": made["spaces"]}
    assert list(store.untag("t")) == [schema.embeddings_name(SPACE)]
    assert store.untag("t") == {}
    assert drop_repeats(store, "proteins") == make_table(store, schema.TABLES["proteins"]) == 1


def test_a_store_prints_in_a_few_lines(store: Store) -> None:
    """Where it is, and its first tables; as a table in a notebook; and a damaged table does not stop it."""
    store.upsert("proteins", proteins("a", "b"))
    lines = repr(store).splitlines()
    assert lines[0].startswith("store at ")  # a long path is cut
    assert lines[1].split()[:3] == ["name", "rows", "version"]
    assert len(lines) < 10
    assert "<td>proteins</td><td>2</td>" in store._repr_html_()
    assert store.to_arrow().to_pylist() == list(store.status())
    shutil.rmtree(Path(store.uri) / "labels.lance" / "_versions")
    assert "labels" in repr(store)


def test_ready_made_questions_give_their_sql(store: Store) -> None:
    """The `_sql` twin of a question runs as it stands."""
    add_space(store, space_record(SPACE), 2, half=False)
    assert query(store, *list_spaces_sql()).to_pylist() == list(list_spaces(store))
    assert repr(list_spaces(store)).startswith("1 space\n")


def test_a_table_that_is_not_there_is_a_clear_error(store: Store) -> None:
    """Reading, writing and tagging by a wrong name report which store lacks which table."""
    for wrong in (
        lambda: store.dataset("cels"),
        lambda: store.upsert("cels", pa.table({"id": ["a"]})),
        lambda: put_vectors(store, SPACE, ["a"], np.ones((1, 2))),
    ):
        with pytest.raises(StoreError, match=f"the store at {store.uri} has no table"):
            wrong()
