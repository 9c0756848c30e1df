"""Searches by public functions, against reading the vectors, a pass over the matrix, and lancedb's flat search."""

from __future__ import annotations

import tempfile
from pathlib import Path

import lancedb
import numpy as np
from harness import compare, report

from embstore.search import open_index, similar_cells, similar_proteins
from embstore.store import Store, add_proteins, add_space, forget_derived, put_vectors

ROWS, DIM, PROTEINS, K = 100_000, 384, 1_300, 10
DIGEST = "5" * 64
SEGMENTATION = "seg00000"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = filled(Path(folder))
        table = lancedb.connect(folder).open_table(f"emb_{DIGEST[:12]}")
        index = open_index(store)
        cell = index.ids[17].as_py()
        query = index.matrix[17]
        flat = table.search(query).distance_type("cosine").limit(K + 1).to_arrow()["id"].to_pylist()
        ours = {row.cell_id for row in similar_cells(index, cell, k=K).rows}
        if set(flat) - {cell} != ours:
            raise SystemExit(f"the neighbours differ: {flat} and {ours}")
        of_proteins = compare(
            {
                "reading the vectors": lambda: store.read(f"emb_{DIGEST[:12]}", ["vector"]),
                "similar_proteins, sums computed": lambda: (forget_derived(store), similar_proteins(store, "G7")),
                "similar_proteins, sums read from the store": lambda: similar_proteins(Store.open(folder), "G7"),
                "similar_proteins, index open": lambda: similar_proteins(index, "G7"),
            },
            baseline="reading the vectors",
        )
        report("protein search", of_proteins, work=f"{ROWS} × {DIM} in {PROTEINS} proteins, top {K}")
        of_cells = compare(
            {
                "one pass over the matrix (the limit)": lambda: index.matrix @ query,
                "similar_cells, index open": lambda: similar_cells(index, cell, k=K),
                "similar_cells, vectors read": lambda: similar_cells(Store.open(folder), cell, k=K),
                "lancedb flat search": lambda: table.search(query).distance_type("cosine").limit(K).to_arrow(),
            },
            baseline="one pass over the matrix (the limit)",
        )
        report("cell search", of_cells, work=f"{ROWS} × {DIM}, top {K}")


def filled(folder: Path) -> Store:
    """Return a store of cells whose vectors scatter around the mean of their protein, an image a protein."""
    rng = np.random.default_rng(0)
    store = Store.open(folder, create=True)
    add_space(store, {"digest": DIGEST, "backbone": "speed", "strategy": "mapping", "roles": []}, DIM, half=True)
    n_proteins = min(PROTEINS, ROWS // 2)
    add_proteins(store, [([f"gene:G{n}"], [f"G{n}"]) for n in range(n_proteins)])
    image = {"revision": 1, "dataset": "speed", "segmentation": SEGMENTATION}
    store.upsert(
        "images",
        [
            image | {"image_id": f"speed/{n}", "protein_ids": [f"gene:G{n}"], "genes": [f"G{n}"]}
            for n in range(n_proteins)
        ],
    )
    for numbers in np.array_split(np.arange(n_proteins), max(1, ROWS // 50_000)):
        cells = [
            {"cell_id": f"speed/{n}:{SEGMENTATION}:{label}", "image_id": f"speed/{n}", "segmentation": SEGMENTATION}
            for n in numbers
            for label in range(ROWS // n_proteins)
        ]
        means = np.repeat(rng.standard_normal((len(numbers), DIM), np.float32), ROWS // n_proteins, axis=0)
        store.upsert("cells", cells)
        put_vectors(store, DIGEST, [cell["cell_id"] for cell in cells], means + rng.standard_normal(means.shape))
    return store


if __name__ == "__main__":
    main()
