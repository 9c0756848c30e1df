"""Show the progress of a long job on stderr: bars at a terminal, else a line every 30 s, or JSON lines for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from embstore_cli.render import say
from embstore_cli.terminal import make_console

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from embstore.progress import Progress

LINES_EVERY_S = 30.0
JSON_EVERY_S = 5.0


class ProgressForm(StrEnum):
    """How a long job shows its progress on stderr."""

    auto = "auto"
    bar = "bar"
    lines = "lines"
    json = "json"
    none = "none"


ProgressOption = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        metavar="bar|lines|json|none",
        envvar="EMBSTORE_PROGRESS",
        show_envvar=False,
        help="How progress is shown [default: bar at a terminal, else lines].",
        show_default=False,
    ),
]


@dataclass
class Stage:
    """One stage of a job: its progress, and its speed since the first report."""

    name: str
    done: int
    total: int
    failures: int = 0
    item: str = ""
    started: float = field(default_factory=time.monotonic)
    done_at_start: int = 0  # by an earlier run, if a job continues
    ended: float | None = None

    def update(self, done: int, total: int, failures: int, item: str) -> None:
        """Store the progress of the stage."""
        self.done, self.total, self.failures, self.item = done, total, failures, item
        if not self.is_over:
            self.ended = None
        elif self.ended is None:
            self.ended = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds from the first report on the stage until now, or until it ended."""
        return (time.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def rate(self) -> float | None:
        """Return how many items were done per second; None if that is not known yet."""
        done, elapsed_s = self.done - self.done_at_start, self.elapsed_s
        return done / elapsed_s if done > 0 and elapsed_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Return the seconds until the stage ends at this rate; None if that is not known."""
        if self.total <= 0 or self.rate is None:
            return None
        return max(0, self.total - self.done) / self.rate

    @property
    def is_over(self) -> bool:
        """True if every item is done."""
        return 0 < self.total <= self.done

    @property
    def details(self) -> str:
        """Return the rate, the failures and the time left, if they are known."""
        rate = "" if self.rate is None else f"{self.rate:.3g} per s"
        failures = "" if not self.failures else f"{self.failures} failure{'s' * (self.failures > 1)}"
        left = "" if self.eta_s is None or self.is_over else f"{duration(self.eta_s)} left"
        return ", ".join(filter(None, (rate, failures, left)))


class ProgressLines:
    """Writes the progress at an interval, also while one item takes longer, and when a stage ends.

    `write` is called with the stage (None before the first) and whether it has just ended. It is called for the end of
    a stage that took longer than the interval, or, with `all_stages`, for the beginning and end of each.
    """

    def __init__(
        self, write: Callable[[Stage | None, bool], None], interval_s: float, *, all_stages: bool = False
    ) -> None:
        self._write = write
        self._interval_s = interval_s
        self._all_stages = all_stages
        self._stage: Stage | None = None
        self._failures, self._item = 0, ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._clock.join()

    def detail(self, *, failures: int, item: str) -> None:
        """Accept the details of the stage that is reported next."""
        self._failures, self._item = failures, item

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Accept the progress of a stage."""
        with self._lock:
            new = self._stage is None or self._stage.name != stage
            now = Stage(stage, done, total, done_at_start=done) if self._stage is None or new else self._stage
            was_over = now.ended is not None
            now.update(done, total, self._failures, self._item)
            self._stage, self._failures, self._item = now, 0, ""
            long = self._all_stages or now.elapsed_s > self._interval_s
            if now.is_over and not was_over and long:
                self._write(now, True)
            elif new and self._all_stages and not now.is_over:
                self._write(now, False)

    def _tick(self) -> None:
        while not self._stopped.wait(self._interval_s):
            with self._lock:
                self._write(self._stage, False)


def write_line(stage: Stage | None, ended: bool) -> None:
    """Write a stage as one line for people to stderr."""
    if stage is None:
        say("starting ...")
    elif stage.is_over:
        say(f"{stage.name}: all {stage.total} done{_joined(stage)}{'' if ended else '; the next step is running'}")
    else:
        name = f"{stage.name} ({stage.item})" if stage.item else stage.name
        counted = f"{stage.done} of {stage.total}" if stage.total > 0 else str(stage.done)
        say(f"{name}: {counted}{_joined(stage)}")


def _joined(stage: Stage) -> str:
    return f", {stage.details}" if stage.details else ""


def write_json(stage: Stage | None, ended: bool) -> None:  # noqa: ARG001  # a program sees that done is total
    """Write a stage as one JSON object on one line of stderr."""
    stage = stage or Stage("starting", 0, 0)
    record: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "stage": stage.name,
        "item": stage.item or None,
        "done": stage.done,
        "total": stage.total,
        "rate": None if stage.rate is None else float(f"{stage.rate:.4g}"),
        "failures": stage.failures,
        "eta_s": None if stage.eta_s is None else round(stage.eta_s, 1),
    }
    sys.stderr.write(json.dumps(record) + "\n")
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """Return a duration in words: `42 s`, `18 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class ProgressBars:
    """Shows one bar for each stage, with its rate, its failures and the time left."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._stages: dict[str, tuple[Any, Stage]] = {}
        self._failures, self._item = 0, ""

    def detail(self, *, failures: int, item: str) -> None:
        """Accept the details of the stage that is reported next."""
        self._failures, self._item = failures, item

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Accept the progress of a stage."""
        if stage not in self._stages:
            added = self._bars.add_task(stage, total=total, details="")
            self._stages[stage] = added, Stage(stage, done, total, done_at_start=done)
        bar, now = self._stages[stage]
        now.update(done, total, self._failures, self._item)
        name = f"{stage} ({now.item})" if now.item and not now.is_over else stage
        self._bars.update(bar, completed=done, total=total, description=name, details=now.details)


@contextmanager
def show_progress(
    form: ProgressForm, *, lines_every_s: float = LINES_EVERY_S, json_every_s: float = JSON_EVERY_S
) -> Iterator[Progress | None]:
    """Show on stderr how far a job is; yields what library functions take as `progress`."""
    try:
        if form is ProgressForm.none:
            yield None
        elif form is ProgressForm.json:
            with ProgressLines(write_json, json_every_s, all_stages=True) as lines:
                yield lines
        elif form is ProgressForm.lines or (form is ProgressForm.auto and not _is_terminal()):
            with ProgressLines(write_line, lines_every_s) as lines:
                yield lines
        else:
            with _bars() as bars:
                yield ProgressBars(bars)
    except KeyboardInterrupt:
        say("stopped; what was finished is in the store, and the same command continues from there")
        raise typer.Exit(130) from None


def _is_terminal() -> bool:
    console = make_console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal


def _bars() -> RichProgress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    console = make_console(stderr=True, force_terminal=True)
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        expand=True,
    )
