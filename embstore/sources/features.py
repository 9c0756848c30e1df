"""Which columns of a table are the numbers of a vector, and which only number or locate its rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.ids import split_list

AN_INDEX, BOOKKEEPING, A_POSITION, COUNTER = "an index", "bookkeeping", "a position", "counts the rows"
# the names of row numbers in pandas, polars, R and spreadsheets
INDICES = re.compile(
    r"|unnamed: ?\d+(_level_\d+)?|__index_level_\d+__|index|level_\d+|\.\.\.\d+|row_?(nr|names?|number|id|index)"
)
# what CellProfiler, pycytominer, scikit-image, scPortrait and SubCell write next to measurements
THINGS = "image|object|cell|nucleus|nuclei|plate|well|site|field|fov|row|col|column|batch|slide|tile|track|frame|crop"
BOOKKEEPING_NAMES = re.compile(
    r"(.*_)?metadata_.*"
    r"|((image|cells?|nuclei|nucleus|cytoplasm|objects?)_)?"
    r"(parent_.*|object_?number|number_object_number|location_(center|max).*)"
    rf"|({THINGS})[ _-]?(number|num|no|nr|ids?|index|idx|label|name|barcode|position)"
    rf"|(number|ids?|index)_(of_)?({THINGS})"
    r"|plate|well|site|field|fov|row|col|column|batch|slide|tile|track|frame|time_?(point)?|barcode|z_?(index|slice)"
    r"|ids?|labels?|split|fold|cluster|leiden|louvain"
)
POSITIONS = re.compile(
    r"[xyz]|[xyz][ _-](pos|position|centroid|cent(er|re)|coord(inate)?|location|um|px|min|max|start|end)"
    r"|(pos|position|loc|location|coord(inate)?|centroid(_weighted)?|cent(er|re)|bbox|bounding_box)"
    r"[ _-]?([xyz]|row|col|\d)"
    r"|(min|max|bbox|bounding_box)[ _-]?(min|max)?[ _-]?([xyz]|row|col)"
)
AT_LEAST = 5  # so many rows that count up are no accident
_SHOWN = 6


@dataclass(frozen=True)
class FeatureChoice:
    """The columns that are the vector, in order, and those that are not, each with the reason."""

    columns: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return how many columns became the vector, the first and the last of them, and what was left out."""
        first, last = self.columns[0], self.columns[-1]
        named = f"{first!r}" if len(self.columns) == 1 else f"{first!r} to {last!r}"
        notes = [f"features: {len(self.columns)} columns, {named}"]
        for reason in dict.fromkeys(self.left_out.values()):
            names = [column for column, why in self.left_out.items() if why == reason]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            notes.append(f"no features: {', '.join(map(repr, names[:_SHOWN]))}{more} ({reason})")
        return tuple(notes)


def choose_features(
    columns: Sequence[str], *, patterns: str | None, named: Collection[str], indices: Iterable[str] = ()
) -> FeatureChoice:
    """Return which columns are the vector: those that match `patterns`, else every one without another meaning.

    `named` are columns with another meaning, `indices` those that the file itself declares as index. Row numbers, and
    bookkeeping such as Metadata_Plate or ObjectNumber, are features only if a pattern names them; a position is one
    only if there is nothing else.
    """
    free = [column for column in columns if column not in named]
    reasons = {
        column: AN_INDEX for column in free if column in set(indices) or INDICES.fullmatch(column.strip().lower())
    }
    if patterns is not None:
        wanted = split_list(patterns, ",")
        exact = [column for column in free if column in wanted]
        matching = [c for c in free if any(fnmatchcase(c, p) for p in wanted)]
        chosen = [c for c in matching if c in exact or c not in reasons]
        return FeatureChoice(tuple(chosen), {c: reasons[c] for c in matching if c not in chosen})
    reasons |= {c: BOOKKEEPING for c in free if c not in reasons and BOOKKEEPING_NAMES.fullmatch(c.strip().lower())}
    positions = [c for c in free if c not in reasons and POSITIONS.fullmatch(c.strip().lower())]
    if len(free) > len(reasons) + len(positions):
        reasons |= dict.fromkeys(positions, A_POSITION)
    left_out = {column: reasons[column] for column in free if column in reasons}
    return FeatureChoice(tuple(column for column in free if column not in left_out), left_out)


def counts_rows(values: npt.NDArray[Any]) -> bool:
    """True if whole numbers (n,) count up by one from 0 or 1: row numbers, whatever the name of their column."""
    if len(values) < AT_LEAST or values.dtype.kind not in "iu" or values[0] not in (0, 1):
        return False
    return bool(np.array_equal(values, np.arange(values[0], values[0] + len(values))))
