"""Stores of earlier versions stay readable: the same cells, vectors and neighbours as on the day they were made."""

from __future__ import annotations

import json
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embstore.care.verify import verify
from embstore.search import draw_sheet, similar_cells, similar_proteins
from embstore.store import Store, code_version, query, rows, schema

GOLDEN = Path(__file__).parents[1] / "golden"
LATER = {"spaces": ("filling", "normalisation")}  # columns added by later formats


@pytest.fixture(scope="module", params=["store-v1"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Any]]:
    """A golden store, unpacked, and what it held when it was made."""
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(GOLDEN / f"{request.param}.zip") as packed:
        packed.extractall(folder)
    known = json.loads((GOLDEN / f"{request.param}.json").read_text(encoding="utf-8"))
    return Store.open(folder / request.param), known


def test_every_table_of_a_golden_store_is_read(golden: tuple[Store, dict[str, Any]]) -> None:
    """All tables and views read, with the rows they had and at least the columns that today's code writes."""
    store, known = golden
    assert {table["name"]: table["rows"] for table in store.status()} == known["rows"]
    for name in store.table_names():
        assert store.read(name).num_rows == known["rows"][name]
        assert len(query(store, f'SELECT * FROM "{name}"')) == known["rows"][name]
        if name in schema.TABLES:
            wanted = pa.schema([f for f in schema.TABLES[name].schema if f.name not in LATER.get(name, ())])
            assert store.read(name).schema.equals(wanted), name
    assert rows(store, "SELECT written_by AS w FROM store_meta") == [{"w": known["written_by"]}]


def test_a_golden_store_holds_its_cells_and_labels(golden: tuple[Store, dict[str, Any]]) -> None:
    """Cells, groups and labels are those of then, and a tag still leads to what it tagged."""
    store, known = golden
    cells = rows(
        store, "SELECT cell_id, gene, cell_area_um2, octet_length(mask) AS mask_bytes FROM cells ORDER BY cell_id"
    )
    assert cells == [cell | {"cell_area_um2": pytest.approx(cell["cell_area_um2"])} for cell in known["cells"]]
    groups = {r["protein_id"]: r["group_id"] for r in rows(store, "SELECT * FROM proteins")}
    assert groups == known["groups"]
    assert groups["ensembl:ENSG99000000005"] == "ensembl:ENSG99000000004"
    labels = [
        list(r.values()) for r in rows(store, "SELECT label_set, subject_id, location, grade, revision FROM labels")
    ]
    assert sorted(labels, key=str) == sorted(known["labels"], key=str)
    tagged = store.dataset("labels", known["tagged_labels"]).to_table().to_pylist()
    place = {"gene:ACTN4": {r["location"] for r in tagged if r["subject_id"] == "gene:ACTN4"}}
    assert place == {"gene:ACTN4": {"cytoskeleton", "membrane"}}
    assert rows(store, "SELECT location FROM labels WHERE subject_id = 'gene:ACTN4'") == [{"location": "cytoskeleton"}]


def test_a_golden_store_gives_its_vectors_and_neighbours(golden: tuple[Store, dict[str, Any]], tmp_path: Path) -> None:
    """Known vectors to 1e-6 of their size; the same neighbours in the same order; pictures still decode."""
    store, known = golden
    spaces = {s["backbone"]: s["digest"] for s in rows(store, "SELECT backbone, digest FROM spaces")}
    assert spaces == known["spaces"]
    for unit, vector in known["vectors"].items():
        space = spaces["theirs" if unit.startswith("brought/") else "pixel-stats"]
        np.testing.assert_allclose(store.matrix(space, [unit])[0], vector, rtol=1e-6, atol=1e-6)
    result = similar_proteins(store, "PHN001", backbone="pixel-stats", centre=False)
    first = next(iter(known["vectors"]))
    for answer, expected in (
        (result, known["similar_proteins"]),
        (similar_proteins(store, "PHN001", backbone="theirs", centre=False), known["similar_brought"]),
        (similar_cells(store, first, backbone="pixel-stats", k=5), known["similar_cells"]),
    ):
        nearly = [row | {"similarity": pytest.approx(row["similarity"], abs=1e-6)} for row in expected]
        assert answer.to_arrow().select(list(nearly[0])).to_pylist() == nearly  # columns were added since
    assert draw_sheet(store, result, tmp_path / "sheet.png").stat().st_size > 10_000


def test_opening_a_golden_store_to_write_changes_nothing(golden: tuple[Store, dict[str, Any]]) -> None:
    """Today's code does not touch a store until something is written."""
    store, _ = golden
    versions = store.versions()
    assert Store.open(store.uri, create=True).versions() == versions


def test_the_first_write_brings_a_golden_store_to_todays_format(
    golden: tuple[Store, dict[str, Any]], tmp_path: Path
) -> None:
    """Tables have today's columns, spaces their digests, and it verifies; a second write migrates nothing."""
    old, known = golden
    store = Store.open(shutil.copytree(old.uri, tmp_path / "store"))
    store.upsert("labels", [store.read("labels").to_pylist()[0]])
    (meta,) = store.read("store_meta").to_pylist()
    assert (meta["format_version"], meta["written_by"]) == (schema.FORMAT_VERSION, code_version())
    for name in store.table_names():
        if name in schema.TABLES:
            assert store.read(name).schema.equals(schema.TABLES[name].schema), name
    assert {s["backbone"]: s["digest"] for s in rows(store, "SELECT backbone, digest FROM spaces")} == known["spaces"]
    assert verify(store).wrong == ()
    again = Store.open(store.uri)
    versions = again.versions()
    again.upsert("labels", [again.read("labels").to_pylist()[0]])
    assert again.versions() == versions | {"labels": versions["labels"] + 1}


def test_a_migration_that_was_killed_is_finished_by_the_next_write(
    golden: tuple[Store, dict[str, Any]], tmp_path: Path
) -> None:
    """The columns exist, but the format is not recorded yet: the store reads, and a write completes it."""
    old, known = golden
    store = Store.open(shutil.copytree(old.uri, tmp_path / "store"))
    store._tables.add_columns("spaces", ["filling"])
    assert Store.open(store.uri).read("spaces").num_rows == known["rows"]["spaces"]
    Store.open(store.uri).upsert("labels", [store.read("labels").to_pylist()[0]])
    assert store.read("spaces").schema.equals(schema.TABLES["spaces"].schema)
    assert store.read("store_meta")["format_version"].to_pylist() == [schema.FORMAT_VERSION]


def test_two_writers_may_bring_a_golden_store_to_todays_format_at_once(
    golden: tuple[Store, dict[str, Any]], tmp_path: Path
) -> None:
    """Whichever is first, both write, and the columns are there once."""
    old, known = golden
    uri = shutil.copytree(old.uri, tmp_path / "store")
    rows_of = old.read("labels").to_pylist()
    stores = [Store.open(uri) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(lambda store: store.upsert("labels", [rows_of[stores.index(store)]]), stores))
    assert len(set(versions)) == len(stores)
    store = Store.open(uri)
    assert store.read("spaces").schema.equals(schema.TABLES["spaces"].schema)
    assert store.read("store_meta")["format_version"].to_pylist() == [schema.FORMAT_VERSION]
    assert store.read("labels").num_rows == known["rows"]["labels"]
