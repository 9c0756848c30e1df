"""`embstore backbones`: what there is, getting it, and bringing your own, as a user types it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from drawn_fields import CELLS, write_opencell
from published import dino_weights, write_dino

from embstore.backbones.registry import BACKBONES

from .conftest import Run
from .example_files import install_example_package
from .pages import page

TINY: dict[str, int] = {"width": 64, "depth": 1, "patch": 8, "grid": 4}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder and a Hugging Face cache of the test's own, empty."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights"


def listed(run: Run) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(run("backbones", "list", "--format", "json").stdout)}


def test_the_list_says_what_is_ready_and_how_to_get_the_rest(run: Run) -> None:
    """Every backbone with its licence, and a command or a word for each that is not ready."""
    rows = listed(run)
    assert list(rows) == list(BACKBONES)
    assert all(row["licence"] and row["note"] and row["origin"] == "built-in" for row in rows.values())
    assert {name for name, row in rows.items() if row["ready"] == "yes"} >= {"pixel-stats", "vit-random"}
    for name, row in rows.items():
        if row["ready"] == "yes":
            assert row["get"] == ""
        elif name == "opencell":
            assert row["get"] == "no published file: embstore backbones pretrain, or add"
        else:
            assert row["get"] == f"embstore backbones fetch {name}"


def test_a_file_of_another_architecture_is_not_fetched(run: Run, tmp_path: Path, folder: Path) -> None:
    """One line on stderr that names the tensor, exit 1, and nothing written."""
    write_dino(tmp_path / "tiny.pth", dino_weights(**TINY, channels=4))
    done = run("backbones", "fetch", "hpa", "--from", tmp_path / "tiny.pth")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'tiny.pth'} lacks blocks.1.")
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


def test_a_users_checkpoint_is_added_shown_and_embeds_cells(run: Run, tmp_path: Path) -> None:
    """From the file to vectors in a store; another file under the name is refused, or the next revision."""
    roles = "microtubules,protein,nucleus"
    options = ("--name", "mine", "--roles", roles, "--normalisation", "fixed", "--licence", "CC0", "--citation", "ours")
    first, second = (
        write_dino(tmp_path / f"{seed}.pth", dino_weights(**TINY, channels=3, seed=seed)) for seed in (1, 2)
    )
    done = run("backbones", "add", first, *options)
    assert done.stdout == (
        "mine revision 1 is ready: 1 blocks of width 64, patches of 8 px, 1 heads, 64 numbers per cell\n"
    ), done.stderr
    row = listed(run)["mine"]
    assert (row["ready"], row["origin"], row["slots"], row["licence"]) == ("yes", "user", roles, "CC0")
    (shown,) = json.loads(run("backbones", "show", "mine", "--format", "json").stdout)
    assert shown["weights_from"]["file_sha256"] == shown["file_sha256"]
    assert shown["weights_from"]["weights_sha256"] == shown["weights_sha256"]
    assert (shown["input_px"], shown["citation"]) == (32, "ours")

    write_opencell(tmp_path / "in", [1])
    store = ("--store", tmp_path / "store")
    done = run(*store, "ingest", tmp_path / "in", "--layout", "opencell", "--backbone", "mine")
    assert f"mine:mapping: {CELLS} vectors" in done.stdout, done.stderr

    refused = run("backbones", "add", second, *options)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: there is a backbone mine already")
    assert "revision 2 is ready" in run("backbones", "add", second, *options, "--replace").stdout
    done = run(*store, "embed", "--backbone", "mine")
    assert f"mine:mapping: {CELLS} vectors" in done.stdout, done.stderr
    asked = "SELECT revision, normalisation FROM spaces ORDER BY revision"
    spaces = json.loads(run(*store, "sql", asked, "--format", "json").stdout)
    assert [space["revision"] for space in spaces] == [1, 2]
    assert {space["normalisation"] for space in spaces} == {"fixed [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]"}
    assert run(*store, "verify").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--name", "mine", "--roles", "protein"), "takes 2 channels and 1 roles were named (protein)"),
        (("--name", "mine", "--roles", "protein,protein"), "mine has the slots protein, protein; name each role once"),
        (("--name", "imagenet", "--roles", "nucleus,protein"), "a backbone of your own cannot be called 'imagenet'"),
        (("--name", "m", "--roles", "a,b", "--normalisation", "log"), "there is no normalisation 'log'; choose from"),
        (("--name", "m", "--roles", "a,b", "--normalisation", "fixed"), "fixed normalisation is by ImageNet's mean"),
        (("--name", "m", "--roles", "a,b", "--pooling", "sum"), "there is no pooling of tiny.pth 'sum'; choose from"),
        (
            ("--name", "m", "--roles", "a,b", "--pooling", "attention"),
            "choose from: cls, cls+mean, cls+mean+std+max, mean",
        ),
        (("--name", "m", "--roles", "a,b", "--heads", "7"), "64 wide, which 7 heads cannot share; give --heads N"),
        (("--name", "m", "--roles", "a,b", "--input-px", "30"), "30 px is no multiple of the 8 px of its patches"),
        (("--name", "m", "--roles", "a,b", "--crop-um", "0"), "the crop is 0 µm wide"),
    ],
)
def test_wrong_choices_are_one_line_and_write_nothing(
    run: Run, tmp_path: Path, folder: Path, arguments: tuple[str, ...], line: str
) -> None:
    """Roles, names, sizes and words that do not fit the file."""
    path = write_dino(tmp_path / "tiny.pth", dino_weights(**TINY, channels=2))
    done = run("backbones", "add", path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


def test_a_pickle_that_runs_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    """It reports what the file asked for, and does not do it."""
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print, protocol=2))
    done = run("backbones", "add", tmp_path / "evil.pth", "--name", "mine", "--roles", "nucleus,protein")
    assert done.returncode == 1
    assert "asks to run print when it is read, which is refused" in done.stderr


def test_the_list_has_backbones_of_packages_and_says_which_cannot_be_used(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of docs/backbones.md is ready; one that cannot be imported does not hide the others."""
    install_example_package(page("docs/backbones.md"), tmp_path, monkeypatch)
    entries = tmp_path / "cellnet-1.0.dist-info" / "entry_points.txt"
    entries.write_text(entries.read_text() + "lost = cellnet.nowhere:backbone\n")
    rows = listed(run)
    assert list(rows) == [*BACKBONES, "cellnet", "lost"]
    wanted = {"ready": "yes", "origin": "package", "slots": "nucleus,protein", "dim": 2, "note": "of cellnet 1.0"}
    assert wanted.items() <= rows["cellnet"].items()
    assert rows["lost"]["ready"] == "no"
    assert str(rows["lost"]["get"]).startswith("cellnet 1.0 registers the backbone lost as cellnet.nowhere:backbone")
    (shown,) = json.loads(run("backbones", "show", "cellnet", "--format", "json").stdout)
    assert (shown["architecture"], shown["source"], shown["ready"]) == ("cellnet:backbone", "cellnet 1.0", True)


def test_one_of_several_networks_is_added_by_its_key(run: Run, tmp_path: Path) -> None:
    """The refusal names both, and the option; the record keeps which it was and what training began from."""
    weights = dino_weights(**TINY, channels=2)
    torch.save({"state_dict": weights, "state_dict_ema": weights}, tmp_path / "train.pth")
    options = (tmp_path / "train.pth", "--name", "mine", "--roles", "nucleus,protein", "--init", "ImageNet")
    refused = run("backbones", "add", *options)
    assert refused.returncode == 1
    assert refused.stderr.endswith("state_dict, state_dict_ema; choose one with `embstore backbones add --key`\n")
    assert "mine revision 1 is ready" in run("backbones", "add", *options, "--key", "state_dict_ema").stdout
    (shown,) = json.loads(run("backbones", "show", "mine", "--format", "json").stdout)
    assert (shown["init"], shown["note"]) == ("ImageNet", "a file of your own, in the format timm, its state_dict_ema")
