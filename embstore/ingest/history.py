"""The history of a store: each run of ingest, embed or import that writes to it is recorded in the table `ingests`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from embstore.errors import EmbstoreError
from embstore.ingest.report import Report
from embstore.store import IngestsRow, Store, new_run, now, put_ingest

_log = logging.getLogger(__name__)

WRITTEN = ("images", "profiles", "labels", "proteins", "failures")  # new if a run wrote


@dataclass(frozen=True)
class Job:
    """One call of ingest, embed or import: its arguments, and when it began."""

    kind: str
    arguments: Mapping[str, Any]
    started: datetime = field(default_factory=now)
    clock: float = field(default_factory=time.monotonic)


class Recording:
    """The row of one job, written when `begin` is called, and at its end if it wrote anything."""

    def __init__(self, store: Store, job: Job, report: Report) -> None:
        self._store = store
        self._job = job
        self._report = report
        self._row: IngestsRow | None = None
        self._before = self._versions()
        self.spaces: Mapping[str, str] = {}  # digest -> name
        self.device = "cpu"
        self.planned = 0

    def begin(self) -> None:
        """Write the row of a job that is about to write (writes); a second call changes nothing."""
        if self._row is None:
            self._row = self._new_row()
            put_ingest(self._store, self._row)
            into = ", ".join(self.spaces.values())
            what = f"{self._job.kind} of {self._report.dataset} into {into}"
            _log.info("%s begins: %d to do, %d done before", what, self.planned, self._report.done_before)

    def end(self, status: str, error: str | None = None) -> None:
        """Write how the job ended (writes); one that wrote nothing leaves no row."""
        if self._row is None and self._versions() == self._before:
            return
        report = self._report
        put_ingest(
            self._store,
            {
                **(self._row or self._new_row()),
                "status": status,
                "error": error,
                "done": sum(report.vectors_in.values()) if report.unit == "profile" else report.images_in,
                "failed": len(report.failures),
                "cells": report.cells_in,
                "vectors": sum(report.vectors_in.values()),
                "finished": now(),
                "elapsed_s": time.monotonic() - self._job.clock,
                "peak_memory_mb": peak_memory_mb(),
            },
        )

    def _versions(self) -> list[int]:
        return [self._store.dataset(name).version for name in WRITTEN]

    def _new_row(self) -> IngestsRow:
        job = self._job
        return {
            **new_run(job.kind, self._report.dataset, job.arguments, job.started),
            "device": self.device,
            "backbones": list(self.spaces.values()),
            "spaces": list(self.spaces),
            "planned": self.planned,
            "unchanged": self._report.done_before,
        }


@contextmanager
def recorded(store: Store, job: Job, report: Report) -> Iterator[Recording]:
    """Record the job of a block in the table `ingests`, however it ends (writes)."""
    recording = Recording(store, job, report)
    try:
        yield recording
    except BaseException as error:
        status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        why = str(error) or type(error).__name__
        _log.error("%s of %s %s: %s", job.kind, report.dataset, status, why)
        with suppress(EmbstoreError):  # the error that ended the job is the one to report
            recording.end(status, why if status == "failed" else None)
        raise
    recording.end("done")
    _log.info("%s of %s", job.kind, report.headline)


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that were given: without its store and progress, and without empty ones."""
    empty = (None, False, "")
    return {
        name: value for name, value in arguments.items() if name not in ("store", "progress") and value not in empty
    }


def peak_memory_mb() -> float | None:
    """Return the peak memory of this process in MB of 1,000,000 bytes; None if the system does not report it."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024) / 1e6  # bytes on macOS, else KiB
