"""Numbers as people write them in a column of a table; the whole column determines the decimal mark."""

from __future__ import annotations

import re
from collections.abc import Sequence

from embstore.errors import EmbstoreError

_PLAIN = re.compile(r"[+-]?\d[\d.,\u00a0\u202f' ]*([eE][+-]?\d+)?|[+-]?[.,]\d+")
_GROUPED = r"[+-]?[1-9]\d{0,2}(%s\d{3})+"
_SPACES = re.compile(r"(?<=\d)[\u00a0\u202f' ](?=\d{3})")


def plain_numbers(texts: Sequence[str], column: str) -> list[str]:
    """Return a column's numbers with a decimal dot and no mark between thousands; other text is unchanged.

    A mark that occurs twice in a number, or before the other one, is between thousands. Raises EmbstoreError if the
    column is ambiguous (`1,234` alone) or contradicts itself.
    """
    numbers = [_SPACES.sub("", text) for text in texts if _PLAIN.fullmatch(text)]
    decimal = _decimal_mark(numbers, column)
    thousands = "." if decimal == "," else ","
    return [
        _SPACES.sub("", text).replace(thousands, "").replace(decimal, ".") if _PLAIN.fullmatch(text) else text
        for text in texts
    ]


def is_marked_number(text: str) -> bool:
    """True if a text is a number that is written with marks between thousands, or with a decimal comma."""
    return bool(_PLAIN.fullmatch(text.strip())) and not re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?", text.strip())


def _decimal_mark(numbers: Sequence[str], column: str) -> str:
    votes = {mark: number for number in numbers if (mark := _vote(number))}
    if len(votes) > 1:
        raise EmbstoreError(f"{column} has both {votes['.']} and {votes[',']}; write every number with a decimal dot")
    if votes:
        return next(iter(votes))
    unclear = next((number for number in numbers if "," in number), None)
    if unclear is not None:
        raise EmbstoreError(f"{column} has {unclear}, which can be read in two ways; write numbers with a decimal dot")
    return "."


def _vote(number: str) -> str | None:
    """Return the decimal mark that a number shows; None if it has no mark, or perhaps only one of thousands."""
    commas, dots = number.count(","), number.count(".")
    if commas and dots:
        return max(",.", key=number.rfind)
    if commas > 1 or dots > 1:
        return "." if commas else ","
    if dots:
        return "."  # 1.234 is as every program writes it
    return "," if commas and not re.fullmatch(_GROUPED % ",", number) else None
