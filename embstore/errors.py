"""The errors that a user can correct: one line that states what was found, what was wanted and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


class EmbstoreError(Exception):
    """A mistake or a limit that the user can act on; the command line prints it as one line and exits with 1."""


class ImageError(EmbstoreError):
    """A file that cannot be used as an image; ingest records it in `failures` and continues.

    `found` states what is wrong and what was wanted; `todo` states what to do, and is the last part of the message
    unless it is given.
    """

    def __init__(self, message: str, *, todo: str = "") -> None:
        super().__init__(message)
        statement, _, advice = message.rpartition("; ")
        advised = bool(statement) and not todo and not advice.startswith("wanted")
        self.found = statement if advised else message
        self.todo = advice if advised else todo or "replace the file and run the same command again"


class StoreError(EmbstoreError):
    """The store is missing, has another format, or does not contain what was asked for."""


class MissingStoreError(StoreError):
    """The path contains no store."""


class NotAStoreError(StoreError):
    """The path is a folder or bucket that contains something else than a store."""


class UnfinishedStoreError(NotAStoreError):
    """The path contains tables, but no complete store; opening it with `create` completes it."""


class WeightsError(EmbstoreError):
    """The weights of a backbone are missing, or are not those that its record names.

    `todo` states what to do and is the last part of the message; "" if only the caller knows (see `advised`).
    """

    def __init__(self, message: str, *, todo: str = "") -> None:
        super().__init__(f"{message}; {todo}" if todo else message)
        self.todo = todo


class QueryError(EmbstoreError):
    """An SQL query that was refused or failed."""


class QueryLimitError(QueryError):
    """SQL that was stopped because it took too long or too much memory: another answer than that it is wrong."""


@contextmanager
def advised(todo: str) -> Iterator[None]:
    """Add what to do to a WeightsError of the block that does not state it."""
    try:
        yield
    except WeightsError as error:
        if error.todo:
            raise
        raise WeightsError(str(error), todo=todo) from error


@contextmanager
def in_any_case(step: Callable[[], object]) -> Iterator[None]:
    """Run a step at the end of the block, however it ends. If both raise, the error of the block is raised."""
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


FEW = 24  # up to this many names, an error lists all of them
NEAREST = 5  # otherwise this many


def choices(wanted: str, kind: str, have: Iterable[str], place: str = "") -> str:
    """Return the message for a name that does not exist: the names that do, or the nearest spellings of many.

    `place` states where it was looked for, such as "in this space".
    """
    names = set(have)
    absent = " ".join(filter(None, (f"there is no {kind} {wanted!r}", place)))
    if len(names) > FEW:
        return f"{absent}; the nearest of {len(names)} are: {', '.join(nearest(wanted, names))}"
    return f"{absent}; choose from: {', '.join(sorted(names)) or 'none yet'}"


def nearest(wanted: str, have: Iterable[str]) -> list[str]:
    """Return the few names whose spelling is nearest to the wanted one, ignoring case, the nearest first."""
    by_lower = {name.lower(): name for name in sorted(have)}
    return [by_lower[name] for name in difflib.get_close_matches(wanted.lower(), by_lower, NEAREST, cutoff=0)]


DISK_FULL = "the disk is full; free some space, then run the same command again"


def first_line(error: BaseException) -> str:
    """Return the first line of an engine's error, without the source file and line that it ends with.

    If the disk is full, returns DISK_FULL instead: engines report that in many ways.
    """
    if re.search(r"No space left on device|os error 28\b|Disk quota exceeded", str(error)):
        return DISK_FULL
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return re.sub(r", /\S+\.rs:\d+:\d+$", "", line)
