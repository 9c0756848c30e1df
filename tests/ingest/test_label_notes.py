"""Notes on labels as they are added: locations with counts, suspects, what a map renamed, whose labels rows take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import Report, add_labels, import_embeddings, ingest, set_labels
from embstore.sources.kaggle import KAGGLE_2018_SCHEME
from embstore.sources.labels import read_label_table
from embstore.sources.location_map import map_locations, read_location_map
from embstore.sources.record import Label
from embstore.store import Store, rows

OWN = "gene,location\nA,ER\nB,Endoplasmic reticulum\nC,???\n"
VECTORS = "id,gene,location,v1,v2\nP12814,ACTN1,ER,1,2\nP12814-2,,Golgi,2,1\nP12814-3,,unknown,3,1\nQ9,X,Golgi,1,1\n"


def bring(tmp_path: Path, text: str = VECTORS, **choices: Any) -> Report:
    (tmp_path / "v.csv").write_text(text)
    columns = {"id_column": "id", "gene_column": "gene", "label_column": "location", "embeddings": "v*"}
    where = {"dataset": "d", "backbone": "theirs", "unlabelled": "unknown"}
    return import_embeddings(tmp_path / "store", tmp_path / "v.csv", **(where | columns | choices))


def labels_of(store: Store, label_set: str) -> set[tuple[str, str, int]]:
    labels = rows(store, "SELECT * FROM labels WHERE label_set = $s ORDER BY ALL", {"s": label_set})
    return {(row["subject_id"], row["location"], row["revision"]) for row in labels}


def test_a_dry_run_of_import_lists_locations_and_suspects(tmp_path: Path) -> None:
    """With counts of proteins; rows that take labels of another row of their protein are counted by kind."""
    report = bring(tmp_path, VECTORS.replace("Q9,X,Golgi", "Q9,X,ER?"), dry_run=True)
    assert {(each.label_set, each.location, each.subjects) for each in report.locations} == {
        ("d/location", "ER", 1),
        ("d/location", "Golgi", 1),
        ("d/location", "ER?", 1),
    }
    assert "question marks among the locations: ER? (1)" in report.notes
    start = "rows that take the locations of another row of the same protein: 3 "
    assert start + "(1 without a location of their own, 1 of an isoform, 1 with other locations)" in report.notes
    assert not (tmp_path / "store").exists()


def test_rows_of_one_protein_are_counted_in_a_table_of_labels_too(tmp_path: Path) -> None:
    """An isoform and a row without a location take those of the protein's other rows."""
    (tmp_path / "t.csv").write_text("uniprot_id,locations\nP12814,er\nP12814-2,golgi\nP12814,\nQ9UQ10,er\n")
    (note,) = (note for note in read_label_table(tmp_path / "t.csv").notes if "another row" in note)
    assert note.endswith("3 (1 without a location of their own, 1 of an isoform, 1 with other locations)")


def test_what_a_map_renamed_is_recorded_with_the_revision(tmp_path: Path) -> None:
    """`location_maps` has each name, what it became, how many labels it was, and the revision that they got."""
    (tmp_path / "m.csv").write_text("from,to\nER,Endoplasmic reticulum\n")
    bring(tmp_path)
    report = bring(tmp_path, location_map=tmp_path / "m.csv")
    assert report.labels_changed == 1
    store = Store.open(tmp_path / "store")
    (row,) = rows(store, "SELECT * FROM location_maps ORDER BY ALL")
    assert (row["label_set"], row["revision"], row["name"], row["locations"]) == (
        "d/location",
        2,
        "ER",
        ["Endoplasmic reticulum"],
    )
    assert (row["n_labels"], row["map"], row["source"]) == (1, str(tmp_path / "m.csv"), "v.csv")
    assert ("uniprot:P12814", "Endoplasmic reticulum", 2) in labels_of(store, "d/location")
    version = store.versions()
    assert bring(tmp_path, location_map=tmp_path / "m.csv").labels_changed == 0
    assert store.versions()["location_maps"] == version["location_maps"]


def test_maps_of_two_tables_are_both_recorded(tmp_path: Path) -> None:
    """Tables of one name that add different subjects get different revisions; an earlier record never changes."""
    store = Store.open(tmp_path / "store", create=True)
    for number, location in enumerate(["Nucleus", "Nucleolus"]):
        (tmp_path / "m.csv").write_text(f"from,to\nNuc,{location}\n")
        mapped = map_locations(
            [Label("main", "protein", f"p{number}", "Nuc", None, "t.csv")], read_location_map(tmp_path / "m.csv")
        )
        set_labels(store, "d", mapped.labels, mapped=mapped)
        set_labels(store, "d", [], [("main", "protein", f"p{number}")])
    maps = rows(store, "SELECT * FROM location_maps ORDER BY ALL")
    assert [(row["revision"], row["locations"]) for row in maps] == [(1, ["Nucleus"]), (2, ["Nucleolus"])]


def test_a_label_set_of_another_level_is_refused_by_import_and_ingest(tmp_path: Path) -> None:
    """Also by their dry runs; a label set that has both levels since an older version can be added to."""
    store = Store.open(tmp_path / "store", create=True)
    set_labels(store, "d", [Label("location", "image", "f", "ER", None, "t.csv")])
    set_labels(store, "fields", [Label("main", "protein", "p", "ER", None, "t.csv")])
    (tmp_path / "t.csv").write_text("image_id,locations\nf1,ER\n")
    for name in ("f1_d.tif", "f1_g.tif"):
        (tmp_path / name).touch()
    how: dict[str, Any] = {"layout": "fields", "channels": "_d=nucleus,_g=protein", "backbones": ["pixel-stats"]}
    how |= {"labels": tmp_path / "t.csv"}
    for dry_run in (True, False):
        with pytest.raises(EmbstoreError, match=r"d/location has labels of images and v\.csv has labels of proteins"):
            bring(tmp_path, dry_run=dry_run)
        with pytest.raises(EmbstoreError, match=r"fields/main has labels of proteins and t\.csv has labels of images"):
            ingest(store, tmp_path, dry_run=dry_run, **how)
    set_labels(store, "d", [Label("location", "protein", "p", "ER", None, "t.csv")])
    assert bring(tmp_path).labels_changed == 2


def test_a_dry_run_of_labels_add_writes_nothing_and_names_suspects(tmp_path: Path) -> None:
    """Names that the label set has already count too: ER beside er is one location under two names."""
    bring(tmp_path, VECTORS.replace("Q9,X", "Q9,A").replace("ACTN1,ER", "ACTN1,er"))
    store = Store.open(tmp_path / "store")
    versions = store.versions()
    (tmp_path / "t.csv").write_text(OWN)
    added = add_labels(store, tmp_path / "t.csv", dataset="d", scheme="location", dry_run=True)
    assert (added.changed, store.versions()) == (0, versions)
    assert [(each.location, each.subjects) for each in added.locations] == [
        ("???", 1),
        ("ER", 1),
        ("Endoplasmic reticulum", 1),
    ]
    assert "locations with more than one name: ER (1) = Endoplasmic reticulum (1) = er (1)" in added.notes
    assert "question marks among the locations: ??? (1)" in added.notes


def test_a_dry_run_of_ingest_lists_locations_and_suspects(tmp_path: Path) -> None:
    """Before any image is decoded, and with a map under the names that it gives."""
    for name in ("f1_d.tif", "f1_g.tif", "f2_d.tif", "f2_g.tif"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text("image_id,gene,locations\nf1,G1,ER;er\nf2,G2,golgi\n")
    how: dict[str, Any] = {"layout": "fields", "channels": "_d=nucleus,_g=protein", "backbones": ["pixel-stats"]}
    report = ingest(tmp_path / "store", tmp_path, labels=tmp_path / "t.csv", dry_run=True, **how)
    assert [(each.label_set, each.location, each.subjects) for each in report.locations] == [
        ("fields/main", "ER", 1),
        ("fields/main", "er", 1),
        ("fields/main", "golgi", 1),
    ]
    assert any("ER (1) = er (1), HPA's Endoplasmic reticulum" in note for note in report.notes)
    report = ingest(tmp_path / "store", tmp_path, labels=tmp_path / "t.csv", dry_run=True, location_map="hpa", **how)
    assert [each.location for each in report.locations] == ["Endoplasmic reticulum", "Golgi apparatus"]
    assert not any("suspects" in note for note in report.notes)


def test_labels_of_nothing_are_refused(tmp_path: Path) -> None:
    """A column of locations beside rows that name no protein would be lost."""
    with pytest.raises(EmbstoreError, match="the locations in location would be labels of nothing"):
        bring(tmp_path, id_column=None, gene_column=None)
    assert not (tmp_path / "store").exists()


def test_old_label_sets_keep_their_spelling_of_kaggles_names(tmp_path: Path) -> None:
    """Index 22 was `Cell junctions`: a rerun changes nothing, and a new label set has HPA's name."""
    store = Store.open(tmp_path / "store", create=True)
    before = [Label(KAGGLE_2018_SCHEME, "image", "f", "Cell junctions", None, "train.csv")]
    now = [Label(KAGGLE_2018_SCHEME, "image", "f", "Cell Junctions", None, "train.csv")]
    set_labels(store, "old", before)
    assert set_labels(store, "old", now) == 0
    assert labels_of(store, "old/28") == {("old/f", "Cell junctions", 1)}
    set_labels(store, "new", now)
    assert labels_of(store, "new/28") == {("new/f", "Cell Junctions", 1)}
