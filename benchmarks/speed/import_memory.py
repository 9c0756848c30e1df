"""Does memory grow with a file of embeddings? Peak RSS of importing 400 and 800 MB, each format by itself.

Rows of 1,024 numbers in float32. Each import is a process of its own; the Parquet file is one row group. Limit: the
larger file takes at most 1.2 times the memory of the smaller one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

import embstore as es

DIM = 1024
ROWS = (100_000, 200_000)  # 400 and 800 MB as float32
CSV_ROWS = tuple(rows * 2 // 5 for rows in ROWS)  # a number is about ten characters
FORMATS = ("npy", "npz", "parquet", "csv", "h5ad")


def main() -> None:
    formats = sys.argv[1:] or FORMATS
    measured = {form: [_measured(form, rows) for rows in (CSV_ROWS if form == "csv" else ROWS)] for form in formats}
    peaks = {form: [round(one["peak_mb"]) for one in sizes] for form, sizes in measured.items()}
    record = {
        "title": "memory of an import",
        "file_mb": {form: [round(one["file_mb"]) for one in sizes] for form, sizes in measured.items()},
        "peak_mb": peaks,
        "ratio": {form: round(large / small, 3) for form, (small, large) in peaks.items()},
        "seconds": {form: [round(one["seconds"], 1) for one in sizes] for form, sizes in measured.items()},
    }
    print(json.dumps(record))


def _measured(form: str, rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"v.{form}"
        for what in ("--write", "--import"):
            words = [sys.executable, __file__, what, str(file), str(rows), str(Path(folder) / "store")]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout)) | {"file_mb": file.stat().st_size / 1e6}


def _write(file: Path, rows: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(rows, DIM)).astype(np.float32)
    if file.suffix == ".npy":
        np.save(file, vectors)
    elif file.suffix == ".npz":
        np.savez(file, X=vectors)
    elif file.suffix == ".h5ad":
        import anndata  # noqa: PLC0415  the extra h5ad

        anndata.AnnData(vectors).write_h5ad(file)
    else:
        table = pa.table({f"f{i}": vectors[:, i] for i in range(DIM)})
        if file.suffix == ".csv":
            pacsv.write_csv(table, file)
        else:
            pq.write_table(table, file)


def _import(file: Path, store: str) -> None:
    started = time.perf_counter()
    es.import_embeddings(store, file, dataset="d", backbone="b")
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_mb": peak_kb / 1024, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--write", file, rows, _]:
            _write(Path(file), int(rows))
        case ["--import", file, _, store]:
            _import(Path(file), store)
        case _:
            main()
