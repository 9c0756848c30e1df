"""Backbone specs from the command line, with a network that is small enough for tests."""

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
    """Search and bench find whole images by unit=image; results show the pooling."""
    source, store = tmp_path / "in", tmp_path / "store"
    write_opencell(source, range(12))
    labels = write_labels(tmp_path / "l.csv", {n: {("er", "golgi")[n % 2]: 3} for n in range(12)})
    at = ("--store", store)
    whole = "tiny:unit=image:pooling=cls+mean:input_px=0"
    done = run(*at, "ingest", source, "--layout", "opencell", "--labels", labels, "-b", whole, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "tiny:mapping: 12 vectors" in done.stdout
    cells = "tiny:replication:masked=yes:crop_um=20:input_px=64:fill=copy:roles=protein"
    assert run(*at, "embed", "-b", cells).returncode == 0
    asked = "SELECT unit, strategy, pooling, masked, input_px, crop_um, filling, roles, dim FROM spaces ORDER BY unit"
    result = [tuple(row.values()) for row in rows(Store.open(store), asked)]
    assert result == [
        ("cell", "replication", "cls", True, 64, 20.0, "copy", ["protein"], WIDTH),
        ("image", "mapping", "cls+mean", False, None, None, "", ["microtubules", "protein", "nucleus"], 2 * WIDTH),
    ]
    searched = run(*at, "search", "protein", "G1", "-b", "tiny:unit=image", "-k", "2", "-f", "json")
    assert [row["n_cells"] for row in json.loads(searched.stdout)] == [1, 1]
    benched = run(*at, "bench", "-b", "tiny:unit=image", "--folds", "3", "--seeds", "1")
    assert "12 images of 12 proteins" in benched.stdout, benched.stderr
    listed = json.loads(run(*at, "results", "--no-baselines", "-f", "json").stdout)
    assert [(row["unit"], row["pooling"]) for row in listed] == [("image", "cls+mean")]
    contents = [row["holds"] for row in json.loads(run(*at, "status", "-f", "json").stdout)]
    assert f"tiny:mapping, {2 * WIDTH} numbers per image" in contents


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("tiny:roles=er", "tiny:roles=er is mapped; write tiny:replication:roles=er"),
        (
            "tiny:fill=half",
            "the backbone spec 'tiny:fill=half' has fill=half; wanted fill= followed by a number, mean or",
        ),
        ("tiny:pooling=sum", "no pooling of tiny 'sum'; choose from: cls, cls+mean, cls+mean+std+max, mean"),
        ("tiny:unit=protein", "there is no unit 'protein'; choose from: cell, image"),
        ("tiny:unit=image:masked=yes", "whole images are neither cropped nor masked"),
        ("tiny:input_px=0", "native size (input_px=0) is for whole images; write tiny:unit=image:input_px=0"),
        ("tiny:input_px=100", "100 px is no multiple of the 8 px of tiny's patches; choose one"),
        ("tinny", "there is no backbone 'tinny'; the nearest names are tiny, "),
    ],
)
def test_a_spec_that_cannot_be_is_one_line_and_makes_no_store(run: Run, tmp_path: Path, spec: str, line: str) -> None:
    """Whatever is wrong with it."""
    write_opencell(tmp_path / "in", [1])
    done = run("--store", tmp_path / "s", "ingest", tmp_path / "in", "--layout", "opencell", "-b", spec)
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        (("embed", "-b", "tiny"), ("--crop-um", "40"), "--crop-um was removed: write --backbone hpa:crop_um=40"),
        (
            ("ingest", "in", "-b", "tiny"),
            ("--image-px=0",),
            "--image-px was removed: write --backbone hpa:input_px=224",
        ),
        (("ingest", "in"), ("--unit", "image"), "--unit was removed: write --backbone hpa:unit=image"),
        (("ingest", "in"), ("--masked",), "--masked was removed: write --backbone hpa:masked=yes"),
        (("ingest", "in"), ("--no-masked",), "--no-masked was removed: write --backbone hpa:masked=no"),
        (("search", "protein", "G1"), ("--unit", "image"), "--unit was removed: write --backbone hpa:unit=image"),
        (("search", "cell", "G1"), ("--unit", "image"), "--unit was removed: write --backbone hpa:unit=image"),
        (("bench", "-b", "tiny"), ("--unit", "image"), "--unit was removed: write --backbone hpa:unit=image"),
    ],
)
def test_an_option_that_a_spec_replaced_names_its_new_spelling(
    run: Run, command: tuple[str, ...], old: tuple[str, ...], new: str
) -> None:
    """In every command that had it, whatever else the line lacks."""
    done = run(*command, *old)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {new}\n")
