"""HDF5 files: how a dataset of one is named, and a trial of a file in a process of its own.

HDF5 crashes or never ends on some damage, and takes all with it.
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
# reads what is named, at most fifty times the file; what HDF5 reports as an error is for the reader to say
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
    except Exception:  # h5py raises of every kind; only crashes and endless loops are looked for here
        pass

try:
    with h5py.File(sys.argv[1], "r") as file:
        for name in sys.argv[2:]:
            item = file.get(name)
            read(name, item)
            if isinstance(item, h5py.Group):
                item.visititems(read)
except Exception:  # as above: the reader itself reports what h5py raises
    pass
"""


def file_and_dataset(path: str | Path) -> tuple[Path, str]:
    """Return the file of a path, and the dataset that it names behind it (`fields.h5::raw/f1`), which may be none."""
    named = DATASET_NAME.fullmatch(str(path))
    return (Path(named["file"]), named["dataset"]) if named else (Path(path), "")


def refuse_crashing(path: Path, names: Sequence[str]) -> None:
    """Raise EmbstoreError where reading these groups and datasets crashes HDF5, or does not end."""
    limit_s = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    line = [sys.executable, "-I", "-W", "ignore", "-c", TRIAL, str(path), *names]
    try:
        done = subprocess.run(line, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        found = "HDF5 does not end reading it"
    else:
        if done.returncode >= 0:
            return
        found = "it crashes HDF5"
    raise EmbstoreError(f"{path} cannot be read as HDF5 ({found}); save it again")
