"""Check whether this machine is suitable for the store: file system, disk, processors, torch, weights, versions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from embstore.backbones.device import find_device
from embstore.backbones.registry import availability, backbone_records
from embstore.errors import EmbstoreError, MissingStoreError, StoreError
from embstore.store import Store
from embstore.tabular import Listing

ENGINES = ("lancedb", "pylance", "pyarrow", "duckdb", "numpy", "torch", "timm")
MOUNTS = Path("/proc/self/mounts")
# Lance commits by an atomic rename or link, which these file systems do not guarantee
RISKY = ("nfs", "fuse", "cifs", "smb", "9p", "afs")
GB = 1_000_000_000
LOW_GB, FULL_GB = 10, 1


@dataclass(frozen=True)
class Check:
    """One check of the machine; `result` is ok, warn or fail."""

    check: str
    result: str
    found: str
    todo: str = ""


def doctor(uri: str | Path) -> Listing[Check]:
    """Return checks of this machine and of the store at `uri`, which need not exist; never writes."""
    uri = str(uri)
    checks = [*_store(uri)]
    if "://" not in uri:
        nearest = _nearest(Path(uri).resolve())
        checks += [_file_system(nearest), _disk(nearest)]
    return Listing([*checks, *_machine(), _weights(), _engines()], Check, "check")


def _store(uri: str) -> Iterator[Check]:
    try:
        meta = Store.open(uri).read("store_meta").to_pylist()[0]
    except MissingStoreError:
        yield Check("store", "ok", f"there is no store at {uri} yet", "`embstore ingest` makes one")
    except StoreError as error:
        yield Check("store", "fail", str(error), "name another with --store")
    else:
        yield Check("store", "ok", f"format {meta['format_version']}, written by {meta['written_by']}, at {uri}")


def _nearest(path: Path) -> Path:
    """Return the path if it exists, else the nearest folder above it that does: where a new store would be made."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _file_system(folder: Path) -> Check:
    if not MOUNTS.is_file():
        return Check(
            "file system", "ok", "its type cannot be determined on this system", "keep the store on a local disk"
        )
    kind = file_system(folder, MOUNTS.read_text(encoding="utf-8"))
    if kind.startswith(RISKY):
        todo = "two writers, or a kill, may corrupt a commit there: move the store to a local disk or to s3://"
        return Check("file system", "warn", kind, todo)
    return Check("file system", "ok", kind)


def file_system(folder: Path, mounts: str) -> str:
    """Return the type of the file system that contains a folder, from the lines of /proc/self/mounts."""
    mounted = [(len(Path(at).parts), kind) for at, kind in _mounted(mounts) if folder.is_relative_to(at)]
    deepest = max((depth for depth, _ in mounted), default=0)
    return next((kind for depth, kind in reversed(mounted) if depth == deepest), "unknown")


def _mounted(mounts: str) -> Iterator[tuple[str, str]]:
    for line in mounts.splitlines():
        _, at, kind, *_ = line.split(" ")
        yield at.replace("\\040", " "), kind  # the kernel writes a blank like this


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / GB
    result = "fail" if free < FULL_GB else "warn" if free < LOW_GB else "ok"
    return Check(
        "disk", result, f"{free:.1f} GB free", "" if result == "ok" else "free some, or run `embstore maintain`"
    )


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    device = find_device()
    threads = f"{cores} cores, {device.threads} torch threads"
    if device.threads < cores:
        yield Check("cores", "warn", threads, "unset OMP_NUM_THREADS to use all cores")
    else:
        yield Check("cores", "ok", threads)
    gpu = ", ".join(device.gpus) or "no GPU: networks run on the processor"
    yield Check("torch", "ok", f"{device.torch}, {gpu}")


def _weights() -> Check:
    try:
        ready = [backbone.name for backbone in backbone_records().values() if availability(backbone)[0]]
    except EmbstoreError as error:  # a user's record is invalid
        return Check("weights", "warn", str(error), "until it is corrected, only built-in backbones can be used")
    return Check("weights", "ok", f"ready: {', '.join(ready)}", "`embstore backbones list` shows how to get the others")


def _engines() -> Check:
    return Check("engines", "ok", ", ".join(f"{name} {version(name)}" for name in ENGINES))
