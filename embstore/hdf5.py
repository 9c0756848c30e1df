"""HDF5 files: paths that name a dataset, and a test read in a separate process.

On some damaged files, HDF5 crashes or never returns, which would end the whole ingest.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from embstore.errors import EmbstoreError

DATASET_NAME = re.compile(r"(?P<file>.+\.(?:h5|hdf5|hdf))::(?P<dataset>.+)", re.IGNORECASE | re.DOTALL)
LEAST_SECONDS, BYTES_PER_SECOND = 10, 10_000_000
MOST_USES = 200  # of a process: what damaged files leave in its memory does not add up
# for each line of a path and names, reads the named items, up to fifty times the file's size, and reports the end;
# errors that HDF5 reports are left to the reader
TRIAL = """
import json, os, sys
import h5py

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

for line in sys.stdin:
    path, names = json.loads(line)
    try:
        left = 50 * os.path.getsize(path) + (64 << 20)
        with h5py.File(path, "r") as file:
            for name in names:
                item = file.get(name)
                read(name, item)
                if isinstance(item, h5py.Group):
                    item.visititems(read)
    except Exception:  # as above: the reader reports what h5py raises
        pass
    print("ended", flush=True)
"""


class _Trial:
    """A process that reads one file after the other; a file that it does not survive is damaged."""

    def __init__(self) -> None:
        self.uses, self.owner = 0, os.getpid()
        line = [sys.executable, "-I", "-W", "ignore", "-c", TRIAL]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True)

    @property
    def is_usable(self) -> bool:
        """True if the process runs, was started by this very process, and has not read many files."""
        return self.owner == os.getpid() and self.uses < MOST_USES and self._process.poll() is None

    def problem(self, path: Path, names: Sequence[str], limit_s: float) -> str:
        """Return what is wrong with a file, "" if nothing; the process has ended if anything is."""
        self.uses += 1
        _, answers = self._pipes()
        try:
            self._send(json.dumps([str(path.absolute()), list(names)]))
            ready, _, _ = select.select([answers], [], [], limit_s)
            if ready and answers.readline():
                return ""
        except BrokenPipeError:
            ready = [answers]
        except BaseException:  # Ctrl-C among others
            self.end()
            raise
        self.end()
        return "it crashes HDF5" if ready else "HDF5 does not end reading it"

    def _send(self, line: str) -> None:
        requests, _ = self._pipes()
        requests.write(line.encode() + b"\n")
        requests.flush()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None  # both were asked for
        assert answers is not None
        return requests, answers

    def end(self) -> None:
        """End the process, unless it is another process's."""
        if self.owner != os.getpid():
            return
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            with suppress(BrokenPipeError):  # of what was not sent
                pipe.close()


_idle: list[_Trial] = []


def _take() -> _Trial:
    while _idle:
        trial = _idle.pop()
        if trial.is_usable:
            return trial
        trial.end()
    return _Trial()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


def file_and_dataset(path: str | Path) -> tuple[Path, str]:
    """Return the file and the dataset of a path such as `fields.h5::raw/f1`; the dataset may be empty."""
    named = DATASET_NAME.fullmatch(str(path))
    return (Path(named["file"]), named["dataset"]) if named else (Path(path), "")


def refuse_crashing(path: Path, names: Sequence[str]) -> None:
    """Raise EmbstoreError if reading these groups and datasets crashes HDF5 or does not end."""
    limit_s = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    trial = _take()
    problem = trial.problem(path, names, limit_s)
    if problem and trial.uses > 1:  # another file may have damaged its memory: only a new process tells
        trial = _Trial()
        problem = trial.problem(path, names, limit_s)
    if problem:
        raise EmbstoreError(f"{path} cannot be read as HDF5 ({problem}); save it again")
    _idle.append(trial)
