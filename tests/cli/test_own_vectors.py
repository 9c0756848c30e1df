"""`embstore import` of vectors of the store's own cells, as a user types it: scored and searched like any others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

import embstore as es

from .conftest import Run


def test_vectors_that_were_made_elsewhere_score_as_if_made_here(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    """The same numbers under another name: the same units, the same scores and neighbours, and a clean store."""
    folder = shutil.copytree(phantom_store, tmp_path / "store")
    store = es.open(folder)
    (space,) = [row["digest"] for row in es.list_spaces(store).rows]
    ids, vectors = store.vectors(space)
    np.savez(tmp_path / "theirs.npz", X=vectors, cell_id=np.array(ids))
    here = ("--store", folder)
    done = run(
        *here, "import", tmp_path / "theirs.npz", "--backbone", "theirs", "--embeddings", "X", "--id-column", "cell_id"
    )
    assert done.stdout.startswith(f"opencell: {len(ids)} of {len(ids)} vectors"), done.stderr
    both = ("--backbone", "pixel-stats", "--backbone", "theirs")
    done = run(*here, "bench", *both, "--head", "knn", "--folds", "3", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    rows = json.loads(run(*here, "results", "--format", "json").stdout)
    scores = {row["backbone"]: (row["mean"], row["n_test"], row["unit"]) for row in rows if row["head"] == "knn"}
    assert scores["theirs"] == scores["pixel-stats"]
    genes = [
        [row["gene"] for row in json.loads(run(*here, "search", "protein", "PHN001", *one, "--format", "json").stdout)]
        for one in (both[:2], both[2:])
    ]
    assert genes[0] == genes[1]
    assert run(*here, "verify").returncode == 0
