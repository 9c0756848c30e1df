"""`--unit`, `--pooling` and their like from the command line, with a network that is small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_fields import write_labels, write_opencell
from tiny_vit import WIDTH, tiny

from embstore.backbones.registry import BACKBONES
from embstore.store import Store, rows

from .conftest import Run


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "tiny", tiny())


def test_every_choice_is_part_of_the_space_that_it_makes(run: Run, tmp_path: Path) -> None:
    """Search and bench find whole images by --unit; results show the pooling."""
    source, store = tmp_path / "in", tmp_path / "store"
    write_opencell(source, range(12))
    labels = write_labels(tmp_path / "l.csv", {n: {("er", "golgi")[n % 2]: 3} for n in range(12)})
    at = ("--store", store)
    how = ("--unit", "image", "--pooling", "cls+mean", "--image-px", "0", "--device", "cpu")
    done = run(*at, "ingest", source, "--layout", "opencell", "--labels", labels, "-b", "tiny", *how)
    assert done.returncode == 0, done.stderr
    assert "tiny:mapping: 12 vectors" in done.stdout
    cells = ("--masked", "--crop-um", "20", "--image-px", "64", "--fill", "copy", "--roles", "protein")
    assert run(*at, "embed", "-b", "tiny:replication", *cells).returncode == 0
    asked = "SELECT unit, strategy, pooling, masked, input_px, crop_um, filling, roles, dim FROM spaces ORDER BY unit"
    found = [tuple(row.values()) for row in rows(Store.open(store), asked)]
    assert found == [
        ("cell", "replication", "cls", True, 64, 20.0, "copy", ["protein"], WIDTH),
        ("image", "mapping", "cls+mean", False, None, None, "", ["microtubules", "protein", "nucleus"], 2 * WIDTH),
    ]
    searched = run(*at, "search", "protein", "G1", "-b", "tiny", "--unit", "image", "-k", "2", "-f", "json")
    assert [row["n_cells"] for row in json.loads(searched.stdout)] == [1, 1]
    benched = run(*at, "bench", "-b", "tiny", "--unit", "image", "--folds", "3", "--seeds", "1")
    assert "12 images of 12 proteins" in benched.stdout, benched.stderr
    listed = json.loads(run(*at, "results", "--no-floors", "-f", "json").stdout)
    assert [(row["unit"], row["pooling"]) for row in listed] == [("image", "cls+mean")]
    held = [row["holds"] for row in json.loads(run(*at, "status", "-f", "json").stdout)]
    assert f"tiny:mapping, {2 * WIDTH} numbers an image" in held


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--roles", "er"), "--roles says what :replication shows, and tiny is mapped; use tiny:replication"),
        (("--fill", "nan"), "the fill is nan; wanted a number, mean or copy"),
        (("--fill", "half"), "there is no fill 'half'; choose from: copy, mean"),
        (("--pooling", "sum"), "there is no pooling of tiny 'sum'; choose from: cls, cls+mean, cls+mean+std+max, mean"),
        (("--unit", "field"), "there is no unit 'field'; choose from: cell, image"),
        (("--unit", "image", "--masked"), "whole fields are neither cropped nor masked"),
        (("--image-px", "0"), "native size (0 px) is for whole fields; add --unit image"),
        (("--image-px", "100"), "100 px is no multiple of the 8 px of tiny's patches; choose one"),
        (("--device", "tpu"), "there is no device 'tpu'; choose from: auto, cpu, cuda"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line_and_makes_no_store(
    run: Run, tmp_path: Path, options: tuple[str, ...], line: str
) -> None:
    """Whatever is wrong with it."""
    write_opencell(tmp_path / "in", [1])
    done = run("--store", tmp_path / "s", "ingest", tmp_path / "in", "--layout", "opencell", "-b", "tiny", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()
