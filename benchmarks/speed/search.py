"""Exact search against its limit (one pass over the matrix) and against lancedb's own flat search."""

from __future__ import annotations

import tempfile

import lancedb
import numpy as np
from harness import compare, report

from embstore.search import cosine
from embstore.store import Store, add_space, put_vectors

ROWS, DIM, K = 100_000, 384, 10
DIGEST = "5" * 64


def main() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    ids = [f"speed/{i}" for i in range(ROWS)]
    query = vectors[17] + 0.1 * vectors[18]
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, create=True)
        add_space(store, {"digest": DIGEST, "backbone": "speed", "roles": []}, DIM, half=True)
        put_vectors(store, DIGEST, ids, vectors)
        table = lancedb.connect(folder).open_table(f"emb_{DIGEST[:12]}")
        flat = table.search(query).distance_type("cosine").limit(K).to_arrow()["id"].to_pylist()
        ours = [ids[i] for i in np.argsort(-cosine(store.matrix(DIGEST, ids), query))[:K]]
        if set(flat) != set(ours):
            raise SystemExit(f"the neighbours differ: {flat} and {ours}")
        timings = compare(
            {
                "numpy matvec (the limit)": lambda: vectors @ query,
                "embstore.search.cosine, vectors in memory": lambda: np.argpartition(-cosine(vectors, query), K),
                "lancedb flat search": lambda: table.search(query).distance_type("cosine").limit(K).to_arrow(),
                "Store.matrix, all rows from disk": lambda: store.matrix(DIGEST, ids),
            },
            baseline="lancedb flat search",
        )
    report("exact search", timings, work=f"{ROWS} × {DIM}, top {K}")


if __name__ == "__main__":
    main()
