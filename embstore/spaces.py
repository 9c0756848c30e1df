"""Which space is meant: from `NAME[:strategy]` or a digest to one row of `spaces`."""

from __future__ import annotations

from typing import Any

from embstore.backbones.record import split_spec
from embstore.errors import EmbstoreError, choices
from embstore.ids import short
from embstore.pixels.intensity import intensity_name
from embstore.query import rows
from embstore.store import Store

# what a bare NAME means, in this order
DEFAULT_STRATEGIES = ("mapping", "brought")


def list_spaces(store: Store) -> list[dict[str, Any]]:
    """Return every row of `spaces`, without canaries, ordered by backbone, strategy and digest."""
    return rows(store, "SELECT * EXCLUDE (canary) FROM spaces ORDER BY backbone, strategy, digest")


def find_space(store: Store, spec: str | None = None, *, digest: str | None = None, todo: str = "") -> dict[str, Any]:
    """Return the one space that `NAME[:strategy]` or the start of a digest names; with neither, the only one.

    None or several matches are an EmbstoreError that lists the choices; `todo` is appended when there is none.
    """
    spaces = list_spaces(store)
    found = [s for s in spaces if _matches(s, spec, digest)]
    if len(found) == 1:
        return found[0]
    if not found:
        wanted = digest or spec or "any"
        line = choices(wanted, "space", {label(s) for s in spaces})
        raise EmbstoreError(f"{line}; {todo}" if todo else line)
    scalings = [intensity_name(s["intensity"] or "no recorded scaling") for s in found]
    said = [f" on {name}" if len(set(scalings)) > 1 else "" for name in scalings]
    listed = ", ".join(f"{label(s)}{on} (--space {short(s['digest'])})" for s, on in zip(found, said, strict=True))
    raise EmbstoreError(f"{len(found)} spaces match {spec or 'no --backbone'}: {listed}; name one of them")


def label(space: dict[str, Any]) -> str:
    """Return `NAME:strategy`, or NAME alone where the vectors were brought."""
    return space["backbone"] if space["strategy"] == "brought" else f"{space['backbone']}:{space['strategy']}"


def _matches(space: dict[str, Any], spec: str | None, digest: str | None) -> bool:
    if digest is not None and not space["digest"].startswith(digest):
        return False
    if spec is None:
        return True
    name, strategy = split_spec(spec)
    return space["backbone"] == name and space["strategy"] in ((strategy,) if strategy else DEFAULT_STRATEGIES)
