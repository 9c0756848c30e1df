"""`bench` end to end on a store whose truth is known, and against an independent reimplementation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BOTH, CLASSES, QUICK, Filler, add_late, add_orre, add_slf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embstore.errors import EmbstoreError
from embstore.store import Answer, Store, add_space, put_vectors, rows
from embstore_bench import bench, leaderboard, per_class
from embstore_bench.report import BenchReport
from embstore_bench.results import METRICS
from embstore_bench.splits import list_splits


def means(report: BenchReport) -> dict[tuple[str, str], float]:
    return {(r.backbone, r.head): r.mean for r in report.entries}


def listed(answer: Answer, column: str) -> list[Any]:
    return answer.to_arrow()[column].to_pylist()


def predictions(store: Store, entry: str) -> list[dict[str, Any]]:
    return rows(store, "SELECT * FROM predictions WHERE entry = $e ORDER BY seed, id", {"e": entry})


def test_vectors_that_show_the_location_score_near_one_and_noise_like_the_baselines(benched: Filler) -> None:
    """Known truth is found, noise is no better than random vectors, and random-per-protein does not leak."""
    result = means(bench(benched.store, backbones=BOTH, heads=["linear", "knn", "prototype"], **QUICK))
    for head in ("linear", "knn", "prototype"):
        assert result["good", head] > 0.97
        for name in ("noise", "random", "random-per-protein"):
            assert result[name, head] < result["all-positive", "constant"] + 0.12, (name, head)


def test_one_random_vector_per_protein_sounds_the_alarm_when_a_split_leaks(atlas: Filler) -> None:
    """Split by cell, a protein's other cells are in train, and vectors without information on location score near 1."""
    report = bench(atlas.store, backbones=["good"], heads=["linear", "knn"], by="cell", folds=3, seeds=1)
    for head in ("linear", "knn"):
        assert means(report)["random-per-protein", head] > 0.9
        assert means(report)["random", head] < 0.7
    assert any("split by cell" in note for note in report.notes)


def test_only_what_is_missing_is_fitted(benched: Filler, first_report: BenchReport) -> None:
    """The same bench fits nothing, writes nothing and shows the same; a backbone or head more adds its own only."""
    assert (first_report.made, first_report.reused) == (6, 0)
    versions = benched.store.versions()
    again = bench(benched.store, backbones=BOTH, **QUICK)
    assert (again.made, again.reused) == (0, 6)
    assert again.entries == first_report.entries
    assert benched.store.versions() == versions
    head = bench(benched.store, backbones=["good"], heads=["linear", "knn"], **QUICK)
    assert (head.made, head.reused) == (3, 5)  # knn on good and on both random baselines
    backbone = bench(benched.store, backbones=BOTH, heads=["knn"], **QUICK)
    assert (backbone.made, backbone.reused) == (1, 5)


def test_changed_labels_or_vectors_are_another_entry_and_the_newest_is_shown(
    benched: Filler, first_report: BenchReport
) -> None:
    """An entry names what it was computed from: other vectors under the same name are not passed off as the same.

    What looks alike is shown once, as it is now; the older entries stay, and are shown when asked for.
    """
    store = benched.store
    digest = rows(store, "SELECT digest FROM spaces WHERE backbone = 'good'")[0]["digest"]
    put_vectors(store, digest, ["toy/00-0:seg00000:1"], np.ones((1, 6), np.float32))
    assert bench(store, backbones=BOTH, **QUICK).made == 1  # the baselines do not look at vectors
    benched.labels("toy/grade3", "protein", {"ensembl:ENSG00000000001": ["er"]})
    newest = bench(store, backbones=BOTH, **QUICK)
    assert newest.made == 6
    assert listed(leaderboard(store), "entry") == [r.entry for r in newest.entries]
    assert len(per_class(store)) == 6 * len(CLASSES)
    everything = leaderboard(store, superseded=True)
    assert len(everything) == 6 + 1 + 6
    assert len(set(listed(everything, "created"))) == 13
    assert len(per_class(store, superseded=True)) == 13 * len(CLASSES)
    named = [r.entry for r in first_report.entries]
    assert set(listed(leaderboard(store, entries=named), "entry")) == set(named)


def test_a_bench_on_fewer_units_does_not_hide_the_score_on_all(benched: Filler, first_report: BenchReport) -> None:
    """Compared with a space that has a part of the units, a backbone is scored on that part; its full score stays."""
    store = benched.store
    ids = store.read("cells", ["cell_id"])["cell_id"].to_pylist()[:-4]
    benched.space("partial", ids, np.random.default_rng(0).normal(size=(len(ids), 6)).astype(np.float32))
    partial = bench(store, backbones=["good", "partial"], **QUICK)
    assert partial.made == 6
    shown = {row["backbone"]: row["entry"] for row in leaderboard(store).to_pylist()}
    assert shown == {row.backbone: row.entry for row in first_report.entries} | {
        row.backbone: row.entry for row in partial.entries if row.backbone == "partial"
    }


def test_a_bench_that_fails_leaves_no_split_and_no_trace(atlas: Filler) -> None:
    """Too early is not final: once the proteins are added, the same bench scores all of them."""
    versions = atlas.store.versions()
    early: dict[str, Any] = {"backbones": ["noise"], "heads": ["knn"], "folds": 9, "seeds": 1}
    with pytest.raises(EmbstoreError, match="fewer than two classes have at least 9 groups"):
        bench(atlas.store, **early)
    assert atlas.store.versions() == versions
    for number, location in ((90, "er"), (91, "nucleus")):
        add_late(atlas, number, location)
    report = bench(atlas.store, **early)
    assert report.entries[0].n_groups == 26
    assert report.left_out.group_not_in_split == 0


def test_units_that_came_later_are_scored_by_the_seeds_that_the_hint_names(benched: Filler) -> None:
    """Frozen splits leave them out and report it; the seeds named by the note make splits that contain them."""
    add_late(benched, 90, "er")
    options: dict[str, Any] = {"backbones": ["good"], "heads": ["linear"], "folds": 3}
    frozen = bench(benched.store, seeds=2, **options)
    assert (frozen.made, frozen.left_out.group_not_in_split) == (0, 1)
    named = re.search(r"`--seeds ([\d,]+)`", frozen.notes[-1])
    assert named
    fresh = bench(benched.store, seeds=[int(s) for s in named[1].split(",")], **options)
    assert fresh.left_out.group_not_in_split == 0
    assert fresh.entries[0].split == "toy/grade3/protein-k3-s2,3"
    assert fresh.entries[0].n_groups == 25
    assert listed(list_splits(benched.store), "seed") == [0, 1, 2, 3]


def test_predictions_of_baselines_are_not_stored(benched: Filler, first_report: BenchReport) -> None:
    """A baseline's answers depend on ids and train alone: only those of vectors are kept, every unit of every seed."""
    stored = rows(benched.store, "SELECT entry, seed, count(*) AS n FROM predictions GROUP BY ALL ORDER BY ALL")
    kept = sorted(r.entry for r in first_report.entries if not r.floor)
    assert stored == [{"entry": entry, "seed": s, "n": 96} for entry in kept for s in (0, 1)]


def test_two_stores_give_the_same_entries_and_bytes(atlas: Filler, tmp_path: Path) -> None:
    """Nothing is left to chance: the same content gives the same entry ids, figures and predictions."""
    options: dict[str, Any] = {"backbones": ["noise"], "heads": ["linear", "knn"], "folds": 3, "seeds": 1}
    first = bench(atlas.store, **options)
    other = Filler(tmp_path / "other").store
    for table in ("proteins", "labels", "images", "cells"):
        other.upsert(table, atlas.store.read(table))
    space = rows(atlas.store, "SELECT * EXCLUDE (canary, created) FROM spaces WHERE backbone = 'noise'")[0]
    ids, X = atlas.store.vectors(space["digest"])
    add_space(other, space, 6, half=False)
    put_vectors(other, space["digest"], ids[::-1], X[::-1])
    second = bench(other, **options)
    unstamped = [[replace(r, created=None) for r in report.entries] for report in (first, second)]
    assert unstamped[0] == unstamped[1]
    everything = "SELECT * FROM predictions ORDER BY entry, seed, id"
    assert rows(atlas.store, everything) == rows(other, everything)


def test_figures_follow_from_the_stored_predictions(benched: Filler, first_report: BenchReport) -> None:
    """Macro, micro, weighted and per-class F1 are scikit-learn's of the stored predictions, seed by seed."""
    report = first_report
    entry = next(r.entry for r in report.entries if r.backbone == "noise")
    stored = predictions(benched.store, entry)
    result = {(r.metric, r.level): r.mean for r in (*report.metrics, *report.entries) if r.entry == entry}
    seeds = [[r for r in stored if r["seed"] == s] for s in (0, 1)]

    def mean(figure: Any) -> float:
        return float(np.mean([figure(np.array([r["actual"] for r in s]), s) for s in seeds]))

    def predicted(s: list[dict[str, Any]]) -> np.ndarray:
        return np.array([r["predicted"] for r in s])

    assert len(stored) == 2 * 96
    assert result["macro_f1", "unit"] == pytest.approx(mean(lambda y, s: f1_score(y, predicted(s), average="macro")))
    assert result["micro_f1", "unit"] == pytest.approx(mean(lambda y, s: f1_score(y, predicted(s), average="micro")))
    half = mean(lambda y, s: f1_score(y, np.array([r["scores"] for r in s]) >= 0.5, average="macro"))
    assert result["macro_f1@0.5", "unit"] == pytest.approx(half)
    classes = per_class(benched.store, entries=[entry]).to_pylist()
    for c, row in enumerate(classes):
        assert row["location"] == CLASSES[c]
        assert row["support"] == sum(r["actual"][c] for r in seeds[0])
        assert row["mean"] == pytest.approx(mean(lambda y, s, c=c: f1_score(y[:, c], predicted(s)[:, c])))


def test_protein_level_is_the_mean_of_its_cells_at_the_runs_thresholds(atlas: Filler) -> None:
    """A protein's score is the mean over its cells, called at the threshold of the fold that tested it."""
    atlas.cells({f"toy/00-0:seg00000:{i}": "toy/00-0" for i in range(3, 9)})  # a protein of many cells
    digest = rows(atlas.store, "SELECT digest FROM spaces WHERE backbone = 'noise'")[0]["digest"]
    extra = [f"toy/00-0:seg00000:{i}" for i in range(3, 9)]
    put_vectors(atlas.store, digest, extra, np.full((6, 6), 0.5, np.float32))
    report = bench(atlas.store, backbones=["noise"], folds=3, seeds=1)
    entry = next(r.entry for r in report.entries if r.backbone == "noise")
    figures = {(r.metric, r.level): r.mean for r in report.metrics if r.entry == entry}
    stored = predictions(atlas.store, entry)
    assert len(stored) == 102
    runs = rows(atlas.store, "SELECT * FROM runs WHERE entry = $e ORDER BY fold", {"e": entry})
    proteins = sorted({r["id"].split("-")[0] for r in stored})
    cells_of = {p: [r for r in stored if r["id"].startswith(p)] for p in proteins}
    score = np.array([np.mean([r["scores"] for r in cells_of[p]], axis=0) for p in proteins])
    threshold = np.array([runs[cells_of[p][0]["fold"]]["thresholds"] for p in proteins])
    actual = np.array([cells_of[p][0]["actual"] for p in proteins])
    expected = f1_score(actual, score.astype(np.float32) >= threshold.astype(np.float32), average="macro")
    assert figures["macro_f1", "protein"] == pytest.approx(expected)
    weight = np.array([1 / len(cells_of[r["id"].split("-")[0]]) for r in stored])
    y, p = np.array([r["actual"] for r in stored]), np.array([r["predicted"] for r in stored])
    weighted = np.mean([f1_score(y[:, c], p[:, c], sample_weight=weight) for c in range(3)])
    assert figures["macro_f1_weighted", "unit"] == pytest.approx(weighted)


def test_an_entry_says_what_it_rests_on(benched: Filler) -> None:
    """Versions of every table read, a tag that keeps them, digests, libraries and what was left out are recorded."""
    splits = listed(list_splits(benched.store), "digest")
    for row in rows(benched.store, "SELECT * FROM entries ORDER BY entry"):
        versions = json.loads(row["table_versions"])
        assert {"images", "cells", "labels", "proteins", "splits", "split_groups"} <= set(versions)
        for table, version in versions.items():
            assert benched.store.dataset(table).tags.list()[row["tag"]]["version"] == version
        assert row["split_digest"].split(",") == splits
        assert json.loads(row["libraries"])["torch"]
        assert row["classes"] == list(CLASSES)
        assert (row["n_units"], row["n_groups"], row["n_folds"], row["n_seeds"]) == (96, 24, 3, 2)
        assert "24 proteins in 3 classes: plumbing, not a score" in row["note"]
    assert rows(benched.store, "SELECT count(*) AS n FROM runs") == [{"n": 6 * 3 * 2}]


def test_a_kill_before_the_entry_is_written_is_completed_by_a_rerun(benched: Filler, first_report: BenchReport) -> None:
    """Entries are written last: without its entry a fit does not count, and fitting it again gives the same figures."""
    lost = first_report.entries[0].entry
    benched.store.delete("entries", f"entry = '{lost}'")
    benched.store.delete("predictions", f"entry = '{lost}' AND seed = 1")
    assert lost not in listed(leaderboard(benched.store), "entry")
    again = bench(benched.store, backbones=BOTH, **QUICK)
    assert again.made == 1
    assert [r.mean for r in again.entries] == [r.mean for r in first_report.entries]
    assert len(predictions(benched.store, lost)) == 2 * 96


def test_phantom_images_are_named_as_such(atlas: Filler) -> None:
    """A score on simulated images carries the sentence that says so."""
    images = atlas.store.read("images").to_pylist()
    atlas.store.upsert("images", [row | {"licence": "phantom"} for row in images])
    report = bench(atlas.store, backbones=["good"], heads=["knn"], folds=3, seeds=1)
    assert "phantom images: this score shows that the machine works, not biology" in report.notes
    assert "phantom" in report.entries[0].note


def test_progress_counts_every_fit(atlas: Filler) -> None:
    """Each fold of each seed of each entry is one step, and the last step is the total."""
    steps: list[tuple[str, int, int]] = []
    bench(atlas.store, backbones=["good"], heads=["knn"], progress=lambda *step: steps.append(step), **QUICK)
    assert list(dict.fromkeys(steps)) == [("fits", done, 30) for done in range(31)]


def test_progress_names_what_is_fitted(atlas: Filler) -> None:
    """Before its first fit, and after each, an entry is named by its space and head."""
    items: list[str] = []

    class Recorded:
        def __call__(self, stage: str, done: int, total: int) -> None:
            pass

        def detail(self, *, failures: int, item: str) -> None:
            items.append(item)

    bench(atlas.store, backbones=["good"], heads=["knn"], progress=Recorded(), **QUICK)
    names = ["good, knn", "all-positive, constant", "majority, constant", "random, knn"]
    assert list(dict.fromkeys(items)) == [*names, "random-per-protein, knn"]
    assert items.count("good, knn") == 1 + 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbones": ["imagenet"]}, "embstore embed --backbone imagenet"),
        ({"heads": ["svm"]}, "no head 'svm'; choose from: knn, linear, mlp, prototype"),
        ({"folds": 2}, "2 folds leave nothing to train on"),
        ({"seeds": 0}, "found 0 split seeds, wanted 1 to 100"),
        ({"seeds": 20240101}, "wanted 1 to 100; a single seed is `--seeds 7,`"),
        ({"seeds": []}, "found 0 split seeds"),
        ({"seeds": [0, 2**31]}, "found seed 2147483648, wanted 0 to 2147483647"),
        ({"by": "plate"}, "choose from: cell, image, protein"),
    ],
)
def test_a_bench_that_cannot_run_says_why(atlas_folder: Path, change: dict[str, Any], message: str) -> None:
    """Wrong words and missing spaces are one-line errors with what to do, and write nothing."""
    store = Store.open(atlas_folder)
    versions = store.versions()
    with pytest.raises(EmbstoreError, match=message):
        bench(store, **({"backbones": ["good"]} | QUICK | change))
    assert store.versions() == versions


def test_the_leaderboard_filters_by_dataset_task_metric_and_level(
    benched_folder: tuple[Path, BenchReport], first_report: BenchReport
) -> None:
    """The best is first, baselines are in the same table, and `localization` means every scheme of it."""
    store = Store.open(benched_folder[0])
    table = leaderboard(store, dataset="toy", task="localization").to_pylist()
    assert [r["entry"] for r in table] == [r.entry for r in first_report.entries]
    assert table[0]["backbone"] == "good"
    assert [r["mean"] for r in table] == sorted((r["mean"] for r in table), reverse=True)
    assert len(leaderboard(store, metric="micro_f1", level="protein")) == 6
    recorded = {(r.metric, r.level) for r in first_report.metrics + first_report.entries}
    kept = {(metric, level) for metric, levels in METRICS.items() for level in levels}
    assert recorded == kept - {("accuracy", "unit")}  # some proteins have two locations


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"metric": "nope"},
            "no metric 'nope'; choose from: accuracy, macro_f1, macro_f1@0.5, macro_f1@tuned, macro_f1_weighted",
        ),
        ({"level": "nope"}, "no level of macro_f1 'nope'; choose from: protein, unit"),
        ({"metric": "macro_f1@0.5", "level": "protein"}, "no level of macro_f1@0.5 'protein'; choose from: unit"),
        ({"metric": None, "level": "cell"}, "no level 'cell'; choose from: protein, unit"),
        ({"dataset": "other"}, "no dataset 'other' with results; choose from: toy"),
        ({"task": "truth"}, "no task 'truth' with results; choose from: localization, localization:grade3"),
    ],
)
def test_a_figure_that_is_not_kept_lists_those_that_are(
    benched_folder: tuple[Path, BenchReport], asked: dict[str, Any], message: str
) -> None:
    """A metric, level, dataset or task that does not exist is an error, not an empty table."""
    with pytest.raises(EmbstoreError, match=message):
        leaderboard(Store.open(benched_folder[0]), **asked)


@pytest.mark.slow
def test_a_scikit_learn_pipeline_on_the_exported_folds_gives_the_same_score(filler: Filler, samples: Path) -> None:
    """Folds by SQL, vectors by Store.matrix, and scikit-learn's own pipeline and F1: the same within 0.002.

    At the fixed threshold 0.5, and with the C and class weights that each run recorded, on HPA's SLF features.
    """
    add_slf(filler, samples)
    report = bench(filler.store, backbones=["slf686"], folds=3, seeds=1)
    entry = next(r.entry for r in report.entries if r.backbone == "slf686")
    result = next(r.mean for r in report.metrics if (r.entry, r.metric) == (entry, "macro_f1@0.5"))
    sql = """
        SELECT p.profile_id, g.fold, list(l.location) AS locations
        FROM profiles AS p JOIN proteins AS q ON q.protein_id = p.protein_ids[1]
        JOIN split_groups AS g ON g.group_id = q.group_id JOIN labels AS l ON l.subject_id = q.protein_id
        WHERE g.name = 'slf/main/protein-k3-s0' GROUP BY ALL ORDER BY p.profile_id"""
    units = rows(filler.store, sql)
    names = sorted({c for u in units for c in u["locations"]})
    Y = np.array([[c in u["locations"] for c in names] for u in units])
    digest = rows(filler.store, "SELECT digest FROM spaces")[0]["digest"]
    X = filler.store.matrix(digest, [u["profile_id"] for u in units]).astype(np.float64)
    folds = np.array([u["fold"] for u in units])
    runs = rows(filler.store, "SELECT fold, chosen FROM runs WHERE entry = $e ORDER BY fold", {"e": entry})
    predicted = np.zeros(Y.shape, dtype=bool)
    for run in runs:
        test, chosen = folds == run["fold"], json.loads(run["chosen"])
        weight = None if chosen["class_weight"] == "none" else chosen["class_weight"]
        for c in range(len(names)):
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=chosen["C"], class_weight=weight, max_iter=5000)
            )
            predicted[test, c] = model.fit(X[~test], Y[~test, c]).predict_proba(X[test])[:, 1] >= 0.5
    assert result == pytest.approx(f1_score(Y, predicted, average="macro"), abs=0.002)
    headline = report.entries[0]
    assert headline.backbone == "slf686"
    assert 0.45 < headline.mean < 0.55  # scikit-learn's level on this set is about 0.50


def test_entries_of_an_older_protocol_are_shown_only_when_asked_for(
    benched: Filler, first_report: BenchReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers mean something else: they stay, and are shown with all versions or by their ids."""
    for module in ("results", "setting", "recording"):
        monkeypatch.setattr(f"embstore_bench.{module}.PROTOCOL", 3)
    store = benched.store
    assert len(leaderboard(store)) == 0
    assert len(leaderboard(store, superseded=True)) == 6
    assert len(leaderboard(store, entries=[first_report.entries[0].entry])) == 1
    newer = bench(store, backbones=["good"], heads=["prototype"], **QUICK)
    assert newer.made == 5
    assert set(listed(leaderboard(store), "entry")) == {row.entry for row in newer.entries}


@pytest.mark.slow
def test_orre_reaches_its_known_level(filler: Filler, samples: Path) -> None:
    """Fifteen locations whose names contain commas, 406 rows without a UniProt id: about 0.72, unknown proteins left
    out.
    """
    add_orre(filler, samples, "a431")
    report = bench(filler.store, backbones=["a431"], heads=["knn"], seeds=1)
    assert report.entries[0].mean == pytest.approx(0.72, abs=0.025)
    assert "every protein has one location: the headline takes the most probable one" in report.notes
    recorded = {r.metric: r.mean for r in report.metrics if (r.backbone, r.level) == ("a431", "unit")}
    # one answer a unit: each miss is one false positive and one false negative
    assert recorded["accuracy"] == pytest.approx(recorded["micro_f1"])
    assert report.left_out.no_label == 9907 - 3355
    assert len(report.per_class) == 15 * len(report.entries)
