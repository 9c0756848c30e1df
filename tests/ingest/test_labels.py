"""Labels and proteins: a corrected table replaces, an unchanged one writes nothing, groups only grow together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_fields import ensg, write_hpa, write_labels, write_opencell

from embstore.ids import connected_groups
from embstore.ingest import ingest, set_labels
from embstore.sources.record import Label
from embstore.store import Store, add_proteins, protein_names, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(tmp_path / "store", create=True)


def stored(store: Store, scheme: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Return gene number -> location -> (grade, revision) of one of OpenCell's label sets."""
    result: dict[str, dict[str, tuple[int, int]]] = {}
    for row in rows(store, "SELECT * FROM labels WHERE label_set = ?", [f"opencell/{scheme}"]):
        result.setdefault(row["subject_id"].removeprefix("ensembl:"), {})[row["location"]] = (
            row["grade"],
            row["revision"],
        )
    return result


def protein_label(subject: str, location: str, grade: int | None = None) -> Label:
    return Label("any", "protein", subject, location, grade, "t.csv")


# -- labels ----------------------------------------------------------------------------------------------------------


def test_a_corrected_table_replaces_the_labels_of_its_subjects(store: Store, tmp_path: Path) -> None:
    """Stale locations go, also the last one of a scheme; the revision rises; the others keep theirs."""
    write_opencell(tmp_path / "in", [1, 2])
    path = tmp_path / "labels.csv"

    def take(grades: dict[int, dict[str, int]]) -> int:
        write_labels(path, grades)
        return ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"], labels=path).labels_changed

    one, two, three = map(ensg, (1, 2, 3))
    take({1: {"er": 3, "golgi": 1}, 2: {"er": 3}, 3: {"membrane": 2}})
    version = store.versions()["labels"]
    assert stored(store, "any") == {
        one: {"er": (3, 1), "golgi": (1, 1)},
        two: {"er": (3, 1)},
        three: {"membrane": (2, 1)},
    }

    # of 1, golgi is taken back and er is weaker; 2 is as it was; 3 is not spoken of any more
    assert take({1: {"er": 2}, 2: {"er": 3}}) == 3  # 1 in each of the three schemes
    assert stored(store, "any") == {one: {"er": (2, 2)}, two: {"er": (3, 1)}, three: {"membrane": (2, 1)}}
    assert stored(store, "grade2plus") == {one: {"er": (2, 2)}, two: {"er": (3, 1)}, three: {"membrane": (2, 1)}}
    assert stored(store, "grade3") == {two: {"er": (3, 1)}}  # 1 has no prominent location left
    earlier = store.dataset("labels", version).to_table()
    assert earlier.num_rows == 9  # what an entry cites is still there


def test_unchanged_labels_write_nothing(store: Store) -> None:
    """The same labels in any order, repeated or from another file, make no new version."""
    labels = [protein_label("p", "er", 3), protein_label("p", "golgi, cis"), protein_label("q'", "er")]
    assert set_labels(store, "d", labels) == 2
    version = store.versions()["labels"]
    assert set_labels(store, "d", [*reversed(labels), labels[0]], [("any", "protein", "p")]) == 0
    assert set_labels(store, "d", [], [("any", "protein", "absent")]) == 0
    assert store.versions()["labels"] == version


def test_label_sets_of_datasets_do_not_touch_each_other(store: Store) -> None:
    """The same protein, scheme and location in two datasets are two label sets; quotes in names are only names."""
    for dataset in ("a", "b"):
        set_labels(store, dataset, [protein_label("p'", "5' cap"), protein_label("p'", "er")])
    set_labels(store, "a", [protein_label("p'", "er")])
    result = {(row["label_set"], row["location"], row["revision"]) for row in rows(store, "SELECT * FROM labels")}
    assert result == {("a/any", "er", 2), ("b/any", "5' cap", 1), ("b/any", "er", 1)}


def test_random_corrections_end_as_the_last_table_says(store: Store) -> None:
    """After a dozen random tables, the labels are those of a dict that was updated subject by subject."""
    rng = np.random.default_rng(0)
    twin: dict[str, set[str]] = {}
    for _ in range(12):
        subjects = [f"p{i}" for i in rng.choice(8, 4, replace=False)]
        table = {s: {f"l{j}" for j in rng.choice(4, rng.integers(0, 4), replace=False)} for s in subjects}
        labels = [protein_label(s, location) for s, grades in table.items() for location in sorted(grades)]
        set_labels(store, "d", labels, [("any", "protein", s) for s in subjects])
        twin |= table
        result: dict[str, set[str]] = {}
        for row in store.read("labels").to_pylist():
            result.setdefault(row["subject_id"], set()).add(row["location"])
        assert result == {s: grades for s, grades in twin.items() if grades}


def test_labels_of_images_are_known_by_image_id(store: Store, tmp_path: Path) -> None:
    """HPA's labels belong to images: their subject is the image's id, and a corrected row replaces them."""
    write_hpa(tmp_path / "in", "9001_A1_1", 1, ("blue", "green"))
    labels = tmp_path / "labels.csv"
    for text, expected in (("Nucleoli,Cytosol", {"Nucleoli", "Cytosol"}), ("Cytosol", {"Cytosol"}), ("", set())):
        labels.write_text(f'ID,Label_idx\n9001_A1_1,"{text}"\n')
        ingest(store, tmp_path / "in", layout="hpa", backbones=["pixel-stats"], labels=labels)
        result = rows(store, "SELECT * FROM labels")
        assert {row["location"] for row in result} == expected
        assert {(r["label_set"], r["level"], r["subject_id"]) for r in result} <= {
            ("hpa/main", "image", "hpa/9001_A1_1")
        }


# -- proteins --------------------------------------------------------------------------------------------------------


def test_groups_join_when_an_antibody_names_two_known_proteins(store: Store) -> None:
    """Proteins once apart get one group in every row as soon as something names them together, across datasets."""
    add_proteins(store, [(["a"], ["A"]), (["c"], ["C"]), (["b", "d"], ["B", "D"])])
    assert add_proteins(store, [(["a"], ["A"])]) == 0
    assert add_proteins(store, [(["c", "b"], ["C", "B"]), (["e"], [])]) == 2  # c moves to b's group, e is new
    result = {row["protein_id"]: (row["group_id"], row["gene"]) for row in store.read("proteins").to_pylist()}
    assert result == {"a": ("a", "A"), "b": ("b", "B"), "c": ("b", "C"), "d": ("b", "D"), "e": ("e", "e")}


def test_groups_that_grow_step_by_step_are_those_of_all_at_once(store: Store) -> None:
    """Twenty random ingests end with the components over all of them together."""
    rng = np.random.default_rng(1)
    seen: list[list[str]] = []
    for _ in range(20):
        batch = [[f"p{i}" for i in rng.integers(0, 30, rng.integers(1, 3))] for _ in range(2)]
        batch = [list(dict.fromkeys(ids)) for ids in batch]
        add_proteins(store, [(ids, []) for ids in batch])
        seen += batch
    result = {row["protein_id"]: row["group_id"] for row in store.read("proteins").to_pylist()}
    assert result == connected_groups(seen)


def test_a_protein_without_a_gene_takes_the_first_that_it_is_given(store: Store) -> None:
    """A gene learned later replaces the id shown in its place, and is kept from then on."""
    add_proteins(store, [(["uniprot:P12814"], []), (["gene:ACTN4"], ["ACTN4"])])
    assert [row["gene"] for row in rows(store, "SELECT gene FROM proteins ORDER BY gene")] == [
        "ACTN4",
        "uniprot:P12814",
    ]
    add_proteins(store, [(["uniprot:P12814"], ["ACTN1"])])
    version = store.versions()["proteins"]
    add_proteins(store, [(["uniprot:P12814"], ["OTHER"]), (["uniprot:P12814"], [])])
    assert store.versions()["proteins"] == version
    for name in ("ACTN1", "actn1", "P12814", "uniprot:P12814"):
        assert protein_names(store)[name.lower()] == ["uniprot:P12814"]
    assert "actn" not in protein_names(store)
