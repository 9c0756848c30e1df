"""How far a long job is: what functions tell whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

Progress = Callable[[str, int, int], None]  # stage, done, total

T = TypeVar("T")


@runtime_checkable
class DetailedProgress(Protocol):
    """A Progress that also takes details of its stage, just before it is called: failures, and the item in work."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take how many of a stage's items are done."""

    def detail(self, *, failures: int, item: str) -> None:
        """Take how many items failed, and the name of the one in work ("" where it has none)."""


def tell(progress: Progress | None, stage: str, done: int, total: int, *, failures: int = 0, item: str = "") -> None:
    """Call `progress`, if there is one, with how far a stage is; one that takes details gets these first."""
    if isinstance(progress, DetailedProgress):
        progress.detail(failures=failures, item=item)
    if progress is not None:
        progress(stage, done, total)


def told(items: Sequence[T], stage: str, progress: Progress | None) -> Iterator[T]:
    """Yield the items in order; after the work on each, call `progress` with how many are done."""
    for done, item in enumerate(items, start=1):
        yield item
        tell(progress, stage, done, len(items))
