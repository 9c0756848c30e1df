"""`ingest --segmenter`: what an installed package registers makes the cells, under ids of its own."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import draw_field, save_tiff, write_opencell
from PIL import Image

from embstore.errors import EmbstoreError
from embstore.ingest import Report, ingest, segmenters
from embstore.ingest.segmenters import fetch_segmenter, list_segmenters, segmenter_spec
from embstore.store import Store, rows

SQUARES = '''
import numpy as np


def squares(planes, pixel_size_um):
    """Two squares as nuclei, whatever is seen."""
    labels = np.zeros(planes["nucleus"].shape, np.int64)
    labels[40:70, 10:40], labels[40:70, 90:120] = 1, 2
    return labels

def with_cells(planes, pixel_size_um):
    return {"nuclei": squares(planes, pixel_size_um), "cells": 7 * (planes["protein"] >= 0).astype(np.uint8)}

def wrong(planes, pixel_size_um):
    return np.zeros((3, 3))

def weighted(planes, pixel_size_um, weights):
    assert (weights / "net.bin").read_bytes() == b"net"
    return squares(planes, pixel_size_um)

weighted.version = "7"
weighted.weights = ("net.bin",)
'''
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that installs a package of segmenters in a given version, as pip lays it out."""
    site = tmp_path / "site"

    def install(version: str) -> None:
        info = site / "squares-1.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (site / "squares_embstore.py").write_text(SQUARES)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: squares\nVersion: {version}\n")
        names = "\n".join(
            f"{name} = squares_embstore:{name}" for name in ("squares", "with_cells", "wrong", "weighted")
        )
        (info / "entry_points.txt").write_text(
            f"[{segmenters.ENTRY_POINTS}]\n{names}\nmaskrcnn = squares_embstore:squares\ngone = no_such_module:x\n"
        )
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    yield install
    sys.modules.pop("squares_embstore", None)
    segmenters._function.cache_clear()


def take(
    store: Store,
    source: Path,
    segmenter: str | None = None,
    *,
    layout: str = "opencell",
    masks: Path | None = None,
    um: float | None = None,
) -> Report:
    return ingest(
        store, source, layout=layout, backbones=["pixel-stats"], segmenter=segmenter, masks=masks, pixel_size_um=um
    )


def test_a_registered_segmenter_makes_the_cells_under_ids_of_its_version(tmp_path: Path, install: Install) -> None:
    """Its nuclei are grown into cells; the same version has nothing to do, and another one makes new cells."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    store = Store.open(tmp_path / "store", create=True)
    assert take(store, tmp_path / "in", "squares").cells_in == 2
    areas = rows(
        store,
        "SELECT label, cell_area_um2 > nucleus_area_um2 AS grown, nucleus_area_um2 AS um2 FROM cells ORDER BY label",
    )
    assert [(row["label"], row["grown"]) for row in areas] == [(1, True), (2, True)]
    assert {round(row["um2"] / 0.206349**2) for row in areas} == {900}
    assert rows(store, "SELECT note FROM images") == [{"note": "cells by the segmenter squares 1.0"}]
    for again in ("squares", None):  # no segmenter: cells stay as they are
        assert take(store, tmp_path / "in", again).done_before == 1
    install("1.1")
    assert take(store, tmp_path / "in", "squares").images_resegmented == 1
    assert take(store, tmp_path / "in", "builtin").cells_in == 3
    assert len(rows(store, "SELECT DISTINCT segmentation FROM cells_raw")) == 3


def test_a_segmenter_replaces_cells_from_masks(tmp_path: Path, install: Install) -> None:
    """As soon as it is given; without it, they stay."""
    install("1.0")
    (path,) = write_opencell(tmp_path / "in", [1])
    store = Store.open(tmp_path / "store", create=True)
    mask = np.zeros(draw_field(1).shape[1:], np.uint8)
    mask[40:70, 10:40] = 5
    (tmp_path / "m").mkdir()
    Image.fromarray(mask).save(tmp_path / "m" / f"{path.stem}_nuclei.png")
    take(store, tmp_path / "in", masks=tmp_path / "m")
    assert take(store, tmp_path / "in").done_before == 1
    for segmenter in ("maskrcnn", "builtin"):  # its name is not taken for masks
        assert take(store, tmp_path / "in", segmenter).images_resegmented == 1


def test_cells_of_a_segmenter_stay_at_another_pixel_size(tmp_path: Path, install: Install) -> None:
    """Without the segmenter they are kept; a changed image gets built-in cells, and the report has a line."""
    install("1.0")
    (path,) = write_opencell(tmp_path / "in", [1])
    store = Store.open(tmp_path / "store", create=True)
    take(store, tmp_path / "in", "squares")
    report = take(store, tmp_path / "in", um=0.3)
    assert (report.images_resegmented, report.done_before, report.sizes_kept) == (0, 1, 1)
    assert take(store, tmp_path / "in", "squares", um=0.3).images_resegmented == 1
    save_tiff(path, draw_field(2))
    report = take(store, tmp_path / "in")
    assert report.images_changed == 1
    assert any(note.startswith("1 images changed and get built-in cells") for note in report.notes)


def test_a_segmenter_may_return_cells_too(tmp_path: Path, install: Install) -> None:
    """Nuclei belong to the cell that contains them, and labels are the cells' own."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    store = Store.open(tmp_path / "store", create=True)
    assert take(store, tmp_path / "in", "with_cells").cells_in == 1
    assert rows(store, "SELECT label FROM cells") == [{"label": 7}]


def test_labels_of_a_wrong_shape_are_a_failure_of_the_image(tmp_path: Path, install: Install) -> None:
    """The image becomes a row of failures that names the segmenter."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    report = take(Store.open(tmp_path / "store", create=True), tmp_path / "in", "wrong")
    (failure,) = report.failures
    assert "the segmenter wrong returned nuclei as float64 (3, 3)" in failure.error


def test_weights_are_fetched_by_command_alone(tmp_path: Path, install: Install) -> None:
    """An ingest without them names the command; with them their contents are part of the ids."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    with pytest.raises(EmbstoreError, match=r"lacks net\.bin .*embstore segmenters fetch weighted"):
        take(Store.open(tmp_path / "store", create=True), tmp_path / "in", "weighted")
    with pytest.raises(EmbstoreError, match=r"still lacks net\.bin"):
        fetch_segmenter("weighted")
    (tmp_path / "net.bin").write_bytes(b"net")
    assert fetch_segmenter("weighted", tmp_path / "net.bin").ready
    assert segmenter_spec("weighted")["version"] == "7"
    assert take(Store.open(tmp_path / "store"), tmp_path / "in", "weighted").cells_in == 2


def test_names_that_cannot_be_used_are_one_line(tmp_path: Path, install: Install) -> None:
    """An unknown name lists the known ones; one whose package is broken says so; masks exclude a segmenter."""
    install("1.0")
    with pytest.raises(EmbstoreError, match=r"no segmenter 'sqares'; wanted one of builtin, gone, maskrcnn, squares"):
        segmenter_spec("sqares")
    with pytest.raises(EmbstoreError, match="gone cannot be imported"):
        segmenter_spec("gone")
    with pytest.raises(EmbstoreError, match="give one of them"):
        ingest(
            tmp_path / "s", tmp_path, layout="opencell", backbones=["pixel-stats"], masks=tmp_path, segmenter="squares"
        )


def test_the_built_in_segmenter_is_listed() -> None:
    """It is always there, and needs no file."""
    assert next((s.name, s.ready) for s in list_segmenters()) == ("builtin", True)


def test_the_example_of_the_documentation_is_a_segmenter() -> None:
    """Its module can be imported without Cellpose, and has what the page's table lists."""
    page = (Path(__file__).parents[2] / "docs/segmenters.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module: dict[str, object] = {}
    exec(textwrap.dedent(code), module)
    segment = module["segment"]
    assert callable(segment)
    assert (segment.version, segment.weights) == ("cpsam", ("cpsam",))  # type: ignore[attr-defined]
