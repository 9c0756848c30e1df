"""What a check of the store found."""

from __future__ import annotations

from dataclasses import dataclass

REINGEST = "run the command again that was stopped: the ingest that made them, or `embstore remove`"
FROM_COPY = (
    "bring the files back from a copy of the store, or take the images out with `embstore remove` and ingest again"
)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; a `note` is worth knowing, all else is wrong."""

    check: str
    table: str
    found: str
    todo: str
    note: bool = False


def counted(n: int, what: str, example: object) -> str:
    """Return `n what, such as example`."""
    return f"{n} {what}, such as {example}"
