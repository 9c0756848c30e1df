"""Canaries: a space keeps what its encoder made of two drawn cells, and refuses an encoder that makes another thing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import CELLS, draw_field, save_tiff, write_opencell
from tiny_vit import tiny

from embstore.backbones import pixel_measures
from embstore.backbones.crops import Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.errors import EmbstoreError
from embstore.ingest import embed, ingest
from embstore.ingest.canary import GOLDEN_ROLES, canary_vectors, check_canary, golden_crops
from embstore.store import Store


def test_golden_crops_are_two_cells_in_every_role() -> None:
    """Drawn without randomness, in [0, 1], each nucleus inside its cell, the two different in place and size."""
    for px in (96, 224):
        crops = golden_crops(px)
        assert crops.pixels.shape == (2, len(GOLDEN_ROLES), px, px)
        assert crops.roles == GOLDEN_ROLES
        assert crops.pixels.min() >= 0
        assert crops.pixels.max() <= 1
        assert not (crops.nucleus & ~crops.cell).any()
        assert crops.nucleus[0].sum() > 2 * crops.nucleus[1].sum() > 0
        np.testing.assert_array_equal(crops.pixels, golden_crops(px).pixels)
        inside = [crops.pixels[i, 0][crops.nucleus[i]].mean() for i in range(2)]
        outside = [crops.pixels[i, 0][~crops.cell[i]].mean() for i in range(2)]
        assert min(inside) > 0.3 > max(outside)


def test_the_same_encoder_passes() -> None:
    """An encoder loaded again gives the golden vectors again, also after a rounding to float32 text."""
    vectors = canary_vectors(load(BACKBONES["pixel-stats"], Choices()))
    assert vectors.shape == (2, 90)
    assert np.isfinite(vectors).all()
    check_canary("pixel-stats", vectors.ravel().tolist(), canary_vectors(load(BACKBONES["pixel-stats"], Choices())))
    noise = np.random.default_rng(0).normal(0, 1e-4, vectors.shape).astype(np.float32)
    check_canary("pixel-stats", vectors.ravel().tolist(), vectors + noise)


@pytest.mark.parametrize("constant", ["FAINT", "FAINT_DETAIL"])
def test_a_constant_that_is_a_little_off_is_refused(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.5 % of it changes no vector by more than a cosine of 1e-6, and is a thousand times what rounding does."""
    encoder = load(BACKBONES["pixel-stats"], Choices())
    stored = canary_vectors(encoder)
    crops = golden_crops(96)
    rounded = encoder(replace(crops, pixels=np.nextafter(crops.pixels, np.float32(1))))
    check_canary("pixel-stats", stored.ravel().tolist(), rounded)
    monkeypatch.setattr(pixel_measures, constant, getattr(pixel_measures, constant) * 1.005)
    with pytest.raises(EmbstoreError, match=r"to cosine 1\.000000 and differ by [6-9]\..e-04 of their length"):
        check_canary("pixel-stats", stored.ravel().tolist(), canary_vectors(encoder))


def test_half_precision_is_compared_by_its_cosine() -> None:
    """Two GPUs differ by up to a hundredth of a vector's length; that is no drift."""
    vectors = canary_vectors(load(BACKBONES["pixel-stats"], Choices()))
    noise = np.random.default_rng(0).normal(0, 0.008 / np.sqrt(90), vectors.shape)
    other = vectors + noise.astype(np.float32) * np.linalg.norm(vectors, axis=1, keepdims=True)
    check_canary("vit", vectors.ravel().tolist(), other, half=True)
    with pytest.raises(EmbstoreError, match=r"differ by [789]"):
        check_canary("vit", vectors.ravel().tolist(), other)


def test_a_backbone_of_other_roles_has_golden_crops_of_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A space of actin alone gets canary vectors; those of spaces that show known roles stay as they were."""
    monkeypatch.setitem(BACKBONES, "tiny", tiny(slots=("actin", *"abcde"), normalisation="zscore", mean=(), std=()))
    for name, plane in zip(("dapi", "actin"), draw_field(1), strict=True):
        save_tiff(tmp_path / "in" / f"a_{name}.tif", plane, metadata={})
    choices = {"layout": "fields", "channels": "_dapi=nucleus,_actin=actin"}
    for spec, n in (("tiny", 32), ("tiny:replication:roles=actin", 32)):
        report = ingest(tmp_path / "store", tmp_path / "in", backbones=[spec], **choices)
        assert (report.failures, list(report.vectors_in.values())) == ([], [CELLS])
        canaries = Store.open(tmp_path / "store").read("spaces", ["canary"])["canary"].to_pylist()
        assert {len(canary) for canary in canaries} == {2 * n}
        assert np.ptp(canaries[0]) > 0
    np.testing.assert_array_equal(golden_crops(96).pixels, golden_crops(96, GOLDEN_ROLES).pixels)


def test_an_encoder_that_cannot_compute_its_golden_vectors_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of 70,000 tokens are refused before a store is made, by a dry run too."""
    monkeypatch.setitem(BACKBONES, "tiny", tiny())
    write_opencell(tmp_path / "in", [1])
    for dry_run in (True, False):
        with pytest.raises(EmbstoreError, match="tokens to tiny, wanted at most 65536"):
            ingest(
                tmp_path / "store",
                tmp_path / "in",
                layout="opencell",
                backbones=["tiny:unit=image:input_px=2120"],
                dry_run=dry_run,
            )
        assert not (tmp_path / "store").exists()


def test_an_encoder_that_drifted_is_refused() -> None:
    """Another brightness, swapped cells, noise or not-a-number are refused with the cosine that was found."""
    encoder = load(BACKBONES["pixel-stats"], Choices())
    vectors = canary_vectors(encoder)
    crops = golden_crops(96)
    dimmer: Crops = replace(crops, pixels=crops.pixels**2)
    for drifted in (
        encoder(dimmer),
        vectors[::-1],
        vectors + 0.1,
        np.full_like(vectors, np.nan),
        np.zeros_like(vectors),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(EmbstoreError, match="golden crops agree to cosine"):
            check_canary("pixel-stats:mapping", vectors.ravel().tolist(), drifted)


def test_a_drifted_encoder_beside_a_new_one_is_refused_before_anything_is_written(
    phantom_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the new space, nor its table, nor a run is left."""
    store = Store.open(phantom_copy)
    store.delete("ingested", "true")  # as where images came in since
    versions = store.versions()
    monkeypatch.setattr(pixel_measures, "FAINT", pixel_measures.FAINT * 1.5)
    with pytest.raises(EmbstoreError, match="golden crops agree to cosine"):
        embed(store, backbones=["pixel-stats:crop_um=40", "pixel-stats"])
    assert store.versions() == versions
