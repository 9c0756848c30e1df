"""Every error a user can meet: one line that says what was found, what was wanted and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class EmbstoreError(Exception):
    """A mistake or a limit that the user can act on; the command line prints it as one line and exits 1."""


class ImageError(EmbstoreError):
    """A file that cannot be used as an image; ingest records it in `failures` and goes on.

    `found` is what is wrong and what was wanted, `todo` what to do: the last part of the message, unless it is given.
    """

    def __init__(self, message: str, *, todo: str = "") -> None:
        super().__init__(message)
        found, _, advice = message.rpartition("; ")
        advised = bool(found) and not todo and not advice.startswith("wanted")
        self.found = found if advised else message
        self.todo = advice if advised else todo or "replace the file and run the same command again"


class StoreError(EmbstoreError):
    """The store is missing, of another format, or was asked for something it does not hold."""


class MissingStoreError(StoreError):
    """There is no store at the path."""


class NotAStoreError(StoreError):
    """There is a folder or bucket at the path that contains something else."""


class UnfinishedStoreError(NotAStoreError):
    """There are tables at the path of which a store can be made."""


class WeightsError(EmbstoreError):
    """A backbone whose weights are not here, or are not the ones its record names.

    `todo` is what to do, the last part of the message; "" where only the caller knows (see `advised`).
    """

    def __init__(self, message: str, *, todo: str = "") -> None:
        super().__init__(f"{message}; {todo}" if todo else message)
        self.todo = todo


class QueryError(EmbstoreError):
    """SQL that was refused or that failed."""


@contextmanager
def advised(todo: str) -> Iterator[None]:
    """Add what to do to a WeightsError of the block that does not say it itself."""
    try:
        yield
    except WeightsError as error:
        if error.todo:
            raise
        raise WeightsError(str(error), todo=todo) from error


@contextmanager
def in_any_case(step: Callable[[], object]) -> Iterator[None]:
    """Take a step at the end of the block, however it ends. Where both raise, the error of the block is raised."""
    try:
        yield
    except BaseException as first:
        try:
            step()
        except BaseException as second:
            first.add_note(f"and then: {first_line(second)}")
            raise first from second
        raise
    step()


FEW = 24  # names that an error lists whole
NEAREST = 5  # names that it lists where there are more


def choices(wanted: str, kind: str, have: Iterable[str], place: str = "") -> str:
    """Return the one line for a name that does not exist: those that do, or the nearest spellings of many.

    `place` says where it was looked for: "in this space".
    """
    names = set(have)
    absent = " ".join(filter(None, (f"there is no {kind} {wanted!r}", place)))
    if len(names) > FEW:
        return f"{absent}; the nearest of {len(names)} are: {', '.join(nearest(wanted, names))}"
    return f"{absent}; choose from: {', '.join(sorted(names)) or 'none yet'}"


def nearest(wanted: str, have: Iterable[str]) -> list[str]:
    """Return the few names that are spelled most like the wanted one, in capitals or not, the nearest first."""
    by_lower = {name.lower(): name for name in sorted(have)}
    return [by_lower[name] for name in difflib.get_close_matches(wanted.lower(), by_lower, NEAREST, cutoff=0)]


DISK_FULL = "the disk is full; free some space, then run the same command again"


def first_line(error: BaseException) -> str:
    """Return the first line of an engine's error, without the place in its source that it names at the end.

    Where the disk is full, DISK_FULL: engines say it in many words.
    """
    if re.search(r"No space left on device|os error 28\b|Disk quota exceeded", str(error)):
        return DISK_FULL
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return re.sub(r", /\S+\.rs:\d+:\d+$", "", line)
