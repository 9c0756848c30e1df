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
from drawn_fields import draw_field, opencell_path, save_tiff, write_hpa, write_opencell
from PIL import Image

from embstore.errors import EmbstoreError, ImageError
from embstore.ingest import Report, ingest, segmenters
from embstore.ingest.segmenters import fetch_segmenter, list_segmenters, segmented_by, segmenter_spec
from embstore.store import Store, rows

SQUARES = '''
from urllib.error import URLError

import numpy as np

ERROR = OSError


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

def interrupted(folder):
    (folder / "net.bin").write_bytes(b"n")
    raise URLError("no route to host")

weighted.version = "7"
weighted.weights = ("net.bin",)
weighted.fetch = interrupted

def everywhere(planes, pixel_size_um):
    """Needs no nucleus, and fails as code does."""
    protein = planes["protein"]
    if protein.shape == (160, 160):
        raise ERROR("no luck")
    labels = np.zeros(protein.shape, np.uint64)
    labels[40:70, 10:40], labels[40:70, 90:120] = 2**31 + 1, 2**40
    nuclei = np.zeros(protein.shape, np.int8)
    nuclei[50:60, 20:30], nuclei[100:110, 100:110] = 3, 4
    return {"nuclei": nuclei, "cells": labels}

def negative(planes, pixel_size_um):
    return -squares(planes, pixel_size_um)
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
            f"{name} = squares_embstore:{name}"
            for name in ("squares", "with_cells", "wrong", "weighted", "everywhere", "negative")
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


def test_the_note_names_the_segmenter_and_the_projection(tmp_path: Path, install: Install) -> None:
    """Neither takes the place of the other."""
    install("1.0")
    path = Path(str(opencell_path(tmp_path / "in", 1)).replace("_proj", "_stack"))
    save_tiff(path, np.stack([draw_field(1)] * 3), metadata={"axes": "ZCYX"})
    store = Store.open(tmp_path / "store", create=True)
    take(store, tmp_path / "in", "squares")
    note = "cells by the segmenter squares 1.0; maximum projection of 3 planes"
    assert rows(store, "SELECT note FROM images") == [{"note": note}]


def test_negative_labels_are_a_failure_of_the_image(tmp_path: Path, install: Install) -> None:
    """They have no meaning as objects."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    (failure,) = take(Store.open(tmp_path / "store", create=True), tmp_path / "in", "negative").failures
    assert failure.error == "the segmenter negative returned nuclei with the label -2; wanted 0 outside and 1 or more"


@pytest.mark.parametrize("error", [ImportError, AttributeError, AssertionError, ZeroDivisionError, OSError, KeyError])
def test_whatever_a_segmenter_raises_names_it(tmp_path: Path, install: Install, error: type[Exception]) -> None:
    """The image's file is not to blame, and the other images go on."""
    install("1.0")
    segmenters._function("everywhere").__globals__["ERROR"] = error
    planes = np.zeros((1, 160, 160), np.uint8)
    with pytest.raises(ImageError, match=f"the segmenter everywhere failed: {error.__name__}: .?no luck") as caught:
        segmented_by(segmenter_spec("everywhere"), planes, ["protein"], 0.2)
    assert "--retry-failed" in caught.value.todo


def test_large_labels_are_renumbered_and_what_is_left_out_is_in_the_note(tmp_path: Path, install: Install) -> None:
    """Labels above 2**31 neither wrap nor take gigabytes; an image without a nucleus channel is ingested."""
    install("1.0")
    write_hpa(tmp_path / "in", "1_A1_1", 1, ("green",))
    store = Store.open(tmp_path / "store", create=True)
    report = take(store, tmp_path / "in", "everywhere", layout="hpa")
    assert (report.cells_in, report.failures) == (2, [])
    assert rows(store, "SELECT label FROM cells ORDER BY label") == [{"label": 1}, {"label": 2}]
    assert rows(store, "SELECT note FROM images")[0]["note"] == (
        "cells by the segmenter everywhere 1.0; cells: labels up to 1099511627776 renumbered; "
        "1 nuclei outside every cell left out, 1 cells without a nucleus"
    )


def test_weights_are_fetched_by_command_alone(tmp_path: Path, install: Install) -> None:
    """An ingest without them names the command; with them their contents are part of the ids."""
    install("1.0")
    write_opencell(tmp_path / "in", [1])
    with pytest.raises(EmbstoreError, match=r"lacks net\.bin .*embstore segmenters fetch weighted"):
        take(Store.open(tmp_path / "store", create=True), tmp_path / "in", "weighted")
    with pytest.raises(EmbstoreError, match=r"could not get its weights \(<urlopen error no route to host>\)"):
        fetch_segmenter("weighted")
    assert [path.name for path in (tmp_path / "weights/segmenters").rglob("*")] == ["weighted"]  # no part is left
    (tmp_path / "net.bin").write_bytes(b"net")
    assert fetch_segmenter("weighted", tmp_path / "net.bin").ready
    assert segmenter_spec("weighted")["version"] == "7"
    assert take(Store.open(tmp_path / "store"), tmp_path / "in", "weighted").cells_in == 2


def test_names_that_cannot_be_used_are_one_line(tmp_path: Path, install: Install) -> None:
    """An unknown name lists the known ones; one whose package is broken says so; masks exclude a segmenter."""
    install("1.0")
    with pytest.raises(
        EmbstoreError,
        match=r"no segmenter 'sqares'; wanted one of builtin, everywhere, gone, .*squares",
    ):
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


def test_a_broken_segmenter_is_listed_with_its_error(install: Install) -> None:
    """The others stay in the list."""
    install("1.0")
    listed = {segmenter.name: segmenter for segmenter in list_segmenters()}
    assert (listed["gone"].ready, listed["squares"].ready) == (False, True)
    assert "cannot be imported" in listed["gone"].error


def test_a_segmenter_is_refused_for_crops_of_one_cell(tmp_path: Path, install: Install) -> None:
    """Their cell is the whole image; the option would do nothing."""
    install("1.0")
    save_tiff(tmp_path / "in" / "a_gfp.tif", draw_field(1)[:1])
    with pytest.raises(EmbstoreError, match="needs no segmenter; omit --segmenter"):
        ingest(
            tmp_path / "s",
            tmp_path / "in",
            layout="crops",
            channels="gfp=protein",
            backbones=["pixel-stats"],
            segmenter="squares",
        )


def test_the_example_of_the_documentation_is_a_segmenter() -> None:
    """Its module can be imported without Cellpose, and has what the page's table lists."""
    page = (Path(__file__).parents[2] / "docs/segmenters.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module: dict[str, object] = {}
    exec(textwrap.dedent(code), module)
    segment = module["segment"]
    assert callable(segment)
    assert (segment.version, segment.weights) == ("cpsam", ("cpsam",))  # type: ignore[attr-defined]
