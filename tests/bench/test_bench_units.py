"""`bench` over whole images, and over several spaces of one backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, QUICK, Filler

from embstore.errors import EmbstoreError
from embstore.store import rows
from embstore_bench import bench

HOW: dict[str, Any] = {**QUICK, "seeds": 1}


def embed_images(filler: Filler, *, revision: int = 1, **record: Any) -> str:
    """Give every image of the atlas a vector that shows its protein's locations, and its marker."""
    images = rows(filler.store, "SELECT image_id, protein_ids[1] AS protein FROM images ORDER BY image_id")
    labels = rows(filler.store, "SELECT subject_id, location FROM labels ORDER BY ALL")
    located = {(row["subject_id"], row["location"]) for row in labels}
    truth = np.array([[(i["protein"], c) in located for c in CLASSES] for i in images], np.float32)
    vectors = truth + np.random.default_rng(1).normal(0, 0.1, truth.shape).astype(np.float32)
    ids = [image["image_id"] for image in images]
    space = filler.space("good", ids, vectors, unit="image", **record)
    markers = [
        {"image_id": name, "space": space, "revision": revision, "segmentation": "seg00000", "n_cells": 1}
        for name in ids
    ]
    filler.store.upsert("ingested", markers)
    return space


def test_whole_images_inherit_their_proteins_labels_and_are_scored_on_the_same_folds(atlas: Filler) -> None:
    """Two images a protein are 48 units; cells stay what is meant unless images are asked for."""
    cells = bench(atlas.store, backbones=["good"], **HOW)
    embed_images(atlas)
    whole = bench(atlas.store, backbones=["good:unit=image"], **HOW)
    best = whole.entries[0]
    assert (best.unit, best.n_test, best.n_groups) == ("image", 48, 24)
    assert best.mean > 0.97
    assert best.split == cells.entries[0].split
    assert (whole.made, bench(atlas.store, backbones=["good:unit=cell"], **HOW).made) == (5, 0)  # with four baselines
    baselines = {r.backbone: r.mean for r in whole.entries if r.floor}
    assert baselines["random-per-protein"] < 0.8
    with pytest.raises(EmbstoreError, match=r"vectors of different units cannot be compared: .*\(cell\), .*\(image\)"):
        spaces = [r["digest"] for r in rows(atlas.store, "SELECT digest FROM spaces WHERE backbone = 'good'")]
        bench(atlas.store, backbones=["good"], space=spaces, **HOW)


def test_vectors_of_what_an_image_was_before_are_not_scored(atlas: Filler) -> None:
    """An image that came again with other content is left out until it is embedded anew."""
    embed_images(atlas)
    changed = atlas.store.read("images").to_pylist()[:3]
    atlas.store.upsert("images", [row | {"revision": 2, "sha256": "other"} for row in changed])
    assert bench(atlas.store, backbones=["good:unit=image"], **HOW).entries[0].n_test == 45


def test_spaces_of_one_name_are_scored_side_by_side_under_different_names(atlas: Filler) -> None:
    """By their digests; results show the pooling, names what differs, and a note that poolings should be equal."""
    spaces = [embed_images(atlas, pooling=pooling) for pooling in ("cls", "mean")]
    with pytest.raises(EmbstoreError, match=r"2 spaces match good:unit=image; .*good:unit=image:pooling=(cls|mean)"):
        bench(atlas.store, backbones=["good:unit=image"], **HOW)
    report = bench(atlas.store, backbones=["good"], space=spaces, **HOW)
    assert {r.space: r.pooling for r in report.entries if not r.floor} == dict(
        zip(spaces, ("cls", "mean"), strict=True)
    )
    assert [s["digest"] for s in report.spaces] == spaces
    assert "the vectors are pooled in 2 ways (cls, mean): compare networks at one pooling" in report.notes
    with pytest.raises(EmbstoreError, match="is of good, which is not one of noise"):
        bench(atlas.store, backbones=["noise"], space=spaces[:1], **HOW)
