"""`embstore backbones pretrain`, from a store's cells to vectors by a backbone of one's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Run

SMALL = ("--arch", "vit_micro_patch8", "--input-px", "32", "--epochs", "2", "--batch", "16")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder of its own."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.mark.slow
def test_a_backbone_is_trained_recorded_and_used(run: Run, phantom_store: Path, tmp_path: Path, weights: Path) -> None:
    """The trained backbone is in the registry with recipe, log and pinned weights, and embeds the store's cells."""
    store = shutil.copytree(phantom_store, tmp_path / "store")
    done = run("--store", store, "backbones", "pretrain", "--name", "mine", *SMALL, "--format", "json")
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout)
    assert [row["epoch"] for row in log] == [0, 1, 2]
    assert all(0 <= row["knn_macro_f1"] <= 1 for row in log)
    assert "next: embstore embed --backbone mine" in done.stderr

    made_of = json.loads((weights / "mine.pretraining.json").read_text())
    shown = json.loads(run("backbones", "show", "mine", "--format", "json").stdout)[0]
    assert shown["weights_sha256"] == made_of["weights_sha256"]
    assert (shown["origin"], shown["slots"], shown["dim"]) == ("user", ["nucleus", "protein"], 256)
    assert made_of["recipe"]["patch_px"] == 8
    assert made_of["data"]["images"] == 36

    embedded = run("--store", store, "embed", "--backbone", "mine")
    assert embedded.returncode == 0, embedded.stderr
    dims = run("--store", store, "sql", "SELECT backbone, dim FROM spaces ORDER BY 1", "--format", "json")
    assert {"backbone": "mine", "dim": 256} in json.loads(dims.stdout)

    again = run("--store", store, "backbones", "pretrain", "--name", "mine", *SMALL)
    assert again.returncode == 0, again.stderr
    assert "continued from step" in again.stderr  # nothing was left to do


def test_wrong_settings_are_one_line(run: Run, phantom_store: Path, weights: Path) -> None:
    """A name that is taken, and an architecture, label set or dataset that does not exist, end in one line each."""
    base = ("--store", phantom_store, "backbones", "pretrain", *SMALL)
    for extra, message in (
        (("--name", "imagenet"), "cannot be called 'imagenet'"),
        (("--name", "x", "--arch", "resnet50"), "there is no architecture 'resnet50'"),
        (("--name", "x", "--watch", "a/b"), "there is no label set 'a/b'"),
        (("--name", "x", "--dataset", "none"), "there is no dataset 'none' with images; choose from: "),
        (("--name", "x", "--input-px", "33"), "patches of 8 px do not fill"),
    ):
        done = run(*base, *extra)
        assert done.returncode == 1, extra
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(weights.glob("*.toml"))
