"""Other names for locations: from a table of the user's, or from the published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from embstore.errors import EmbstoreError, choices
from embstore.sources.record import Label
from embstore.sources.tables import abridged, text_table
from embstore.sources.values import names_in
from embstore.sources.vocabulary import HPA, folded, vocabulary
from embstore.sources.workbooks import file_and_sheet

FROM, TO = "from", "to"


@dataclass(frozen=True, repr=False)
class LocationMap:
    """What names of locations become: `name -> names`, looked up as `spelled`; a name that is no key stays.

    No name means that the location is left out. `path` is the table, or a published vocabulary, that says so.
    """

    path: str
    names: Mapping[str, tuple[str, ...]]
    spelled: Callable[[str], str] = str
    group: bool = False  # a name that is no key belongs to no group and is left out

    def __call__(self, name: str) -> tuple[str, ...]:
        """Return what a name becomes."""
        return self.names.get(self.spelled(name), () if self.group else (name,))


@dataclass(frozen=True)
class Mapped:
    """Labels under other names; `renamed` is (scheme, name) -> what it became and how many labels it was.

    `map` is the table, or published vocabulary, that says so, and `source` the table of the labels.
    """

    labels: tuple[Label, ...]
    renamed: Mapping[tuple[str, str], tuple[tuple[str, ...], int]]
    map: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()


def read_location_map(path: str | Path | None) -> LocationMap | None:
    """Return the map in a table with the columns `from` and `to`, or the published one of that name, or none.

    `to` may join several names by `;`, or be empty. `hpa` gives published names HPA's spelling; `subcell-1` and so on
    give HPA's locations the names of SubCell's groups. EmbstoreError for other columns, or a name with two meanings.
    """
    if path is None:
        return None
    published = [HPA, *vocabulary().groups]
    file, _ = file_and_sheet(Path(path))
    if not file.exists() or file.is_dir():  # a pipe is a table too
        if str(path) in published:
            return _published(str(path))
        raise EmbstoreError(choices(str(path), "file or published map of locations", published))
    table = text_table(Path(path))
    if set(table.columns) != {FROM, TO}:
        raise EmbstoreError(f"{path} has the columns {', '.join(table.columns)}; wanted {FROM} and {TO}")
    names: dict[str, tuple[str, ...]] = {}
    for line, row in table.numbered:
        becomes = tuple(dict.fromkeys(names_in(row[TO])))
        if row[FROM] and names.setdefault(row[FROM], becomes) != becomes:
            raise EmbstoreError(
                f"{path}, line {line}: {row[FROM]!r} becomes {row[TO]!r}, and {'; '.join(names[row[FROM]])!r} above; "
                "keep one of the two rows"
            )
    return LocationMap(str(path), names)


def _published(name: str) -> LocationMap:
    means = vocabulary().means
    if name == HPA:
        return LocationMap(name, {key: (location,) for key, location in means.items() if location}, folded)
    groups = vocabulary().groups[name]
    names = {key: (groups[location],) for key, location in means.items() if location in groups}
    return LocationMap(name, names, folded, group=True)


def map_locations(labels: Iterable[Label], location_map: LocationMap | None) -> Mapped:
    """Return labels under the names that a map gives them (unchanged without one), and what was renamed.

    Of two names of one subject that become one, the higher grade stays.
    """
    if location_map is None:
        return Mapped(tuple(labels), {})
    mapped: dict[tuple[str, str, str, str], Label] = {}
    becomes: dict[tuple[str, str], tuple[str, ...]] = {}
    counts = Counter[tuple[str, str]]()
    met: set[str] = set()
    source = ""
    for label in labels:
        names, source = location_map(label.location), label.source
        met.add(location_map.spelled(label.location))
        if names != (label.location,):
            becomes[label.scheme, label.location] = names
            counts[label.scheme, label.location] += 1
        for name in names:
            key = (label.scheme, label.level, label.subject, name)
            grades = [each.grade for each in (label, mapped.get(key)) if each and each.grade is not None]
            mapped[key] = replace(label, location=name, grade=max(grades, default=None))
    renamed = {key: (names, counts[key]) for key, names in becomes.items()}
    notes = _notes(location_map, renamed, met)
    return Mapped(tuple(mapped.values()), renamed, location_map.path, source, notes)


def _notes(
    location_map: LocationMap, renamed: Mapping[tuple[str, str], tuple[tuple[str, ...], int]], met: set[str]
) -> tuple[str, ...]:
    changes = dict.fromkeys(f"'{name}' -> {'; '.join(to) or 'left out'}" for (_, name), (to, _) in renamed.items())
    notes = [f"locations renamed by {location_map.path}: {', '.join(changes) or 'none'}"]
    absent = [name for name in location_map.names if name not in met]
    if absent and location_map.spelled is str:
        notes.append(f"names of {location_map.path} that no label has: {abridged(absent)}")
    return tuple(notes)
