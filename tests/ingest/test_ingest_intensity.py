"""Bit depths, floats and named intensity scalings, from file to space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_fields import CELLS, draw_field, opencell_path, save_tiff, write_opencell

from embstore.backbones.record import Choices, space_of
from embstore.backbones.registry import BACKBONES
from embstore.errors import EmbstoreError
from embstore.ingest import embed, ingest
from embstore.search import similar_proteins
from embstore.store import Store, rows


def take(folder: Path, source: Path, intensity: str = "percentile") -> Store:
    store = Store.open(folder, create=True)
    report = ingest(store, source, layout="opencell", backbones=[f"pixel-stats:intensity={intensity}"])
    assert report.cells_in == CELLS
    return store


def vectors(store: Store, intensity: str = "percentile") -> np.ndarray:
    digest = space_of(
        BACKBONES["pixel-stats"], Choices(intensity=intensity), BACKBONES["pixel-stats"].weights_sha256
    ).digest
    ids = [row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells ORDER BY label")]
    return store.matrix(digest, ids)


@pytest.mark.parametrize("depth", ["8 bit", "12 bit", "16 bit", "float", "big-endian"])
def test_one_field_of_any_depth_gives_the_same_cells(tmp_path: Path, depth: str) -> None:
    """8, 12 and 16 bit counts and floats in [0, 1] of one field: as many cells, and vectors that differ by rounding."""
    field = draw_field(1)  # counts up to about 1300
    pixels = {
        "8 bit": (field / field.max() * 255).round().astype(np.uint8),
        "12 bit": (field * 3).clip(0, 4095).astype(np.uint16),
        "16 bit": (field.astype(np.uint32) * 40).clip(0, 65535).astype(np.uint16),
        "float": (field / field.max()).astype(np.float32),
        "big-endian": field.astype(">u2"),
    }[depth]
    save_tiff(opencell_path(tmp_path / "raw", 1), field)
    save_tiff(opencell_path(tmp_path / "in", 1), pixels)
    wanted, result = (vectors(take(tmp_path / f"store-{at}", tmp_path / at)) for at in ("raw", "in"))
    assert np.median(np.abs(result - wanted)) < 0.05
    assert np.abs(result - wanted).mean() < 0.15


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint64", "float32", "float64"])
def test_a_copy_in_another_dtype_gives_the_same_cells_flags_and_vectors(tmp_path: Path, dtype: str) -> None:
    """12-bit counts, saturated where it is bright, saved as another program's default dtype: nothing changes."""
    field = (draw_field(1) * 4).clip(0, 4095).astype(np.uint16)
    cells, result = [], []
    for name, pixels in (("raw", field), ("in", field.astype(dtype))):
        save_tiff(opencell_path(tmp_path / name, 1), pixels)
        store = take(tmp_path / f"store-{name}", tmp_path / name)
        cells.append(store.read("cells", ["label", "box", "centroid", "flags", "mask", "nucleus_mask"]).to_pylist())
        result.append(vectors(store))
    assert cells[0] == cells[1]
    assert any("saturated" in cell["flags"] for cell in cells[0])
    np.testing.assert_allclose(result[1], result[0], atol=2e-3)  # vectors are kept in half precision


def test_sums_of_frames_and_floats_of_any_unit_give_the_same_vectors(tmp_path: Path) -> None:
    """A sum of frames beyond 16 bits, and floats of other units, show the same field."""
    field = draw_field(1)
    save_tiff(opencell_path(tmp_path / "raw", 1), field)
    wanted = vectors(take(tmp_path / "store", tmp_path / "raw"))
    for name, pixels in (("sum", field.astype(np.uint32) * 100), ("unit", field / 4095.0)):
        save_tiff(opencell_path(tmp_path / name, 1), pixels)
        np.testing.assert_allclose(vectors(take(tmp_path / f"store-{name}", tmp_path / name)), wanted, atol=2e-3)


def test_another_scaling_is_another_space_over_the_same_cells(tmp_path: Path) -> None:
    """Embedding later equals ingesting with it; cells and pictures stay, and the two spaces are distinguished."""
    write_opencell(tmp_path / "in", [1])
    store = take(tmp_path / "store", tmp_path / "in")
    before = store.read("cells").to_pylist()
    joint = "pixel-stats:intensity=minmax-joint"
    assert embed(store, backbones=[joint]).vectors_in == {"pixel-stats:mapping": CELLS}
    assert embed(store, backbones=[joint]).done_before == 1
    fresh = take(tmp_path / "fresh", tmp_path / "in", intensity="minmax-joint")
    np.testing.assert_array_equal(vectors(store, "minmax-joint"), vectors(fresh, "minmax-joint"))
    assert store.read("cells").to_pylist() == fresh.read("cells").to_pylist() == before
    assert np.abs(vectors(store) - vectors(store, "minmax-joint")).max() > 0.1
    with pytest.raises(
        EmbstoreError, match=r"mapping:intensity=minmax-joint, pixel-stats:mapping:intensity=percentile$"
    ):
        similar_proteins(store, "G1", backbone="pixel-stats")


def test_an_unknown_scaling_is_refused_before_a_store_is_made(tmp_path: Path) -> None:
    """The choices are listed, and nothing is written."""
    write_opencell(tmp_path / "in", [1])
    with pytest.raises(EmbstoreError, match="there is no intensity scaling 'log'"):
        ingest(
            str(tmp_path / "s"),
            tmp_path / "in",
            layout="opencell",
            backbones=["pixel-stats:intensity=log"],
        )
    assert not (tmp_path / "s").exists()
