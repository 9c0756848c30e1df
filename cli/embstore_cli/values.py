"""Format values: for people in a table, and as JSON and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

SHOWN_VALUES, FIRST_VALUES = 8, 3  # a longer list is shown by its first values and its length
DECIMALS = 3
FIXED_BELOW = 1e15  # larger numbers are shown with an exponent


def column_texts(values: Sequence[Any]) -> list[str]:
    """Return the values of one column for people; its numbers have the same decimals, at most three."""
    numbers = [v for v in values if isinstance(v, float) and math.isfinite(v) and abs(v) < FIXED_BELOW]
    decimals = max((len(f"{v:.{DECIMALS}f}".rstrip("0").partition(".")[2]) for v in numbers), default=0)
    return [number(v, decimals) if isinstance(v, float) else in_words(v) for v in values]


def number(value: float, decimals: int = DECIMALS) -> str:
    """Return a number with so many decimals; a smaller one, which would show as 0.000, keeps two digits; zero is 0.

    >>> number(0.12345), number(0.0004), number(-0.0), number(2.8e-17)
    ('0.123', '0.0004', '0', '2.8e-17')
    """
    if value == 0:
        return "0"
    if not math.isfinite(value) or abs(value) >= FIXED_BELOW:
        return f"{value:.4g}"
    return f"{value:.2g}" if abs(value) < 0.5 * 10**-DECIMALS else f"{value:.{decimals}f}"


def spread(mean: float, sd: float | None) -> str:
    """Return a mean ± its standard deviation over seeds; with one seed, there is no deviation."""
    if sd is None:
        return f"{number(mean)} one seed"
    return f"{number(mean)} ± {number(0.0 if sd < 1e-12 else sd)}"  # equal scores differ only by rounding


def in_words(value: Any) -> str:
    """Return a value without the brackets, quotes or capitals of a programming language; None is an empty text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return _listed(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:g}" if isinstance(value, float) else _word(value)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _listed(values: Sequence[Any]) -> str:
    between = "; " if any(isinstance(v, (Mapping, list, tuple)) for v in values) else ", "
    if len(values) <= SHOWN_VALUES:
        return between.join(map(in_words, values))
    return between.join([*map(in_words, values[:FIRST_VALUES]), f"... {len(values)} in all"])


def plain(value: Any) -> Any:
    """Return a value that JSON can represent; bytes become hexadecimal digits, NaN becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value)


def csv_text(value: Any) -> str:
    """Return a plain value as a CSV field: lists and mappings as JSON, None as an empty field."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
