"""What a check of the store found, and what to do about it: each of these ends in a store that is whole."""

from __future__ import annotations

from dataclasses import dataclass

REPAIR = "`embstore verify --repair` takes them out, and the same ingest, embed or bench brings them again"
RERUN = f"run the command again that was stopped, or {REPAIR}"
FROM_COPY = f"bring the files back from a copy of the store, or {REPAIR}"
ANEW = (
    "bring it back from a copy of the store, or `embstore verify --repair` makes it anew, "
    "and the same ingest, embed or bench fills it again"
)
UNTAG = "bring the files back from a copy of the store, or `embstore verify --repair` takes the tag off this table"
RECORD = "ingest or embed with its backbone again records it, or `embstore verify --repair` takes its vectors out"
IMPORT = (
    "the same import again completes what was cut off; rows that are gone from their file stay without a vector, and "
    "`embstore remove` takes them out"
)
JOIN = "`embstore verify --repair` joins the groups; bench again, since older scores may rest on a divided group"
WAIT = "wait for its end, and run `embstore verify` again: until then, tables may not agree with each other"
REMOVE = "`embstore remove --where false` finishes it"


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
