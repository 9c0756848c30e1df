"""Splits: even, whole, frozen, and what the audit sees."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Filler, add_late

from embstore.errors import EmbstoreError, StoreError
from embstore_bench.splits import KinCount, draw_split, keep_split, list_splits, load_split, make_split
from embstore_bench.stratify import rebalance

TOY = {"dataset": "toy", "label_set": "toy/grade3", "k": 3}


def test_a_split_puts_every_group_into_one_fold_evenly(atlas: Filler) -> None:
    """24 proteins of 3 locations go 8 to a fold, and every location into every fold."""
    split = make_split(atlas.store, **TOY)
    assert split.name == "toy/grade3/protein-k3-s0"
    assert sorted(Counter(split.folds.values()).values()) == [8, 8, 8]
    assert len(split.folds) == 24
    assert split.audit["protein"] == KinCount(units=96, with_kin=0, share=0.0)


def test_a_split_is_the_same_in_every_store_and_differs_between_seeds(atlas: Filler, tmp_path: Path) -> None:
    """Folds hang on the groups, their locations and the seed, not on the order in which rows were written."""
    first = make_split(atlas.store, **TOY)
    other = Filler(tmp_path / "other")
    for table in ("proteins", "labels", "images", "cells"):
        rows = atlas.store.read(table)
        other.store.upsert(table, rows.take(list(range(rows.num_rows))[::-1]))
    assert draw_split(other.store, **TOY).digest == first.digest
    assert draw_split(atlas.store, **TOY, seed=1).folds != first.folds


def test_a_split_that_an_entry_cites_does_not_move_when_data_come(benched: Filler) -> None:
    """A protein that is added later is in no fold of the splits that were scored on, and in those of other seeds."""
    before = make_split(benched.store, **TOY, seed=1)
    late = add_late(benched, 99, "er")
    assert make_split(benched.store, **TOY, seed=1) == before
    assert late not in before.folds
    assert late in draw_split(benched.store, **TOY, seed=7).folds


def test_a_split_that_no_entry_cites_follows_the_store(atlas: Filler) -> None:
    """Until it is scored on, a split is made anew when proteins come, and for nothing less."""
    before = make_split(atlas.store, **TOY)
    assert make_split(atlas.store, **TOY) == before
    atlas.labels("toy/grade3", "protein", {"ensembl:ENSG00000000000": ["nucleus"]})  # no new group
    assert make_split(atlas.store, **TOY) == before
    late = add_late(atlas, 99, "er")
    after = make_split(atlas.store, **TOY)
    assert set(after.folds) == set(before.folds) | {late}
    assert list_splits(atlas.store).to_pylist()[0]["digest"] == after.digest
    assert list_splits(atlas.store).to_pylist()[0]["n_groups"] == 25
    assert after.audit["protein"].units == 97


def test_drawing_a_split_writes_nothing(atlas: Filler) -> None:
    """What a split would be can be asked without making it, and is what it will be."""
    versions = atlas.store.versions()
    drawn = draw_split(atlas.store, **TOY)
    assert atlas.store.versions() == versions
    kept = keep_split(atlas.store, drawn)
    assert (kept.folds, kept.digest) == (drawn.folds, drawn.digest)


def test_a_split_whose_groups_were_changed_is_refused(atlas: Filler) -> None:
    """The digest covers the assignment: a changed fold is an error, not another score."""
    split = make_split(atlas.store, **TOY)
    group, fold = next(iter(split.folds.items()))
    atlas.store.upsert("split_groups", [{"name": split.name, "group_id": group, "fold": (fold + 1) % 3}])
    with pytest.raises(StoreError, match="changed since it was frozen"):
        load_split(atlas.store, split.name)


def test_a_kill_before_the_last_line_leaves_no_split(atlas: Filler) -> None:
    """Groups without a split are left-overs: the next call starts over and drops them."""
    name = "toy/grade3/protein-k3-s0"
    atlas.store.upsert("split_groups", [{"name": name, "group_id": "gene:left over", "fold": 0}])
    assert "gene:left over" not in make_split(atlas.store, **TOY).folds


def test_proteins_that_share_an_antibody_stay_together(atlas: Filler) -> None:
    """An image that names two proteins ties them: their group is one, and all of its cells are in one fold."""
    a, b = "ensembl:ENSG00000000000", "ensembl:ENSG00000000001"
    atlas.proteins([[a, b]])
    atlas.images("toy", {"toy/00-0": [a, b]})
    split = make_split(atlas.store, **TOY)
    assert a in split.folds
    assert b not in split.folds
    assert split.audit["protein"].with_kin == 0


def test_the_audit_counts_kin_of_every_kind(atlas: Filler) -> None:
    """Splitting by cell leaves kin in train for every protein and image; by protein only the shared plate is left."""
    by_cell = make_split(atlas.store, **TOY, by="cell").audit
    assert by_cell["protein"].share > 0.9
    assert by_cell["image"].share > 0.4
    by_protein = make_split(atlas.store, **TOY).audit
    assert {e: a.share for e, a in by_protein.items()} == {
        "protein": 0.0, "image": 0.0, "content": 0.0, "plate": 1.0, "well": 1.0,
    }  # fmt: skip


def test_the_audit_sees_one_file_under_two_names(atlas: Filler) -> None:
    """Identical content under two proteins is kin that no id shows."""
    folds = make_split(atlas.store, **TOY).folds
    a = min(folds)
    b = next(g for g in sorted(folds) if folds[g] != folds[a])
    twins = {f"toy/{a[-2:]}-0": [a], f"toy/{b[-2:]}-0": [b]}
    atlas.images("toy", twins, sha256=dict.fromkeys(twins, "the same bytes"))
    audit = make_split(atlas.store, **TOY, by="image").audit
    frozen = make_split(atlas.store, **TOY, seed=3)
    expected = 4 if frozen.folds[a] != frozen.folds[b] else 0
    assert frozen.audit["content"].with_kin == expected
    assert audit["image"].with_kin == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 2}, "2 folds leave nothing to train on"),
        ({"by": "plate"}, "no way to split 'plate'"),
        ({"k": 30}, "30 folds need at least 30"),
        ({"seed": -1}, "found seed -1, wanted 0 to 2147483647"),
        ({"seed": 2**31}, "found seed 2147483648, wanted 0"),
        ({"seed": 10**20}, "wanted 0 to 2147483647"),
        ({"label_set": "toy/none"}, "labels 0 protein groups"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(atlas: Filler, change: dict[str, object], message: str) -> None:
    """Too few folds or groups, and unknown words, are one-line errors and leave nothing behind."""
    with pytest.raises(EmbstoreError, match=message):
        make_split(atlas.store, **(TOY | change))
    assert len(list_splits(atlas.store)) == 0


def test_a_split_that_is_not_there_lists_those_that_are(atlas: Filler) -> None:
    """A wrong name is answered with the right ones."""
    make_split(atlas.store, **TOY)
    with pytest.raises(StoreError, match="choose from: toy/grade3/protein-k3-s0"):
        load_split(atlas.store, "nope")


def test_rebalancing_makes_the_chi_square_smaller_or_leaves_it() -> None:
    """Moves only ever make the folds more even, and a rebalanced split is left as it is."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        locations = [[c for c in "abcde" if rng.random() < 0.3] for _ in range(60)]
        dealt = (rng.permutation(60) % 5).tolist()
        rebalanced = rebalance(dealt, locations, 5)
        assert chi_square(rebalanced, locations, 5) <= chi_square(dealt, locations, 5)
        assert rebalance(rebalanced, locations, 5) == rebalanced


def chi_square(folds: list[int], locations: list[list[str]], k: int) -> float:
    """Return sum((n - e)^2 / e) over folds of each location with at least k groups, and of all groups, by loops."""
    total = 0.0
    for name in ["", *sorted({name for group in locations for name in group})]:
        has = [f for f, group in zip(folds, locations, strict=True) if not name or name in group]
        if len(has) >= k:
            total += sum((has.count(f) - len(has) / k) ** 2 / (len(has) / k) for f in range(k))
    return total


def test_opencells_rare_locations_are_in_every_fold(filler: Filler, samples: Path) -> None:
    """On OpenCell's published grade 3 labels no fold misses any of the 17 locations, and shares are as even as whole
    proteins allow (a random hold-out of a fifth misses focal adhesions in one draw of nine)."""
    located: dict[str, set[str]] = {}
    with (samples / "labels" / "opencell_public_annotations_flat.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["annotation_grade"] == "3":
                located.setdefault("ensembl:" + row["ensg_id"], set()).add(row["annotation_name"])
    filler.proteins([[p] for p in located])
    filler.labels("opencell/grade3", "protein", located)
    filler.profiles("opencell", {f"opencell/{p}": [p] for p in located})
    split = make_split(filler.store, dataset="opencell", label_set="opencell/grade3")
    groups = sorted(split.folds)
    sizes = Counter(c for p in located for c in located[p])
    for location, n in sizes.items():
        per_fold = Counter(split.folds[g] for g in groups if location in located[g])
        assert all(n // 5 - 1 <= per_fold[f] <= -(-n // 5) + 1 for f in range(5)), location
        assert len(per_fold) == 5
    rare = min(sizes.values())  # its share in whole proteins cannot be more even than this
    bound = max(-(-n // 5) / (n / 5) - 1 for n in sizes.values() if n < 2 * rare)
    shares = [Counter(split.folds[g] for g in groups if c in located[g]) for c in sizes]
    worst = max(abs(share[f] / (share.total() / 5) - 1) for share in shares for f in range(5))
    assert worst <= bound + 1e-9
