"""How far a long work is: what functions tell whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Progress = Callable[[str, int, int], None]  # stage, done, total

T = TypeVar("T")


def told(items: Sequence[T], stage: str, progress: Progress | None) -> Iterator[T]:
    """Yield the items in order; after the work on each, say how many are done."""
    for done, item in enumerate(items, start=1):
        yield item
        if progress:
            progress(stage, done, len(items))
