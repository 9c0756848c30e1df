"""What is asked, of whom, and who is left out."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CLASSES, Filler, add_late

from embstore.errors import EmbstoreError
from embstore.store import Store, put_vectors, rows
from embstore_bench.questions import find_question
from embstore_bench.splits import draw_split
from embstore_bench.tasks import LeftOut, Task, TaskQuestion, load_task

TOY = TaskQuestion("localization:grade3", "toy", "toy/grade3")


def load(store: Store, *backbones: str, k: int = 3, by: str = "protein") -> Task:
    split = draw_split(store, dataset="toy", label_set="toy/grade3", k=k, by=by)
    spaces = {s["backbone"]: s for s in rows(store, "SELECT * FROM spaces ORDER BY digest")}
    return load_task(store, TOY, [spaces[b] for b in backbones or ("good",)], [split])


def digest_of(store: Store, backbone: str) -> str:
    return str(rows(store, "SELECT digest FROM spaces WHERE backbone = $b", {"b": backbone})[0]["digest"])


def test_units_meet_their_labels_through_ids(atlas: Filler) -> None:
    """Every cell has its protein's locations, in order of id; `good` vectors show them, so X and Y are paired right."""
    task = load(atlas.store)
    assert task.classes == CLASSES
    assert list(task.ids) == sorted(task.ids)
    assert len(task.ids) == 96
    X = atlas.store.matrix(digest_of(atlas.store, "good"), task.ids)
    np.testing.assert_array_equal(X[:, :3] > 2, task.actual)


def test_nothing_is_lost_without_a_count(benched: Filler) -> None:
    """Cells without a protein, without a label, or of a late group are left out, and each reason is counted."""
    atlas = benched  # whose split is frozen
    extra = {"toy/none": [], "toy/unlabelled": ["gene:U"], "toy/late": ["gene:L"]}
    atlas.proteins([["gene:U"], ["gene:L"]])
    atlas.labels("toy/grade3", "protein", {"gene:L": ["er"]})
    atlas.images("toy", extra)
    cells = {f"{image}:seg00000:{i}": image for n, image in enumerate(extra) for i in range(n + 1)}
    atlas.cells(cells)
    put_vectors(atlas.store, digest_of(atlas.store, "good"), list(cells), np.zeros((len(cells), 6), np.float32))
    task = load(atlas.store)
    assert len(task.ids) == 96
    assert task.left_out == LeftOut(not_in_every_space={}, no_protein=1, no_label=2, group_not_in_split=3)


def test_compared_spaces_are_scored_on_what_both_hold(atlas: Filler) -> None:
    """A space that lacks a cell removes it from both, and the report states how many each space dropped."""
    lost = load(atlas.store).ids[:5]
    table = "emb_" + digest_of(atlas.store, "noise")[:12]
    atlas.store.delete(table, "id IN ({})".format(", ".join(f"'{i}'" for i in lost)))
    task = load(atlas.store, "good", "noise")
    assert not set(lost) & set(task.ids)
    assert task.left_out.not_in_every_space == {"good": 5}


def test_a_unit_of_dropped_classes_only_is_no_negative(atlas: Filler) -> None:
    """A location with too few proteins is left out with its count; a protein that has only such ones is left out."""
    rare = "ensembl:ENSG00000000050"
    atlas.proteins([[rare]])
    atlas.labels("toy/grade3", "protein", {rare: ["cilia"], "ensembl:ENSG00000000001": ["cilia"]})
    atlas.images("toy", {"toy/50-0": [rare]})
    atlas.cells({"toy/50-0:seg00000:1": "toy/50-0"})
    put_vectors(atlas.store, digest_of(atlas.store, "good"), ["toy/50-0:seg00000:1"], np.zeros((1, 6), np.float32))
    task = load(atlas.store)
    assert task.classes == CLASSES
    assert task.left_out.classes == {"cilia": 2}
    assert task.left_out.no_class_left == 1
    assert len(task.ids) == 96  # the protein that has another location too is kept


@pytest.mark.parametrize("level", ["image", "cell"])
def test_labels_of_images_and_cells_reach_the_cells(atlas: Filler, level: str) -> None:
    """A label set may name images or cells instead of proteins: their cells have the labels."""
    truth = load(atlas.store)
    actual = dict(zip(truth.ids, truth.actual.tolist(), strict=True))
    subjects = {(i if level == "cell" else i.split(":")[0]): actual[i] for i in truth.ids}
    atlas.labels(
        "toy/own", level, {s: [c for c, yes in zip(CLASSES, row, strict=True) if yes] for s, row in subjects.items()}
    )
    split = draw_split(atlas.store, dataset="toy", label_set="toy/own", k=3)
    space = rows(atlas.store, "SELECT * FROM spaces WHERE backbone = 'good'")
    task = load_task(atlas.store, TaskQuestion("localization:own", "toy", "toy/own"), space, [split])
    assert task.ids == truth.ids
    np.testing.assert_array_equal(task.actual, truth.actual)


def test_fewer_than_two_classes_says_which_folds_would_do(atlas: Filler) -> None:
    """Nine folds need nine proteins a location; the error counts them and names what would work."""
    with pytest.raises(EmbstoreError, match=r"\(proteins per class: golgi, cis 12, er 8, nucleus 8\); --folds 3 to 8"):
        load(atlas.store, k=9)


@pytest.mark.parametrize(
    ("min_groups", "message"), [(30, "fewer than two classes"), (3, "no unit of toy can be scored")]
)
def test_units_that_came_after_the_splits_are_no_reason_to_add_more(
    benched: Filler, min_groups: int, message: str
) -> None:
    """Where frozen splits are what leaves units out, the error names seeds that are free, not more labels or images."""
    add_late(benched, 99, "er")
    if min_groups == 3:
        benched.store.delete("labels", "subject_id != 'ensembl:ENSG00000000099'")
    splits = [draw_split(benched.store, dataset="toy", label_set="toy/grade3", k=3, seed=s) for s in (0, 1)]
    spaces = rows(benched.store, "SELECT * FROM spaces WHERE backbone = 'good'")
    with pytest.raises(EmbstoreError, match=message) as caught:
        load_task(benched.store, TOY, spaces, splits, min_groups=min_groups)
    assert "1 units are of groups that were added after the splits were frozen" in str(caught.value)
    assert "the same command with `--seeds 2,3` makes" in str(caught.value)
    assert "add labels" not in str(caught.value)
    assert "label more" not in str(caught.value)


def test_the_default_task_is_the_only_one_or_the_preferred_one(atlas: Filler) -> None:
    """One label set needs no name; of several `grade3` is meant; names that do not exist list those that do."""
    assert find_question(atlas.store) == TOY
    atlas.labels("toy/any", "protein", {"ensembl:ENSG00000000001": ["er"]})
    assert find_question(atlas.store) == TOY
    assert find_question(atlas.store, "localization:any").label_set == "toy/any"
    with pytest.raises(EmbstoreError, match="choose from: localization:any, localization:grade3"):
        find_question(atlas.store, "localization:fine", "toy")
    with pytest.raises(EmbstoreError, match="no task 'morphology'"):
        find_question(atlas.store, "morphology")


def test_several_datasets_have_to_be_named(atlas: Filler) -> None:
    """With labels of two datasets the question is open until one is named."""
    atlas.labels("other/kaggle", "image", {"other/1": ["er"]})
    with pytest.raises(EmbstoreError, match="2 datasets have labels: other, toy; name one with --dataset"):
        find_question(atlas.store)
    assert find_question(atlas.store, dataset="other").name == "localization:kaggle"
    assert find_question(atlas.store, "localization:kaggle").dataset == "other"
    with pytest.raises(EmbstoreError, match="choose from: other, toy"):
        find_question(atlas.store, dataset="nope")


def test_schemes_without_a_preferred_one_are_listed(filler: Filler) -> None:
    """Two label sets of one dataset, neither the usual one: the error is the list to choose from."""
    filler.labels("toy/a", "protein", {"gene:A": ["er"]})
    filler.labels("toy/b", "protein", {"gene:A": ["er"]})
    with pytest.raises(EmbstoreError, match="--task localization:a, --task localization:b"):
        find_question(filler.store)


def test_a_store_without_labels_says_what_to_do(filler: Filler) -> None:
    """Nothing can be asked of unlabelled cells."""
    with pytest.raises(EmbstoreError, match="ingest again with --labels FILE"):
        find_question(filler.store)


def test_vectors_of_different_units_are_not_compared(atlas: Filler) -> None:
    """A protein's vector and a cell's vector answer different questions."""
    atlas.profiles("toy", {"toy/p1": ["ensembl:ENSG00000000001"]})
    atlas.space("brought", ["toy/p1"], np.zeros((1, 4), np.float32), unit="protein")
    with pytest.raises(EmbstoreError, match="one unit at a time"):
        load(atlas.store, "good", "brought")
