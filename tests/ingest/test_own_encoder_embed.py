"""`es.embed(store, encoder=...)`: vectors of one's own network are stored, guarded, searched and scored like others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embstore as es
from embstore.ingest import Report


def brightness(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels.mean((2, 3)), pixels.std((2, 3)), pixels.max((2, 3))], axis=1)


def changed(pixels: np.ndarray) -> np.ndarray:
    return brightness(pixels**2)


def embedded(store: es.Store, encoder: es.Encoder = brightness, **keys: Any) -> Report:
    known: dict[str, Any] = {
        "name": "mine",
        "roles": ["nucleus", "protein"],
        "input_px": 48,
        "fingerprint": "brightness 1",
    }
    return es.embed(store, encoder=encoder, **known | keys)


def test_an_encoder_of_ones_own_is_embedded_searched_scored_and_verified(phantom_copy: Path) -> None:
    """Every cell once; a second run has nothing to do; the history names the function, not its code."""
    store = es.open(phantom_copy)
    first = embedded(store)
    cells = es.query(store, "SELECT count(*) AS n FROM cells").to_pylist()[0]["n"]
    assert first.vectors_in == {"mine:mapping": cells}
    assert embedded(store).done_before == 3
    result = es.similar_proteins(store, "PHN001", backbone="mine", k=2)
    assert {row.gene for row in result.rows} == {"PHN002", "PHN003"}
    assert not es.verify(store).wrong
    run = es.list_ingests(store).rows[0]
    assert json.loads(run["arguments"])["encoder"].endswith("test_own_encoder_embed.brightness")
    whole = embedded(store, unit="image")
    assert sum(whole.vectors_in.values()) == 3
    assert not es.verify(store).wrong


def test_an_encoder_that_changed_under_its_fingerprint_is_refused(phantom_copy: Path) -> None:
    """The canary guards the space; another fingerprint makes another space."""
    store = es.open(phantom_copy)
    embedded(store)
    new = es.query(store, "SELECT digest FROM spaces WHERE backbone = 'mine'").to_pylist()[0]["digest"]
    store.delete("ingested", f"space = '{new}'")  # as where images came in since
    with pytest.raises(es.EmbstoreError, match="golden crops agree to cosine"):
        embedded(store, changed)
    assert embedded(store, changed, fingerprint="2").vectors_in
    with pytest.raises(es.EmbstoreError, match="2 spaces match mine"):
        es.similar_proteins(store, "PHN001", backbone="mine")


def test_a_name_that_is_taken_or_two_ways_at_once_are_refused(phantom_copy: Path) -> None:
    """Nothing is written."""
    store = es.open(phantom_copy)
    with pytest.raises(es.EmbstoreError, match="cannot be called 'hpa'"):
        embedded(store, name="hpa")
    with pytest.raises(es.EmbstoreError, match="backbones= and encoder=; make one run for each"):
        embedded(store, backbones=["pixel-stats"])
    with pytest.raises(es.EmbstoreError, match="no backbone was named"):
        es.embed(store)
    with pytest.raises(es.EmbstoreError, match="name= describes an encoder"):
        es.embed(store, backbones=["pixel-stats"], name="mine")
    assert [space["backbone"] for space in es.list_spaces(store).rows] == ["pixel-stats"]
