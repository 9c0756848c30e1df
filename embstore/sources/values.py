"""Read one cell of any table: text, a list as text separated by `;`, or nothing. Every reader uses this module."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import singledispatch

import numpy as np

# spellings of a missing value, in lower case: pandas' `na_values` (pandas.pydata.org, read_csv), SQL's null, NCBI's
# "-", and the errors of a spreadsheet's formulas. No gene symbol of HGNC is among them.
MISSING = frozenset(
    {"", "-", "nan", "-nan", "na", "<na>", "n/a", "none", "null", "nat", "nil", "#n/a", "#n/a n/a", "#na"}
    | {"#null!", "#value!", "#ref!", "#name?", "#div/0!", "#num!", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
EXACT_BELOW = 1e15  # beyond, a float cannot represent every whole number
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\x00"))
_QUOTED = r"""'[^']*'|"[^"]*\""""
_QUOTED_LIST = re.compile(rf"[\[({{]\s*(?:(?:{_QUOTED})(?:\s*,\s*(?:{_QUOTED}))*\s*,?)?\s*[\])}}]")


@singledispatch
def as_text(value: object) -> str:
    """Return a cell as text: stripped, "" if it is missing in any spelling, items of a list separated by `;`.

    A whole float is a whole number (12.0 is `12`), bytes are UTF-8 text, dates are ISO 8601. Text that prints a list of
    strings, like Python and JSON (`['Cytosol', 'ER']`), is that list. Raises UnicodeDecodeError for invalid UTF-8.
    """
    return "" if value is None else _of_text(str(value))


@as_text.register(bytes)
def _(value: bytes) -> str:
    return _of_text(value.decode("utf-8"))


@as_text.register(np.generic)
def _(value: np.generic) -> str:
    return as_text(str(value) if isinstance(value, np.datetime64) else value.item())


@as_text.register(float)
@as_text.register(Decimal)
def _(value: float | Decimal) -> str:
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    return str(int(value)) if value == int(value) and abs(float(value)) < EXACT_BELOW else str(value)


@as_text.register(date)  # a datetime is a date
def _(value: date) -> str:
    return _of_text(value.isoformat().removesuffix("T00:00:00"))


@as_text.register(Iterable)
def _(value: Iterable[object]) -> str:
    return ";".join(item for item in map(as_text, value) if item)


@as_text.register(str)
def _of_text(text: str) -> str:
    text = text.strip("\ufeff\u200b\u00a0 \t\r\n\f\v")
    if text.lower() in MISSING:
        return ""
    if _QUOTED_LIST.fullmatch(text):
        return as_text([item[1:-1] for item in re.findall(_QUOTED, text)])
    return text


@as_text.register(dict)
def _(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def names_in(text: str) -> list[str]:
    """Return the names in a cell, separated by `;`, without those that mean a missing value."""
    return [name for item in text.split(";") if (name := as_text(item))]


def is_missing(text: str) -> bool:
    """True if a text means a missing value, in any of the spellings of `MISSING`."""
    return text.strip().lower() in MISSING


def spelled_missing(texts: Iterable[str]) -> dict[str, int]:
    """Return the spellings of missing values among texts, other than the empty text, with how often each occurs."""
    counts: dict[str, int] = {}
    for text in map(str.strip, texts):
        if text and text.lower() in MISSING:
            counts[text] = counts.get(text, 0) + 1
    return counts


def looks_like_list(text: str) -> bool:
    """True if a text is in brackets, as a program prints a list: no name of a location or protein is."""
    return bool(re.fullmatch(r"\[.*\]", text.strip(), re.DOTALL))


def clean_name(name: str) -> str:
    """Return the name of a column without invisible characters, blanks around it, and unusual blanks within."""
    return " ".join(name.translate(_INVISIBLE).split())
