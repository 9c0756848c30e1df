"""What published sources call subcellular locations, and which of their names mean the same location."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NAMES_FILE = "location_names.toml"
HPA = "hpa"


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The published names: `means` is folded name -> HPA's name of that location ("" where it stands for none alone).

    `spelled` is folded name -> a published spelling, and `groups` name of a grouping -> HPA's name -> its group.
    """

    means: Mapping[str, str]
    spelled: Mapping[str, str]
    groups: Mapping[str, Mapping[str, str]]


def folded(name: str) -> str:
    """Return a name without what people vary: case, Unicode form, blanks and hyphens, and the plural of its words."""
    text = unicodedata.normalize("NFKC", name).casefold().replace("&", " and ")
    words = re.sub(r"[\W_]+", " ", text).split()
    return " ".join(word.removesuffix("s") if len(word) > 3 else word for word in words)


@cache
def vocabulary() -> Vocabulary:
    """Return the names of HPA, OpenCell, the Kaggle competitions and SubCell's groups, from location_names.toml."""
    tables = tomllib.loads(files("embstore.sources").joinpath(NAMES_FILE).read_text("utf-8"))
    names = {name: "" for listed in tables["further"].values() for name in listed}
    for location, record in tables[HPA].items():
        opencell = [record["opencell"]] if "opencell" in record else []
        names |= dict.fromkeys([*record.get("also", ()), *opencell, location], location)
    groups = {
        grouping: {location: group for group, locations in table.items() for location in locations}
        for grouping, table in tables["groups"].items()
    }
    return Vocabulary(
        means={folded(name): location for name, location in names.items()},
        spelled={folded(name): name for name in names},
        groups=groups,
    )
