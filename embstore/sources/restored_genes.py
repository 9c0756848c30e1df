"""Which gene symbols a spreadsheet's dates probably were.

Spreadsheets read SEPT2, MARCH1 and DEC1 as dates (Ziemann et al. 2016, doi 10.1186/s13059-016-1044-7). The symbols
returned are those that HGNC replaced them with (Bruford et al. 2020, doi 10.1038/s41588-020-0669-3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

from embstore.ids import DAY_AND_MONTH, MONTH_AND_YEAR, NUMERIC_DATE, POWER_OF_TEN, SERIAL_DATE

FIRST_DAY = date(1899, 12, 30)  # 0 in a spreadsheet's count of days, for dates after February 1900
CLONE = "a RIKEN clone, such as 2310009E13Rik"
# the months that begin a symbol, as they are named in English, German, French, Spanish, Italian and Dutch
MONTH_OF = {"mar": 3, "mär": 3, "mrz": 3, "mrt": 3, "sep": 9, "set": 9, "oct": 10, "okt": 10, "ott": 10}
MONTH_OF |= {"dec": 12, "dez": 12, "déc": 12, "dic": 12}
OCTAMERS = {1: "POU2F1", 2: "POU2F2", 3: "POU5F1", 4: "POU5F1"}  # called OCT1 to OCT4


def probable_symbols(name: str) -> list[str]:
    """Return the symbols that a name such as `1-Mar`, `Mar-01`, `2020-03-01` or `43891` probably was; maybe none."""
    if POWER_OF_TEN.match(name):
        return [CLONE]
    return list(dict.fromkeys(symbol for month, number in _dates(name) for symbol in _symbols(month, number)))


def _dates(name: str) -> Iterator[tuple[int, int]]:
    """Yield the month and the number (the day, or the year's last digits) that a date may stand for."""
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    words = re.search(r"[^\W\d]{3}", name.lower())
    if DAY_AND_MONTH.match(name) or MONTH_AND_YEAR.match(name):
        yield MONTH_OF.get(words[0] if words else "", 0), numbers[0] % 100
    elif SERIAL_DATE.match(name):
        day = FIRST_DAY + timedelta(days=numbers[0])
        yield day.month, day.day
    elif NUMERIC_DATE.match(name):
        first, second = numbers[1:3] if numbers[0] > 31 else numbers[:2]
        yield first, second
        if numbers[0] <= 31:  # 3/1/2020 is the 1st of March or the 3rd of January
            yield second, first


def _symbols(month: int, number: int) -> list[str]:
    symbols = []
    if month == 3 and 1 <= number <= 11:
        symbols.append(f"MARCHF{number}")
    if month == 3 and number in (1, 2):
        symbols.append(f"MTARC{number}")
    if month == 9 and 1 <= number <= 15:
        symbols.append("SELENOF" if number == 15 else f"SEPTIN{number}")
    if month == 10 and number in OCTAMERS:
        symbols.append(OCTAMERS[number])
    if month == 12 and number == 1:
        symbols.append("DELEC1")
    return symbols
