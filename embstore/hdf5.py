"""HDF5 files: paths that name a dataset, and a test read in a separate process.

On some damaged files, HDF5 crashes or never returns, which would end the whole ingest.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from embstore.errors import EmbstoreError

DATASET_NAME = re.compile(r"(?P<file>.+\.(?:h5|hdf5|hdf))::(?P<dataset>.+)", re.IGNORECASE | re.DOTALL)
LEAST_SECONDS, BYTES_PER_SECOND = 10, 10_000_000
# reads the named items, up to fifty times the file's size; errors that HDF5 reports are left to the reader
TRIAL = """
import os, sys
import h5py

left = 50 * os.path.getsize(sys.argv[1]) + (64 << 20)

def read(_, item):
    global left
    try:
        dict(item.attrs)
        if isinstance(item, h5py.Dataset) and item.shape and left > 0:
            rows = max(1, (16 << 20) // max(1, item.dtype.itemsize * item.size // item.shape[0]))
            for start in range(0, item.shape[0], rows):
                left -= rows * max(1, item.dtype.itemsize * item.size // item.shape[0])
                if left < 0:
                    break
                item[start : start + rows]
    except Exception:  # h5py raises errors of every kind; only crashes and endless loops matter here
        pass

try:
    with h5py.File(sys.argv[1], "r") as file:
        for name in sys.argv[2:]:
            item = file.get(name)
            read(name, item)
            if isinstance(item, h5py.Group):
                item.visititems(read)
except Exception:  # as above: the reader reports what h5py raises
    pass
"""


def file_and_dataset(path: str | Path) -> tuple[Path, str]:
    """Return the file and the dataset of a path such as `fields.h5::raw/f1`; the dataset may be empty."""
    named = DATASET_NAME.fullmatch(str(path))
    return (Path(named["file"]), named["dataset"]) if named else (Path(path), "")


def refuse_crashing(path: Path, names: Sequence[str]) -> None:
    """Raise EmbstoreError if reading these groups and datasets crashes HDF5 or does not end."""
    limit_s = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    line = [sys.executable, "-I", "-W", "ignore", "-c", TRIAL, str(path), *names]
    try:
        done = subprocess.run(line, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        problem = "HDF5 does not end reading it"
    else:
        if done.returncode >= 0:
            return
        problem = "it crashes HDF5"
    raise EmbstoreError(f"{path} cannot be read as HDF5 ({problem}); save it again")
