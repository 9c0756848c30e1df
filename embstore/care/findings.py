"""What `verify` reports, and what to do about it: each of these remedies makes the store whole again."""

from __future__ import annotations

from dataclasses import dataclass

REPAIR = "`embstore verify --repair` removes them, and the same ingest, embed or bench writes them again"
RERUN = f"run the interrupted command again, or {REPAIR}"
FROM_COPY = f"restore the files from a copy of the store, or {REPAIR}"
ANEW = (
    "restore it from a copy of the store, or `embstore verify --repair` makes it again, empty, "
    "and the same ingest, embed or bench fills it again"
)
UNTAG = "restore the files from a copy of the store, or `embstore verify --repair` removes the tag from this table"
RECORD = "ingest or embed with its backbone again to record it, or `embstore verify --repair` removes its vectors"
IMPORT = (
    "run the same import again to complete what was interrupted; rows that are gone from their file stay without a "
    "vector, and `embstore remove` removes them"
)
JOIN = "`embstore verify --repair` joins the groups; then bench again, since earlier splits may have divided a group"
WAIT = "wait until it has ended, and run `embstore verify` again: until then, tables need not agree with each other"
REMOVE = "`embstore remove --where false` finishes it"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or (a `note`) worth knowing."""

    check: str
    table: str
    found: str
    todo: str
    note: bool = False


def counted(n: int, what: str, example: object) -> str:
    """Return `n what, such as example`."""
    return f"{n} {what}, such as {example}"
