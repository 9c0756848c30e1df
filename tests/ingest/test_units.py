"""Vectors of cells, masked or not, and of whole images: from files to search and verification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_fields import CELLS, draw_field, ensg, opencell_path, save_tiff, write_hpa, write_labels, write_opencell
from tiny_vit import PX, WIDTH, tiny

from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.care.verify import verify
from embstore.errors import EmbstoreError
from embstore.ingest import Report, embed, ingest
from embstore.pixels.field import square_field
from embstore.pixels.intensity import scale
from embstore.search import draw_sheet, similar_cells, similar_proteins
from embstore.store import Store, find_space, rows

WHOLE = "tiny:unit=image"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two real backbones known: `tiny`, and `tiny-masked`, whose record blackens what is outside the cell."""
    monkeypatch.setitem(BACKBONES, "tiny", tiny())
    monkeypatch.setitem(BACKBONES, "tiny-masked", tiny(name="tiny-masked", masked=True))


def take(store: Store, source: Path, spec: str = "tiny", layout: str = "opencell") -> Report:
    return ingest(store, source, layout=layout, backbones=[spec])


def new(folder: Path) -> Store:
    return Store.open(folder, create=True)


def vectors(store: Store, spec: str = "tiny") -> tuple[str, dict[str, np.ndarray]]:
    """Return the space of a backbone and its vectors by id."""
    space = find_space(store, spec)["digest"]
    return space, dict(zip(*store.vectors(space), strict=True))


@pytest.mark.parametrize(
    "spec",
    [
        "tiny",
        "tiny:masked=yes",
        "tiny-masked",
        "tiny:replication:pooling=cls+mean:masked=yes",
        "tiny:precision=float32",
        "tiny:unit=image:input_px=64",
        "tiny:unit=image:input_px=0",
    ],
)
def test_embedding_later_gives_the_space_and_vectors_of_ingesting_with_it(tmp_path: Path, spec: str) -> None:
    """Masked or not, cells or whole images: the same digest, ids and vectors; once more there is nothing to do."""
    write_opencell(tmp_path / "in", [1, 2])
    save_tiff(tmp_path / "in" / "unknown scale.tif", draw_field(3))  # its pixel size is estimated, and kept
    at_once, later = new(tmp_path / "at once"), new(tmp_path / "later")
    n = 3 * (1 if "image" in spec else CELLS)
    assert sum(take(at_once, tmp_path / "in", spec).vectors_in.values()) == n
    take(later, tmp_path / "in", "pixel-stats")
    assert sum(embed(later, backbones=[spec]).vectors_in.values()) == n
    (wanted, expected), (result, contents) = (vectors(store, spec) for store in (at_once, later))
    assert result == wanted
    assert contents.keys() == expected.keys()
    for name, vector in expected.items():
        np.testing.assert_allclose(contents[name], vector, rtol=2e-3, atol=2e-3)  # a last bit of float16
    assert embed(later, backbones=[spec]).done_before == 3
    assert take(later, tmp_path / "in", spec).done_before == 3


def test_a_vector_of_a_whole_image_is_that_of_the_field_on_its_square(tmp_path: Path) -> None:
    """Scaled, resized and encoded by hand: the same numbers under the image's id; its cells exist, unembedded."""
    write_opencell(tmp_path / "in", [1])
    store = new(tmp_path / "store")
    report = take(store, tmp_path / "in", WHOLE)
    assert (report.unit, report.cells_in, report.vectors_in) == ("image", CELLS, {"tiny:mapping": 1})
    (name,) = rows(store, "SELECT image_id FROM images")[0].values()
    _, contents = vectors(store)
    assert list(contents) == [name]
    field = square_field(scale(draw_field(1)), PX)[None]
    none = np.zeros((1, PX, PX), bool)
    expected = load(tiny(), Choices(unit="image"))(Crops(field, ("nucleus", "protein"), none, none))[0]
    np.testing.assert_allclose(contents[name], expected, rtol=2e-3, atol=2e-3)
    assert rows(store, "SELECT image_id, n_cells FROM ingested") == [{"image_id": name, "n_cells": 1}]


def test_a_field_without_cells_or_without_a_nucleus_channel_has_its_vector(tmp_path: Path) -> None:
    """Also if an ingest of cells recorded it as a failure before, which is then deleted."""
    write_hpa(tmp_path / "in", "1_A1_1", 1, ("green", "red"))
    write_hpa(tmp_path / "in", "1_A1_2", 2)
    store = new(tmp_path / "store")
    cells = take(store, tmp_path / "in", layout="hpa")
    assert (cells.images_in, len(cells.failures)) == (1, 1)
    assert "take whole images with --backbone NAME:unit=image" in cells.failures[0].todo
    whole = take(store, tmp_path / "in", WHOLE, layout="hpa")
    assert (whole.images_in, whole.failures, whole.vectors_in) == (2, [], {"tiny:mapping": 2})
    assert whole.empty == {"hpa/1_A1_1": "there is no nucleus channel, which is needed to find cells"}
    assert rows(store, "SELECT * FROM failures") == []
    assert take(store, tmp_path / "in", WHOLE, layout="hpa").done_before == 2
    save_tiff(opencell_path(tmp_path / "black", 1), np.zeros((2, 64, 64), np.uint16))
    assert take(store, tmp_path / "black", WHOLE).vectors_in == {"tiny:mapping": 1}
    assert verify(store).wrong == ()
    table = tmp_path / "in" / "m.csv"
    table.write_text("key,protein\nblind,1_A1_1_green.png\n")
    assert "no nucleus" in take(store, table, layout="manifest").failures[0].error
    assert take(store, table, WHOLE, layout="manifest").vectors_in == {"tiny:mapping": 1}


def test_fields_that_cannot_be_shown_are_failures_and_the_rest_goes_in(tmp_path: Path) -> None:
    """At native size a field may be smaller than a patch; fields of several sizes share a space."""
    for number, px in ((1, 7), (2, 40), (3, 65)):
        save_tiff(opencell_path(tmp_path / "in", number), draw_field(number, px=px))
    report = take(new(tmp_path / "store"), tmp_path / "in", "tiny:unit=image:input_px=0")
    assert report.vectors_in == {"tiny:mapping": 2}
    assert [f.error for f in report.failures] == ["the field is 7 x 7 px and the network needs at least 8 x 8"]
    assert report.failures[0].todo == "show it at a fixed size: --backbone NAME:unit=image:input_px=224"


def test_spaces_of_one_backbone_are_distinguished_by_their_specs(tmp_path: Path) -> None:
    """What a spec leaves out matches anything; each spec that an error lists is enough to choose its space."""
    write_opencell(tmp_path / "in", [1])
    store = new(tmp_path / "store")
    take(store, tmp_path / "in", WHOLE)
    assert find_space(store, "tiny")["unit"] == "image"
    embed(store, backbones=["tiny"])
    line = "2 spaces match tiny; choose one with --backbone: tiny:mapping:unit=(cell|image).*, tiny:mapping:unit="
    with pytest.raises(EmbstoreError, match=line):
        find_space(store, "tiny")
    assert find_space(store, "tiny:unit=image")["unit"] == "image"
    embed(store, backbones=["tiny:pooling=mean", "tiny:crop_um=40:pooling=mean", "tiny:replication:pooling=mean"])
    with pytest.raises(EmbstoreError, match="4 spaces match tiny:unit=cell") as caught:
        find_space(store, "tiny:unit=cell")
    specs = str(caught.value).split("--backbone: ")[1].split(", ")
    assert len({find_space(store, spec)["digest"] for spec in specs}) == 4
    assert find_space(store, "tiny:crop_um=40")["crop_um"] == 40
    assert find_space(store, "tiny:replication:roles=nucleus,protein:precision=float16")["strategy"] == "replication"
    with pytest.raises(EmbstoreError, match="there are 5 spaces; choose one with --backbone: tiny:mapping:unit=cell"):
        find_space(store)


def test_a_space_that_is_missing_is_an_error_with_the_line_that_makes_it(tmp_path: Path) -> None:
    """The spec as it was asked for; a name that nothing has comes with the nearest ones, never with an embed line."""
    write_opencell(tmp_path / "in", [1])
    store = new(tmp_path / "store")
    take(store, tmp_path / "in")
    line = (
        "no space matches tiny:crop_um=40; the store's spaces are: tiny:mapping; make it with `embstore embed --backb"
    )
    with pytest.raises(EmbstoreError, match=line + "one tiny:crop_um=40`$"):
        similar_proteins(store, "G1", backbone="tiny:crop_um=40")
    with pytest.raises(EmbstoreError, match="there is no unit 'protein'; choose from: cell, image"):
        similar_proteins(store, "G1", backbone="tiny:unit=protein")
    with pytest.raises(EmbstoreError, match="there is no intensity scaling 'log'; choose from"):
        similar_proteins(store, "G1", backbone="tiny:intensity=log")
    with pytest.raises(EmbstoreError, match="there is no backbone 'tinny'; the nearest names are tiny, ") as caught:
        similar_proteins(store, "G1", backbone="tinny")
    assert "embed" not in str(caught.value)
    with pytest.raises(EmbstoreError, match=r"no space matches --space 00; the store's spaces are: tiny:mapping$"):
        similar_proteins(store, "G1", space="00")


def test_backbones_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    """One run has one unit and one intensity scaling; two crop sizes go together, and are counted apart."""
    write_opencell(tmp_path / "in", [1])
    path = tmp_path / "store"
    for other, line in (
        ("tiny:unit=image", r"one run has one unit, and these differ: tiny \(cell\), tiny:unit=image \(image\)"),
        ("tiny:intensity=zscore", "one run has one intensity, and these differ: "),
    ):
        with pytest.raises(EmbstoreError, match=line):
            ingest(path, tmp_path / "in", layout="opencell", backbones=["tiny", other])
    assert not path.exists()
    report = ingest(path, tmp_path / "in", layout="opencell", backbones=["tiny", "tiny:mapping", "tiny:crop_um=40"])
    assert report.vectors_in == {"tiny:mapping:crop_um=25": CELLS, "tiny:mapping:crop_um=40": CELLS}


def test_search_finds_images_by_protein_and_by_image(tmp_path: Path) -> None:
    """A protein is the mean of its images; labels are inherited; only cells have pictures, and this is reported."""
    source, store = tmp_path / "in", new(tmp_path / "store")
    write_opencell(source, [1, 2, 3])
    save_tiff(opencell_path(source, 1, 2), draw_field(11))
    labels = write_labels(tmp_path / "labels.csv", {n: {"er": 3} for n in (1, 2)})
    ingest(store, source, layout="opencell", backbones=[WHOLE], labels=labels)
    _, contents = vectors(store)
    result = similar_proteins(store, "G1", backbone=WHOLE, centre=False)
    query = np.mean([v for name, v in contents.items() if "G1_" in name], axis=0)
    assert {row.gene: (row.n_cells, row.locations) for row in result.rows} == {"G2": (1, "er"), "G3": (1, "")}
    for row in result.rows:
        v = next(v for name, v in contents.items() if f"{row.gene}_" in name)
        assert row.similarity == pytest.approx(v @ query / np.linalg.norm(v) / np.linalg.norm(query), abs=1e-5)
    name = next(name for name in contents if "G2_" in name)
    assert {row.cell_id for row in similar_cells(store, name).rows} == set(contents) - {name}
    with pytest.raises(EmbstoreError, match="wanted an image_id such as opencell/"):
        similar_cells(store, "nothing")
    with pytest.raises(EmbstoreError, match="has no vectors of cells, and only cells have pictures"):
        draw_sheet(store, result, tmp_path / "sheet.png")


def test_the_vector_of_what_an_image_was_before_is_out_of_search(tmp_path: Path) -> None:
    """An image keeps its id when its content changes: its old vector counts for nothing until it is embedded anew."""
    source, store = tmp_path / "in", new(tmp_path / "store")
    first, _ = write_opencell(source, [1, 2])
    take(store, source, WHOLE)
    save_tiff(first, draw_field(77))
    take(store, source, "pixel-stats")
    old = vectors(store)[1]
    other = next(name for name in old if "G2_" in name)
    with pytest.raises(EmbstoreError, match="G1 has no cells in tiny:mapping"):
        similar_proteins(store, "G1", backbone="tiny")
    assert similar_cells(store, other, backbone="tiny").rows == ()
    assert embed(store, backbones=[WHOLE]).vectors_in == {"tiny:mapping": 1}
    now = vectors(store)[1]
    assert [ensg(1) in name for name in now if not np.array_equal(now[name], old[name])] == [True]
    assert len(similar_cells(store, other, backbone="tiny").rows) == 1


def test_other_cells_of_the_same_image_leave_its_vector_as_it_is(tmp_path: Path) -> None:
    """A new pixel size makes new cells; a whole image needs none, and is done."""
    source, store = tmp_path / "in", new(tmp_path / "store")
    write_opencell(source, [1])
    take(store, source, WHOLE)
    resegmented = ingest(store, source, layout="opencell", backbones=["pixel-stats"], pixel_size_um=0.3)
    assert resegmented.images_resegmented == 1
    assert embed(store, backbones=[WHOLE]).done_before == 1


def test_verify_misses_the_vector_of_an_image_that_is_marked_as_done(tmp_path: Path) -> None:
    """A marker without its vector would never be made good by itself."""
    write_opencell(tmp_path / "in", [1, 2])
    store = new(tmp_path / "store")
    take(store, tmp_path / "in", WHOLE)
    assert verify(store).wrong == ()
    space, contents = vectors(store)
    assert next(iter(contents.values())).shape == (WIDTH,)
    store.delete(f"emb_{space[:12]}", f"id = '{next(iter(contents))}'")
    (finding,) = verify(store).wrong
    assert "images marked as done that have no vector" in finding.found
