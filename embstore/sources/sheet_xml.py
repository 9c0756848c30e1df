"""Properties of a sheet's cells in its XML that openpyxl does not report in its read-only mode.

These are merged cells, hidden rows, and formulas without a value (ECMA-376, part 1, 18.3).
"""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder

XML_BYTES = 1 << 20
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<")
_TAG = rb"<(?:\w+:)?"
_END = rb"</(?:\w+:)?"
_ROW = re.compile(_TAG + rb"row\b([^>]*)>")
_HIDDEN = re.compile(rb"""\shidden=["'](?:1|true)["']""")
_NUMBER = re.compile(rb"""\sr=["'](\d+)["']""")
_MERGED = re.compile(_TAG + rb"""mergeCell\b[^>]*?\sref=["']([A-Z]+)(\d+):([A-Z]+)(\d+)["']""")
_VALUELESS = re.compile(
    _TAG + rb"c\b([^>]*)>\s*" + _TAG + rb"f\b(?:[^>]*/>|[^>]*>[^<]*" + _END + rb"f>)\s*"
    rb"(?:" + _TAG + rb"v\s*/>|" + _TAG + rb"v>\s*" + _END + rb"v>)?\s*" + _END + rb"c>"
)
_TEXT_RESULT = re.compile(rb"""\st=["']str["']""")  # whose value may be the empty text
_CELL = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")


@dataclass(frozen=True)
class Merged:
    """A range of merged cells; rows and columns count from 1."""

    name: str  # as in A2:A4
    column: int
    row: int
    last_column: int
    last_row: int


@dataclass(frozen=True)
class SheetFacts:
    """Merged cells, hidden rows, and the rows and names of cells that are formulas without a value."""

    merged: Sequence[Merged]
    hidden_rows: Sequence[int]
    valueless: Sequence[tuple[int, str]]


def sheet_facts(decode: Decoder, archive: zipfile.ZipFile, part: str, name: str) -> SheetFacts:
    """Return these properties of a sheet; EmbstoreError if rows are out of order, since readers would drop some."""
    merged: list[Merged] = []
    hidden: list[int] = []
    valueless: list[tuple[int, str]] = []
    last = 0
    for text in _pieces(decode, archive, part):
        if text.startswith(_WIDE):
            raise EmbstoreError(f"{decode.path}: the XML of sheet {name} is UTF-16; {decode.todo}")
        for number, is_hidden in _row_numbers(text, last):
            if number <= last:
                raise EmbstoreError(f"{decode.path}: row {number} follows row {last} in {name}; {decode.todo}")
            last = number
            hidden += [number] if is_hidden else []
        valueless += _valueless(text)
        merged += map(_merged, _MERGED.finditer(text))
    return SheetFacts(merged, hidden, valueless)


def _pieces(decode: Decoder, archive: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """Yield the XML of a sheet in pieces that end after a row, so that no cell is divided."""
    rest = b""
    with decode(archive.open, part) as file:
        while more := decode(file.read, XML_BYTES):
            text = rest + more
            cut = text.rfind(b"row>") + len(b"row>") if b"row>" in text else 0
            yield text[:cut]
            rest = text[cut:]
    yield rest


def _row_numbers(text: bytes, last: int) -> Iterator[tuple[int, bool]]:
    """Yield the number of each row, one more than the last if none is given, and whether it is hidden."""
    for row in _ROW.finditer(text):
        number = _NUMBER.search(row[1])
        last = int(number[1]) if number else last + 1
        yield last, bool(_HIDDEN.search(row[1]))


def _valueless(text: bytes) -> Iterator[tuple[int, str]]:
    for formula in _VALUELESS.finditer(text):
        cell = _CELL.search(formula[1])
        if cell and not _TEXT_RESULT.search(formula[1]):
            yield int(cell[2]), (cell[1] + cell[2]).decode()


def _merged(match: re.Match[bytes]) -> Merged:
    column, row, last_column, last_row = (part.decode() for part in match.groups())
    name = f"{column}{row}:{last_column}{last_row}"
    return Merged(name, _column(column), int(row), _column(last_column), int(last_row))


def _column(letters: str) -> int:
    """Return the number of a column: 1 of A, 27 of AA."""
    return reduce(lambda number, letter: 26 * number + ord(letter) - ord("A") + 1, letters, 0)
