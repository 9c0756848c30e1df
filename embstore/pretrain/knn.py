"""Monitor a training: how well the neighbours of a cell, of other proteins, predict its locations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError, choices
from embstore.store import Store, rows

WATCHED = 2000  # cells: computing an epoch's score must cost less than the epoch
K, TEMPERATURE = 10, 0.07  # the weights of DINO's k-NN evaluation (arXiv 2104.14294)

CELLS = """
-- Which locations does each cell have, and which group may not vote for it? One row for each labelled cell.
SELECT c.cell_id AS cell_id, any_value(p.group_id) AS group_id,
    list(DISTINCT l.location ORDER BY l.location) AS locations
FROM cells AS c
INNER JOIN proteins AS p ON p.protein_id = c.protein_ids[1]
INNER JOIN (
    SELECT * FROM labels WHERE label_set = $label_set
    QUALIFY revision = max(revision) OVER (PARTITION BY label_set, level, subject_id)
) AS l ON CASE l.level
    WHEN 'protein' THEN list_contains(c.protein_ids, l.subject_id)
    WHEN 'image' THEN c.image_id = l.subject_id
    ELSE c.cell_id = l.subject_id END
GROUP BY c.cell_id
ORDER BY md5(c.cell_id)
"""


@dataclass(frozen=True)
class Watched:
    """Some cells with known locations: their positions among the crops, bool labels (n, classes) and groups (n,)."""

    positions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.str_]
    label_set: str


def watched_cells(
    store: Store, cell_ids: npt.NDArray[np.str_], dataset: str | None, label_set: str | None
) -> Watched | None:
    """Return up to 2,000 of these cells with their labels; None if no label set was named and there is none.

    The default label set is the dataset's first one by name, which for OpenCell is `any`. Labels are only monitored:
    nothing is trained on them or chosen by them. `cell_ids` are (n,). Raises EmbstoreError if the named label set does
    not exist.
    """
    known = [row["label_set"] for row in rows(store, "SELECT DISTINCT label_set FROM labels ORDER BY label_set")]
    if label_set is None:
        label_set = next((name for name in known if dataset is None or name.startswith(f"{dataset}/")), None)
        if label_set is None:
            return None
    elif label_set not in known:
        raise EmbstoreError(choices(label_set, "label set", known))
    place = {cell: i for i, cell in enumerate(cell_ids.tolist())}
    rows_of_cells = [r for r in rows(store, CELLS, {"label_set": label_set}) if r["cell_id"] in place][:WATCHED]
    groups = np.array([row["group_id"] for row in rows_of_cells], np.str_)
    labels = _multihot([row["locations"] for row in rows_of_cells])
    shared = [len(np.unique(groups[column])) > 1 for column in labels.T]
    if not any(shared):
        return None
    positions = np.array([place[row["cell_id"]] for row in rows_of_cells], np.int64)
    return Watched(positions, labels[:, shared], groups, label_set)


def _multihot(sets: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    classes = sorted({name for names in sets for name in names})
    return np.array([[name in names for name in classes] for names in sets], bool).reshape(len(sets), len(classes))


def knn_macro_f1(vectors: npt.NDArray[np.float32], watched: Watched) -> float:
    """Return the macro F1 of each cell's weighted vote of its 10 most similar cells of other groups, in [0, 1].

    `vectors` are float32 (n, dim); a location is predicted if it has more than half of the weight.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    similarity[watched.groups[:, None] == watched.groups[None]] = -np.inf
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
    weight = np.exp((np.take_along_axis(similarity, near, axis=1) - 1) / TEMPERATURE)
    predicted = np.einsum("nk,nkc->nc", weight, watched.labels[near].astype(np.float32)) > 0.5 * weight.sum(1)[:, None]
    hits, wrong = (predicted & watched.labels).sum(0), (predicted != watched.labels).sum(0)
    return float(np.mean(2 * hits / np.maximum(2 * hits + wrong, 1)))
