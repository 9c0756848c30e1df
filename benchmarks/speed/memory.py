"""Does memory grow with the number of fields? Peak RSS of ingesting 1,000 and 4,000 of them with pixel-stats.

Fields of 260 px contain some seven cells; each ingest is a process of its own. Limits: the larger takes at most 1.1
times the memory of the smaller, and a rerun on the finished store at most 5 % of the first run's time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import embstore as es

FIELDS = (1000, 4000)
PER_PROTEIN = 4


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        atlas = es.write_phantom(
            Path(folder) / "atlas",
            layout="opencell",
            proteins=max(FIELDS) // PER_PROTEIN,
            fields=PER_PROTEIN,
            field_px=260,
        )
        measured = {n: _measured(Path(folder) / f"store{n}", atlas.images_folder, n) for n in FIELDS}
        again = _measured(Path(folder) / f"store{FIELDS[-1]}", atlas.images_folder, FIELDS[-1])
    small, large = (measured[n] for n in FIELDS)
    record = {
        "title": "memory of an ingest",
        "peak_mb": {n: round(measured[n]["peak_mb"]) for n in FIELDS},
        "ratio": round(large["peak_mb"] / small["peak_mb"], 3),
        "rerun_share": round(again["seconds"] / large["seconds"], 4),
    }
    print(json.dumps(record))


def _measured(store: Path, images: Path, fields: int) -> dict[str, float]:
    words = [sys.executable, __file__, str(store), str(images), str(fields)]
    return dict(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def _ingest(store: str, images: str, fields: str) -> None:
    started = time.perf_counter()
    es.ingest(store, Path(images), layout="opencell", backbones=["pixel-stats"], limit=int(fields))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_mb": peak_kb / 1024, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    _ingest(*sys.argv[1:]) if len(sys.argv) > 1 else main()
