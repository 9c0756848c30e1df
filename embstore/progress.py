"""Report the progress of a long job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

Progress = Callable[[str, int, int], None]  # stage, done, total

T = TypeVar("T")


@runtime_checkable
class DetailedProgress(Protocol):
    """A Progress that also accepts details of its stage, just before each call: failures, and the item in work."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Accept how many of a stage's items are done."""

    def detail(self, *, failures: int, item: str) -> None:
        """Accept how many items failed, and the name of the one in work ("" if it has none)."""


def tell(progress: Progress | None, stage: str, done: int, total: int, *, failures: int = 0, item: str = "") -> None:
    """Call `progress`, if given, with the state of a stage; if it accepts details, pass these first."""
    if isinstance(progress, DetailedProgress):
        progress.detail(failures=failures, item=item)
    if progress is not None:
        progress(stage, done, total)


def tracked(items: Sequence[T], stage: str, progress: Progress | None) -> Iterator[T]:
    """Yield the items in order; after the work on each, call `progress` with how many are done."""
    for done, item in enumerate(items, start=1):
        yield item
        tell(progress, stage, done, len(items))
