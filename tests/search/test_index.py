"""An index: mean vectors are kept beside the store and updated, and ranks have intervals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import embstore as es
from embstore.errors import EmbstoreError
from embstore.search import Index, open_index, pooled, similar_cells, similar_proteins
from embstore.search.pooled import N_PARTS, PooledVectors, pool, pooled_vectors
from embstore.search.uncertainty import Ranked
from embstore.store import Store, add_proteins, add_space, find_space, put_vectors

SEGMENTATION = "seg00000"
DIGEST = "6b" * 32


def add_cells(store: Store, gene: str, vectors: np.ndarray, *, dataset: str = "mine", first: int = 1) -> None:
    """Add an image of a protein with one cell a vector."""
    image = f"{dataset}/{gene}-{first}"
    add_proteins(store, [([f"gene:{gene}"], [gene])])
    row = {"image_id": image, "revision": 1, "dataset": dataset, "segmentation": SEGMENTATION}
    store.upsert("images", [row | {"protein_ids": [f"gene:{gene}"], "genes": [gene]}])
    cells = [f"{image}:{SEGMENTATION}:{label}" for label in range(len(vectors))]
    store.upsert("cells", [{"cell_id": c, "image_id": image, "segmentation": SEGMENTATION} for c in cells])
    put_vectors(store, DIGEST, cells, vectors)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of six proteins with a few cells each."""
    store = Store.open(tmp_path / "store", create=True)
    add_space(store, {"digest": DIGEST, "backbone": "drawn", "strategy": "mapping", "roles": []}, 6, half=False)
    rng = np.random.default_rng(3)
    for n in range(6):
        add_cells(store, f"G{n}", rng.normal(size=(5 + n, 6)))
    return store


def sums_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each later pooling adds the number of vectors that it reads."""
    counts: list[int] = []
    read = pooled.sum_vectors

    def counted(store: Store, space: str, ids: Any, *rest: Any) -> Any:
        counts.append(len(ids))
        return read(store, space, ids, *rest)

    monkeypatch.setattr(pooled, "sum_vectors", counted)
    return counts


def assert_pooled(kept: PooledVectors, expected: PooledVectors) -> None:
    """Compare pooled vectors with those that are computed from all units."""
    assert kept.proteins.equals(expected.proteins)
    np.testing.assert_array_equal(kept.counts, expected.counts)
    np.testing.assert_allclose(kept.sums, expected.sums, rtol=1e-5, atol=1e-6)


def test_means_are_kept_and_read_by_the_next_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call reads no vector; answers are the same, and no table is written."""
    versions, counts = store.versions(), sums_read(monkeypatch)
    first = pooled_vectors(store, DIGEST)
    assert counts == [sum(range(5, 11))]
    assert_pooled(pooled_vectors(Store.open(store.uri), DIGEST), first)
    assert len(counts) == 1
    assert store.versions() == versions


CHANGES: dict[str, tuple[Callable[[Store], Any], int | None]] = {
    "new cells of one protein": (lambda store: add_cells(store, "G1", np.ones((2, 6)), first=90), 8),
    "a new protein": (lambda store: add_cells(store, "A0", np.ones((3, 6))), 3),
    "another dataset": (lambda store: add_cells(store, "G0", np.ones((3, 6)), dataset="theirs"), 3),
    "a table that is not read": (lambda store: store.upsert("failures", []), 0),
    "an image is gone": (lambda store: store.delete("images", "image_id = 'mine/G2-1'"), 0),
    "vectors are gone": (lambda store: store.delete(f"emb_{DIGEST[:12]}", f"id LIKE 'mine/G4-1:%:{3}'"), None),
    "a vector is another": (
        lambda store: put_vectors(store, DIGEST, [f"mine/G4-1:{SEGMENTATION}:1"], np.full((1, 6), 9.0)),
        None,
    ),
    "two groups are one": (lambda store: add_proteins(store, [(["gene:G0", "gene:G1"], ["G0", "G1"])]), 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_pooled_again_and_only_that(store: Store, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """After any change, kept means are those of all units; where rows were only added, only their proteins are read."""
    pooled_vectors(store, DIGEST)
    make, n_read = CHANGES[change]
    make(store)
    counts = sums_read(monkeypatch)
    kept = pooled_vectors(Store.open(store.uri), DIGEST)
    expected = pool(store, DIGEST)
    assert_pooled(kept, expected)
    assert sum(counts[:-1]) == (counts[-1] if n_read is None else n_read)


def test_a_kept_file_that_is_damaged_or_cannot_be_written_is_no_failure(store: Store) -> None:
    """A file that was cut short is computed again; a store whose folder cannot be written is searched all the same."""
    expected = similar_proteins(store, "G0")
    (kept,) = Path(store.uri).glob(".derived/*.arrow")
    kept.write_bytes(kept.read_bytes()[:100])
    assert similar_proteins(store, "G0").rows == expected.rows
    shutil.rmtree(kept.parent)
    kept.parent.write_text("no folder")
    assert similar_proteins(store, "G0").rows == expected.rows


def test_an_index_answers_as_the_store_does(store: Store) -> None:
    """An index is given in place of a store, for proteins and cells; a second choice of a space is refused."""
    index = open_index(store, "drawn")
    assert repr(index).startswith("index of drawn:mapping")
    assert similar_proteins(index, "G3", k=3) == similar_proteins(store, "G3", k=3)
    cell = f"mine/G3-1:{SEGMENTATION}:0"
    assert similar_cells(index, cell, k=3) == similar_cells(store, cell, k=3)
    with pytest.raises(EmbstoreError, match="the index is of drawn:mapping already; leave out backbone"):
        similar_proteins(index, "G3", backbone="drawn")
    assert isinstance(es.open_index(store), Index)


def test_votes_are_beside_what_chance_would_give(store: Store) -> None:
    """Of the labelled neighbours, how many have a location, and how many of as many random proteins would."""
    label = {"label_set": "mine/grade3", "level": "protein", "revision": 1}
    where = {"G1": "er", "G2": "er", "G3": "golgi", "G4": "er"}  # G5 has none
    store.upsert("labels", [label | {"subject_id": f"gene:{g}", "location": where[g]} for g in where])
    votes = {vote.location: vote for vote in similar_proteins(store, "G0", k=10).votes}
    assert {name: (v.count, v.among, v.expected) for name, v in votes.items()} == {
        "er": (3, 4, 3.0),
        "golgi": (1, 4, 1.0),
    }
    assert str(votes["er"]) == "3 of 4 er (expected 3.0)"


def draw_around(rng: np.random.Generator, means: np.ndarray, n_cells: int) -> PooledVectors:
    """Return pooled cells that scatter around the means (proteins, dim), dealt into parts at random."""
    cells = means[:, None] + rng.normal(size=(len(means), n_cells, means.shape[1]))
    parts = rng.integers(N_PARTS, size=cells.shape[:2])
    sums = np.stack([[c[p == part].sum(axis=0) for part in range(N_PARTS)] for c, p in zip(cells, parts, strict=True)])
    counts = np.stack([np.bincount(p, minlength=N_PARTS) for p in parts])
    groups = pa.table({"group_id": [f"gene:{n}" for n in range(len(means))]})
    return PooledVectors(groups, counts, sums.astype(np.float32))


def test_a_rank_interval_covers_the_rank_of_endless_cells() -> None:
    """Over 60 draws, the true rank lies in at least nine of ten intervals, and they are no wider than they need be."""
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(60):
        means = rng.normal(size=(40, 8))
        drawn = draw_around(rng, means, 60)
        ranked = Ranked(drawn, np.zeros(8, np.float32))
        truth = means / np.linalg.norm(means, axis=1, keepdims=True) @ means[0] / np.linalg.norm(means[0])
        true_rank = np.argsort(np.argsort(-truth[1:])) + 1
        similarity = ranked.units[1:] @ (drawn.means[0] / np.linalg.norm(drawn.means[0]))
        order = 1 + np.argsort(-similarity, kind="stable")
        low, high = ranked.rank_intervals(drawn.take(np.array([0])), order, 5).T
        ranks = true_rank[order[:5] - 1]
        covered += list((low <= ranks) & (ranks <= high))
        widths += list(high - low)
    assert np.mean(covered) >= 0.9
    assert np.mean(widths) < 10


def test_a_rank_interval_is_that_of_a_bootstrap_over_cells() -> None:
    """The spread of similarities that the jackknife draws is that of resampled cells, within a fifth."""
    rng = np.random.default_rng(1)
    means, n_cells = rng.normal(size=(12, 8)), 400
    cells = means[:, None] + rng.normal(size=(12, n_cells, 8))
    parts = rng.integers(N_PARTS, size=(12, n_cells))
    sums = np.stack([[c[p == part].sum(axis=0) for part in range(N_PARTS)] for c, p in zip(cells, parts, strict=True)])
    counts = np.stack([np.bincount(p, minlength=N_PARTS) for p in parts])
    drawn = PooledVectors(pa.table({"group_id": [str(n) for n in range(12)]}), counts, sums.astype(np.float32))
    ranked = Ranked(drawn, np.zeros(8, np.float32))
    asked = drawn.means[0] / np.linalg.norm(drawn.means[0])
    own = ranked._own_errors(asked, ranked.units @ asked)
    resampled = []
    for _ in range(400):
        picked = np.stack([c[rng.integers(n_cells, size=n_cells)].mean(axis=0) for c in cells])
        resampled.append(picked / np.linalg.norm(picked, axis=1, keepdims=True) @ asked)
    ratio = own[1:] / np.std(resampled, axis=0)[1:]
    assert 0.7 < np.sqrt(np.mean(ratio**2)) < 1.3


def test_percentiles_are_shares_of_random_pairs() -> None:
    """The most similar of all pairs is above all others but itself; without a pair there is no percentile."""
    rng = np.random.default_rng(2)
    ranked = Ranked(draw_around(rng, rng.normal(size=(30, 8)), 20), np.zeros(8, np.float32))
    pairs = ranked.pair_similarities
    assert len(pairs) == 30 * 29 / 2
    assert ranked.percentiles(pairs[[0, -1]]).tolist() == pytest.approx([0, 100 - 100 / len(pairs)])
    alone = Ranked(draw_around(rng, rng.normal(size=(1, 8)), 20), np.zeros(8, np.float32))
    assert np.isnan(alone.percentiles(np.ones(1, np.float32))).all()


def test_one_cell_tells_nothing_of_its_rank(store: Store) -> None:
    """A query or a neighbour with a single cell has no rank interval."""
    add_cells(store, "ONE", np.ones((1, 6)))
    rows = {row.gene: row for row in similar_proteins(store, "G0").rows}
    assert (rows["ONE"].rank_low, rows["ONE"].rank_high) == (None, None)
    assert all(row.rank_low <= row.rank <= row.rank_high for gene, row in rows.items() if gene != "ONE")
    assert {row.rank_low for row in similar_proteins(store, "ONE").rows} == {None}


def test_purging_forgets_what_was_kept(store: Store) -> None:
    """After a removal with purge no sum of what was taken out is left on disk."""
    similar_proteins(store, "G0")
    assert list(Path(store.uri).glob(".derived/*"))
    es.remove(store, "gene = 'G0'", purge=True)
    assert not list(Path(store.uri).glob(".derived/*"))


def test_a_store_at_a_tag_keeps_nothing(store: Store) -> None:
    """Searching at a tag leaves the newest kept means alone."""
    similar_proteins(store, "G0")
    (kept,) = Path(store.uri).glob(".derived/*.arrow")
    es.create_tag(store, "before")
    add_cells(store, "A0", np.ones((3, 6)))
    then = similar_proteins(store, "G0")
    stamp = kept.stat().st_mtime_ns
    assert "A0" in {row.gene for row in then.rows}
    assert "A0" not in {row.gene for row in similar_proteins(es.open(store.uri, at="before"), "G0").rows}
    assert kept.stat().st_mtime_ns == stamp
    assert find_space(store)["digest"] == DIGEST
