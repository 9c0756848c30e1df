"""The scripts in benchmarks/ run: each on next to nothing, for what it prints, not for the numbers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embstore.phantom import write_phantom

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY: dict[str, dict[str, Any]] = {
    "search": {"ROWS": 300, "DIM": 8},
    "embed": {"PROTEINS": 2, "CELLS": range(1, 200), "BACKBONES": ("pixel-stats",)},
    "phantom": {"PROTEINS": 1, "DRAWN": 1, "OF_HPA": 1, "CROWDED": range(1, 200)},
    "start": {"ROUNDS": 1},
}


def script(path: str, monkeypatch: pytest.MonkeyPatch, **constants: Any) -> ModuleType:
    """Import a script as a module beside those of its folder, with some of its constants changed."""
    file = BENCHMARKS / path
    monkeypatch.syspath_prepend(str(file.parent))
    spec = importlib.util.spec_from_file_location(f"script_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    for name, value in constants.items():
        assert hasattr(module, name), name
        setattr(module, name, value)
    return module


@pytest.mark.parametrize("name", TINY)
def test_each_timing_prints_its_ratios(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One round of every candidate; each table is one line of JSON, and its baseline is 1."""
    module = script(f"speed/{name}.py", monkeypatch, **TINY[name])
    compare = module.compare
    monkeypatch.setattr(
        module, "compare", lambda them, *, baseline, rounds=1: compare(them, baseline=baseline, rounds=1)
    )
    module.main()
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tables = [record["ratios"].values() for record in records if "ratios" in record]
    assert tables
    assert all(1 in ratios for ratios in tables)


def test_heads_are_timed_beside_the_loops_that_people_write(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both heads, on next to nothing: ratios to embstore's seconds, and macro F1 of each."""
    module = script("speed/heads.py", monkeypatch, ROWS=300, DIM=6, CLASSES=2, LOADER_EPOCHS=1)
    monkeypatch.setitem(module.mlp.MLP, "max_epochs", 2)
    module.main()
    linear, mlp = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert linear["ratios"].keys() == {"embstore, linear", "a scikit-learn loop", "a DataLoader loop"}
    assert mlp["ratios"]["embstore, mlp"] == 1


def test_appending_is_timed_beside_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixty rows beside none."""
    script("speed/append.py", monkeypatch).main(60, 20, 1)
    record = json.loads(capsys.readouterr().out)
    assert record["rows"] == 60
    assert record["ratios"].keys() == {"clock", "cpu", "writes"}
    assert record["first_s"].keys() == {"large", "empty"}


def test_memory_is_measured_of_an_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What each of its processes does, here in this one."""
    atlas = write_phantom(tmp_path / "atlas", layout="opencell", proteins=1, fields=1, field_px=130)
    script("speed/memory.py", monkeypatch)._ingest(str(tmp_path / "store"), str(atlas.images_folder), "1")
    assert json.loads(capsys.readouterr().out)["peak_mb"] > 0


def test_the_segmentation_is_scored_on_real_and_simulated_fields(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of the table each."""
    score = script("segmentation/score.py", monkeypatch, PHANTOM={"opencell": (1, 200)})
    real = next(score.by_hand(samples))
    assert score._scored(real)["embstore"] > 0.5
    score._pooled("opencell", list(score.simulated(tmp_path / "atlas", "opencell")))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_atlas_is_drawn_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sheet with a row for every location."""
    looks = script("phantom/looks.py", monkeypatch, PROTEINS=2)
    monkeypatch.setattr(sys, "argv", ["looks.py", "--out", str(tmp_path / "looks.png")])
    looks.main()
    with Image.open(tmp_path / "looks.png") as sheet:
        assert sheet.size[1] > len(looks.LOCATIONS) * looks.THUMBNAIL_PX


def test_the_ceiling_is_drawn_trained_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of four fields, one epoch of four crops a batch, scores between 0 and 1 and a report of every location."""
    calibrate = script("phantom/calibrate.py", monkeypatch)
    vit = sys.modules["supervised_vit"]
    monkeypatch.setattr(vit, "BATCH", 4)
    cells = calibrate.Cells(*calibrate._cells((calibrate.TRAIN_SEED, 0, 4, 1, 160)))
    net = vit.trained(tmp_path / "vit.pt", cells.crops, cells.labels, 1, lambda _: 0.0)
    scores = vit.scores(net, cells.crops)
    assert scores.shape == cells.labels.shape
    assert ((scores >= 0) & (scores <= 1)).all()
    thresholds = np.full(scores.shape[1], 0.5, np.float32)
    report = calibrate._report(cells, cells, {"floor": (thresholds, scores), "ceiling": (thresholds, scores)})
    assert report["difference"] == [0, 0, 0]
    assert len(report["classes"]) == cells.labels.shape[1]


def test_the_reference_of_pixel_stats_is_fitted_on_simulated_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Centre and spread of every measurement, finite and above the smallest spread."""
    reference = script("fit_pixel_stats_reference.py", monkeypatch)
    fitted = np.array(list(reference.fit(reference.simulated(3)).values()))
    assert np.isfinite(fitted).all()
    assert (fitted[:, 1] >= reference.LEAST_SPREAD).all()


def test_pretraining_is_scored_beside_the_network_as_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every contestant has its figure, and each difference its interval."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path))  # put back afterwards: the script sets its own
    asked = ("--proteins", "36", "--fields", "1", "--field-px", "200", "--folds", "3", "--seeds", "1", "--head", "knn")
    monkeypatch.setattr(sys, "argv", ["pretrained.py", "--work", str(tmp_path / "work"), *asked])
    script("phantom/pretrained.py", monkeypatch).main()
    result = json.loads(capsys.readouterr().out)
    assert result["macro_f1"].keys() == {
        "pixel-stats",
        "phantom-dino",
        "untrained",
        *(f"untrained-{i}" for i in range(3)),
    }
    assert result["minus_untrained"]["low"] <= result["minus_untrained"]["mean"] <= result["minus_untrained"]["high"]
