"""Damages files by the thousand and reads each of them in one child process: the harness of `make test-faults`.

    outcome = read_mutated(read_planes, [good_tiff, good_png], tmp_path, n=2000)
    outcome.check()

`read` takes a path and must be a function at the top level of a module, as the child process imports it again. A seed
is a good file, or a folder (a Zarr), of which one file at a time is damaged. Reading may succeed or raise
EmbstoreError with one line; anything else is a failure, and so are a crash, a minute for one file, and 2 GB of memory.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from embstore.errors import EmbstoreError

MAX_BYTES = 2 << 30  # resident memory of the process that reads
GUARD_BYTES = 6 << 30  # where the system stops a process that would take the machine's memory
MAX_SECONDS = 60  # for one file
NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
WORDS = (b"-1", b"0", b"99999999999", b"1e309", b"nan", b"9" * 30, b"", b"'", b'"', b"None", b"\xff\xfe", b"\0", b"{}")
JOURNAL = "outcome.json"
ENDS = 512  # bytes at either end of a file: where formats keep their headers and directories


@dataclass
class Outcome:
    """How reading mutated files ended: how many were read and refused, and every other end."""

    read: int = 0
    refused: int = 0
    peak_bytes: int = 0
    faults: list[str] = field(default_factory=list)  # which mutation of which seed, and the traceback

    def check(self, n: int) -> None:
        """Fail where any of `n` files ended in anything but success or one line, or memory went beyond 2 GB."""
        print(f"{self.read} read, {self.refused} refused, peak {self.peak_bytes / 1e6:,.0f} MB")
        assert not self.faults, f"{len(self.faults)} faults, such as\n" + "\n".join(self.faults[:3])
        assert self.read + self.refused == n
        assert self.peak_bytes < MAX_BYTES


def read_mutated(
    read: Callable[[Path], object], seeds: Sequence[Path], scratch: Path, *, n: int = 2000, seed: int | None = None
) -> Outcome:
    """Read `n` mutations of the seeds in turn in a child process, and return how that ended.

    The random numbers are those of `seed`, else of the environment's EMBSTORE_FAULT_SEED, else new ones; pytest shows
    them where a test fails.
    """
    if seed is None:
        seed = int(os.environ.get("EMBSTORE_FAULT_SEED", np.random.default_rng().integers(1 << 32)))
    print(f"EMBSTORE_FAULT_SEED={seed}")
    scratch.mkdir(parents=True, exist_ok=True)
    child = get_context("spawn").Process(target=_child, args=(read, list(seeds), scratch, n, seed))
    child.start()
    child.join()
    journal = scratch / JOURNAL
    outcome = Outcome(**json.loads(journal.read_text())) if journal.exists() else Outcome()
    if child.exitcode:
        outcome.faults.append(f"the process ended with {child.exitcode} at {(scratch / 'current').read_text()}")
    return outcome


def _child(read: Callable[[Path], object], seeds: list[Path], scratch: Path, n: int, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (GUARD_BYTES, GUARD_BYTES))
    signal.signal(signal.SIGALRM, _too_slow)
    warnings.simplefilter("error")
    outcome = Outcome()
    for number in range(n):
        original = seeds[number % len(seeds)]
        where = f"{original.name}, number {number} of seed {seed}"
        (scratch / "current").write_text(where)
        path = _mutated(original, scratch, np.random.default_rng([seed, number]))
        signal.alarm(MAX_SECONDS)
        try:
            read(path)
        except EmbstoreError as error:
            outcome.refused += 1
            if "\n" in str(error):
                outcome.faults.append(f"{where}: more than a line: {error}")
        except BaseException:  # noqa: BLE001 whatever it is, it is what the test reports
            outcome.faults.append(f"{where}:\n{traceback.format_exc()}")
        else:
            outcome.read += 1
        signal.alarm(0)
    outcome.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (scratch / JOURNAL).write_text(json.dumps(vars(outcome)))


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"reading one file took more than {MAX_SECONDS} s")


def _mutated(original: Path, scratch: Path, rng: np.random.Generator) -> Path:
    """Return the path of a mutated copy, under the name of its original."""
    copy = scratch / "mutated" / original.name
    if original.is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        # small files are metadata, of which there are few: half of the mutations are theirs
        metadata = [path for path in files if path.name.startswith(".z") or path.suffix == ".json"]
        among = metadata if metadata and rng.integers(2) else files
        target = among[int(rng.integers(len(among)))]
    else:
        copy.parent.mkdir(exist_ok=True)
        target = shutil.copyfile(original, copy)
    target.write_bytes(mutated(target.read_bytes(), rng))
    return copy


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's bytes with one to three kinds of damage."""
    for _ in range(1 + int(rng.integers(3))):
        if content:
            content = KINDS[int(rng.integers(len(KINDS)))](content, rng)
    return content


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        damaged[_position(content, rng)] = int(rng.integers(256))
    return bytes(damaged)


def _position(content: bytes, rng: np.random.Generator) -> int:
    """Return a place anywhere in a file, or as often in its first or last bytes."""
    n = len(content)
    low, high = ((0, n), (0, min(n, ENDS)), (max(0, n - ENDS), n))[int(rng.integers(3))]
    return int(rng.integers(low, high))


def _truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _lying(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file in which a number of 1 to 8 bytes is another: a size, a count, an offset, a type."""
    number, length = NUMBERS[int(rng.integers(len(NUMBERS)))], (1, 2, 4, 8)[int(rng.integers(4))]
    message = (number % (1 << 8 * length)).to_bytes(length, "big" if rng.integers(2) else "little")
    start = _position(content, rng)
    return content[:start] + message + content[start + length :]


def _renumbered(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file in which a number or word that is written as text is something else."""
    words = list(re.finditer(rb"-?\d+(?:\.\d+)?|\w+", content[: 1 << 16]))
    if not words:
        return _flipped(content, rng)
    word = words[int(rng.integers(len(words)))]
    return content[: word.start()] + WORDS[int(rng.integers(len(WORDS)))] + content[word.end() :]


def _inserted(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    return content[:start] + rng.bytes(int(rng.integers(1, 300))) + content[start:]


def _cut_out(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 300)) :]


def _doubled(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    return content[: start + int(rng.integers(1, 300))] + content[start:]


def _blanked(content: bytes, rng: np.random.Generator) -> bytes:
    start, length = _position(content, rng), int(rng.integers(1, 300))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


KINDS = (_flipped, _truncated, _lying, _renumbered, _inserted, _cut_out, _doubled, _blanked)
