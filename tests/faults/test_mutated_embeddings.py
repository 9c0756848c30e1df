"""Thousands of damaged files of embeddings: each is read or refused in one line, within 2 GB."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutating import read_mutated

from embstore.ingest import import_embeddings

pytestmark = pytest.mark.faults

FILES = 2000  # mutations of each format
N, DIM = 40, 6
X = np.random.default_rng(0).normal(size=(N, DIM)).astype(np.float32)
NAMES = {
    "id": [f"ENSG{i:011d}" for i in range(N)],
    "gene": [f"G{i}" for i in range(N)],
    "label": ["er;golgi" if i % 3 else "nucleus" for i in range(N)],
}


def read_all(path: Path) -> None:
    """Read a file with its names and vectors, as a dry run of an import does."""
    key = "X" if path.suffix in (".npz", ".h5ad") else None
    named = {} if path.suffix == ".npy" else {"id_column": "id", "gene_column": "gene", "label_column": "label"}
    import_embeddings(
        path.parent / "no-store",
        path,
        dataset="d",
        backbone="b",
        embeddings=key,
        fill_nan="mean",
        dry_run=True,
        **named,
    )


def write_npy(folder: Path) -> None:
    np.save(folder / "rows.npy", X)
    np.save(folder / "columns.npy", np.asfortranarray(X.astype(">f8")))
    np.save(folder / "half.npy", X.astype(np.float16))


def write_npz(folder: Path) -> None:
    texts = {name: np.array(values) for name, values in NAMES.items()}
    np.savez(folder / "stored.npz", X=X, **texts)
    np.savez_compressed(folder / "deflated.npz", X=np.asfortranarray(X), **texts)
    hot = np.random.default_rng(1).integers(0, 2, (N, 3))
    pickled = np.array([{"a": 1}], object)
    np.savez(folder / "hot.npz", X=X, **texts | {"label": hot, "label_names": np.array(list("abc"))}, other=pickled)


def write_tables(folder: Path) -> None:
    numbers = {f"f{j}": X[:, j] for j in range(DIM)}
    lines = [
        ",".join([*NAMES, *numbers]),
        *(",".join([*(v[i] for v in NAMES.values()), *map(str, X[i])]) for i in range(N)),
    ]
    text = "\n".join(lines).encode()
    (folder / "a.csv").write_bytes(text)
    (folder / "a.tsv").write_bytes(text.replace(b",", b"\t"))
    (folder / "a.csv.gz").write_bytes(gzip.compress(text))
    (folder / "b.csv").write_bytes(text.replace(b";", b"|").replace(b",", b";").replace(b".", b","))


def write_parquet(folder: Path) -> None:
    numbers = {f"f{j}": X[:, j] for j in range(DIM)}
    pq.write_table(pa.table(NAMES | numbers), folder / "columns.parquet", row_group_size=16)
    pq.write_table(pa.table(NAMES | {"v": list(X)}), folder / "lists.parquet", compression="zstd")


def write_h5ad(folder: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra `h5ad` is not installed")
    import pandas as pd
    from scipy.sparse import csr_matrix

    obs = pd.DataFrame(NAMES | {"gene": pd.Categorical(NAMES["gene"])}, index=[f"cell{i}" for i in range(N)])
    for name, matrix in (("dense", X), ("sparse", csr_matrix(X))):
        anndata.AnnData(matrix, obs=obs, obsm={"X_pca": X}).write_h5ad(folder / f"{name}.h5ad")
    anndata.AnnData(X, obs=obs).write_h5ad(folder / "packed.h5ad", compression="gzip")


@pytest.mark.parametrize("write", [write_npy, write_npz, write_tables, write_parquet, write_h5ad])
def test_mutated_embeddings_are_read_or_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """No damage to a file of embeddings ends in a traceback, a crash, an endless loop or gigabytes."""
    good = tmp_path / "good"
    good.mkdir()
    write(good)
    files = sorted(good.iterdir())
    for path in files:
        read_all(path)
    read_mutated(read_all, files, tmp_path / "scratch", n=FILES).check(FILES)
