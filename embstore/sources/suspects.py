"""Suspects among the names of locations: spelled in two ways, several in one, or known to nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from embstore.sources.vocabulary import folded, vocabulary

BETWEEN_NAMES = re.compile(r"\s*(?:[,/|+&]|\band\b)\s*", re.IGNORECASE)
ALIKE = 0.85  # of difflib's ratio: one or two wrong letters
SHOWN_SUSPECTS = 10
CORRECT = "correct the table, or rename them with --location-map FILE (csv: from,to)"


def suspects(names: Mapping[str, int], *, unknown: bool = True) -> tuple[str, ...]:
    """Return a note on each kind of suspect among the locations of one label set, given with how often they occur.

    Kinds: names that differ in case, blanks or plural alone, or that published sources use for one location; names
    whose parts are known locations; question marks; names that are nearly a published one; and, where `unknown` ones
    are wanted, all others that no published source uses.
    """
    near, far = _unpublished(names)
    kinds = {
        "question marks among the locations": list(_questions(names)),
        "locations with more than one name": list(_variants(names)),
        "names that look like several locations, which `;` would separate": list(_joined(names)),
        "locations that are nearly a published name": near,
        "locations that no vocabulary knows (HPA, OpenCell, Kaggle, SubCell)": far if unknown else [],
    }
    return tuple(f"{kind}: {_listed(examples)}" for kind, examples in kinds.items() if examples)


def _questions(names: Mapping[str, int]) -> Iterator[str]:
    return (f"{name} ({n})" for name, n in names.items() if "?" in name)


def _variants(names: Mapping[str, int]) -> Iterator[str]:
    """Yield the names of each location that has several: the most frequent first, then what HPA calls it."""
    known = vocabulary().means
    together: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (-names[name], name)):
        together.setdefault(known.get(folded(name)) or folded(name), []).append(name)
    for location, spellings in together.items():
        if len(spellings) > 1:
            hpa = f", HPA's {location}" if location in known.values() and location not in spellings else ""
            yield " = ".join(f"{name} ({names[name]})" for name in spellings) + hpa


def _joined(names: Mapping[str, int]) -> Iterator[str]:
    known = vocabulary().means
    own = {folded(name) for name in names}
    for name, n in names.items():
        parts = [part for part in BETWEEN_NAMES.split(name) if part]
        if len(parts) > 1 and folded(name) not in known and all(folded(part) in own | known.keys() for part in parts):
            yield f"{name} ({n}): {'; '.join(parts)}"


def _unpublished(names: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return the names that no published source uses: those that are nearly one, with that one, and the others."""
    spelled = vocabulary().spelled
    joined = {text.rsplit(" (", 1)[0] for text in _joined(names)}
    near: list[str] = []
    far: list[str] = []
    for name, n in names.items():
        if folded(name) in spelled or "?" in name or name in joined:
            continue
        match = get_close_matches(folded(name), spelled, n=1, cutoff=ALIKE)
        (near if match else far).append(f"{name} ({n}, {spelled[match[0]]}?)" if match else f"{name} ({n})")
    return near, far


def _listed(examples: list[str]) -> str:
    more = f" and {len(examples) - SHOWN_SUSPECTS} more" if len(examples) > SHOWN_SUSPECTS else ""
    return ", ".join(examples[:SHOWN_SUSPECTS]) + more
