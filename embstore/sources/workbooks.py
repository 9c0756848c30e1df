"""Sheets of Excel workbooks as records of typed cells: which sheet, where its header is, what its cells hide.

openpyxl reads the cells. It does not tell in its read-only mode which cells are merged, which rows are hidden and
which formulas have no value, so that those are looked for in the sheet's XML (ECMA-376, part 1, 18.3).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder

WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")
ZIP_SIGNATURE, OLE_SIGNATURE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
MAX_ROWS = 1 << 20  # of a sheet, as Excel has them
XML_BYTES = 1 << 20
_NAME = re.compile(r"(?P<file>.+\.xls[xm])::(?P<sheet>.+)", re.IGNORECASE | re.DOTALL)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # a stream of the container of an encrypted workbook
_SHOWN = 3

_TAG = rb"<(?:\w+:)?"
_END = rb"</(?:\w+:)?"
_ROW = re.compile(_TAG + rb"row\b([^>]*)>")
_HIDDEN = re.compile(rb"""\shidden=["'](?:1|true)["']""")
_NUMBER = re.compile(rb"""\sr=["'](\d+)["']""")
_MERGED = re.compile(_TAG + rb"""mergeCell\b[^>]*?\sref=["']([A-Z]+\d+:[A-Z]+\d+)["']""")
_VALUELESS = re.compile(
    _TAG + rb"c\b([^>]*)>\s*" + _TAG + rb"f\b(?:[^>]*/>|[^>]*>[^<]*" + _END + rb"f>)\s*"
    rb"(?:" + _TAG + rb"v\s*/>|" + _TAG + rb"v>\s*" + _END + rb"v>)?\s*" + _END + rb"c>"
)
_TEXT_RESULT = re.compile(rb"""\st=["']str["']""")  # whose value may be the empty text
_CELL = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")

Record = tuple[int, Sequence[object]]  # the number of a row, as Excel counts, and its cells


@dataclass(frozen=True)
class Merged:
    """A range of merged cells; rows and columns count from 1."""

    name: str  # as in A2:A4
    column: int
    row: int
    last_column: int
    last_row: int


@dataclass(frozen=True)
class Sheet:
    """One sheet of a workbook, whose table begins with the header in row `header`."""

    path: Path  # of the workbook
    name: str
    header: int
    titles: Sequence[str] = ()  # what stands above the header
    merged: Sequence[Merged] = ()
    hidden_rows: Sequence[int] = ()
    valueless: Sequence[tuple[int, str]] = ()  # rows and cells of formulas without a value
    hidden_sheets: Sequence[str] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return how the sheet was read, where it may surprise."""
        return tuple(filter(None, (*self._beside(), *self._within())))

    def _beside(self) -> Iterator[str]:
        if self.hidden_sheets:
            yield f"{self.path.name}: sheet {self.name} is read, hidden sheets are not ({_some(self.hidden_sheets)})"
        if self.titles:
            yield f"{self.path.name}: the text above the header in row {self.header} is left out ({_some(self.titles)})"

    def _within(self) -> Iterator[str]:
        hidden = [str(row) for row in self.hidden_rows if row > self.header]
        if hidden:
            yield f"{self.path.name}: {len(hidden)} hidden rows are read like the others ({_some(hidden)})"
        if filled := [merged.name for merged in self.merged if merged.row > self.header]:
            yield f"{self.path.name}: each cell of a merged range has the value of the range ({_some(filled)})"


def file_and_sheet(path: Path) -> tuple[Path, str | None]:
    """Return the file of a path, and the sheet that it names behind it (`labels.xlsx::Sheet 1`), if any."""
    named = _NAME.fullmatch(str(path))
    return (Path(named["file"]), named["sheet"].strip()) if named else (path, None)


def is_workbook(path: Path) -> bool:
    """True if a file, or what a path names as its sheet, is an Excel workbook by its suffix."""
    return file_and_sheet(path)[0].suffix.lower() in WORKBOOK_SUFFIXES


def open_sheet(path: Path) -> Sheet:
    """Return the sheet that a path names, else the only one that contains anything.

    EmbstoreError for a workbook that cannot be read, for several sheets with data, and for formulas and merged cells
    that leave open what the table contains.
    """
    file, name = file_and_sheet(path)
    with _opened(file) as book:
        name = _chosen(book, name)
        header, titles = _header(book, name)
        hidden = [title for title, sheet in book.sheets.items() if sheet.sheet_state != "visible"]
        sheet = _with_facts(Sheet(file, name, header, titles, hidden_sheets=hidden), book)
    _check(sheet)
    return sheet


def sheet_records(sheet: Sheet) -> Iterator[Record]:
    """Yield the header and every row below it that is not blank; a range of merged cells has its value in each row."""
    fills: dict[int, tuple[int, object]] = {}  # column -> the last row of a range, and its value
    with _opened(sheet.path) as book:
        for number, cells in _rows(book, sheet.name):
            row = list(cells)
            for column, (last, value) in fills.items():
                if number <= last:
                    row += [None] * (column - len(row))
                    row[column - 1] = value
            starts = (m for m in sheet.merged if m.row == number and m.last_row > number and m.column <= len(row))
            fills.update((m.column, (m.last_row, row[m.column - 1])) for m in starts)
            if number >= sheet.header and not _blank(row):
                yield number, row


@dataclass(frozen=True)
class _Book:
    """An open workbook: its sheets by name, and where in the archive the XML of each is."""

    decode: Decoder
    archive: zipfile.ZipFile
    sheets: Mapping[str, Any]
    parts: Mapping[str, str]


@contextmanager
def _opened(path: Path) -> Iterator[_Book]:
    try:
        from openpyxl.reader.excel import ExcelReader
        from openpyxl.utils import exceptions
    except ImportError as error:
        raise EmbstoreError(
            f"reading {path.name} needs openpyxl, which is not installed; run pip install 'embstore[xlsx]', or save "
            "its sheet as CSV"
        ) from error
    own_errors = (exceptions.CellCoordinatesException, exceptions.InvalidFileException)
    todo = "open it in a spreadsheet program and save it again as .xlsx"
    decode = Decoder(path, "an Excel workbook", todo, own_errors)
    with _content(path) as file:
        reader = decode(ExcelReader, file, read_only=True, data_only=True, keep_links=False)
        decode(reader.read)
        found: list[tuple[Any, Any]] = decode(list, reader.parser.find_sheets())
        parts = {str(sheet.name): rel.target for sheet, rel in found}
        sheets = {str(sheet.title): sheet for sheet in reader.wb.worksheets}
        yield _Book(decode, reader.archive, sheets, parts)


@contextmanager
def _content(path: Path) -> Iterator[BinaryIO]:
    if not path.is_file():
        raise EmbstoreError(f"there is no file {path}; give the path of a table with a header line")
    with path.open("rb") as file:
        head = file.read(4)
        if head == OLE_SIGNATURE:
            encrypted = _ENCRYPTED in head + file.read()
            what = "is encrypted" if encrypted else "is an old .xls workbook"
            todo = "save it without a password" if encrypted else "save it as .xlsx"
            raise EmbstoreError(f"{path} {what}; {todo}")
        if head != ZIP_SIGNATURE:
            raise EmbstoreError(f"{path} is no Excel workbook, whatever it is called; save it as .xlsx or as CSV UTF-8")
        file.seek(0)
        yield file


def _rows(book: _Book, name: str) -> Iterator[Record]:
    """Yield every row of a sheet, from 1; the size that a sheet claims is not believed."""
    sheet, decode = book.sheets[name], book.decode
    sheet.reset_dimensions()
    for number, cells in enumerate(decode.each(sheet.iter_rows(values_only=True)), start=1):
        if number > MAX_ROWS:
            raise EmbstoreError(f"{decode.path} has more than {MAX_ROWS} rows in sheet {name}; {decode.todo}")
        yield number, cells


def _blank(cells: Sequence[object]) -> bool:
    return not any(_written(cell) for cell in cells)


def _written(cell: object) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else cell is not None


def _chosen(book: _Book, name: str | None) -> str:
    """Return the sheet of that name, else the only visible one that is not empty."""
    path = book.decode.path
    if name is not None:
        if name not in book.sheets:
            raise EmbstoreError(f"{path} has no sheet {name!r}; it has: {', '.join(book.sheets) or 'none'}")
        return name
    visible = [title for title, sheet in book.sheets.items() if sheet.sheet_state == "visible"]
    full = [title for title in visible if not all(_blank(cells) for _, cells in _rows(book, title))]
    if len(full) != 1:
        found = f"the sheets {', '.join(full)} with data" if full else "no sheet with data"
        wanted = f"name one of them: {path.name}::{full[0]}" if full else "wanted a table with a header row"
        raise EmbstoreError(f"{path} has {found}; {wanted}")
    return full[0]


def _header(book: _Book, name: str) -> tuple[int, list[str]]:
    """Return the row of the header and the titles above it: rows of one cell, where some row below has more."""
    above: list[tuple[int, str]] = []
    for number, cells in _rows(book, name):
        written = [cell for cell in cells if _written(cell)]
        if len(written) > 1:
            return number, [text for _, text in above]
        above += [(number, str(cell)) for cell in written]
    return (above[0][0] if above else 1), []


def _with_facts(sheet: Sheet, book: _Book) -> Sheet:
    """Return a sheet with what its XML says of merged cells, hidden rows and formulas without a value."""
    merged: list[Merged] = []
    hidden: list[int] = []
    valueless: list[tuple[int, str]] = []
    last = 0
    for text in _pieces(book, sheet.name):
        for number, is_hidden in _row_numbers(text, last):
            if number <= last:
                raise EmbstoreError(
                    f"{sheet.path}: row {number} follows row {last} in {sheet.name}; {book.decode.todo}"
                )
            last = number
            hidden += [number] if is_hidden else []
        valueless += _valueless(text)
        merged += _merged(text, book.decode)
    return replace(sheet, merged=merged, hidden_rows=hidden, valueless=valueless)


def _row_numbers(text: bytes, last: int) -> Iterator[tuple[int, bool]]:
    """Yield the number of each row, one more than the last where none is given, and whether it is hidden."""
    for row in _ROW.finditer(text):
        found = _NUMBER.search(row[1])
        last = int(found[1]) if found else last + 1
        yield last, bool(_HIDDEN.search(row[1]))


def _valueless(text: bytes) -> Iterator[tuple[int, str]]:
    for formula in _VALUELESS.finditer(text):
        cell = _CELL.search(formula[1])
        if cell and not _TEXT_RESULT.search(formula[1]):
            yield int(cell[2]), (cell[1] + cell[2]).decode()


def _merged(text: bytes, decode: Decoder) -> Iterator[Merged]:
    from openpyxl.utils.cell import range_boundaries

    for found in _MERGED.finditer(text):
        name = found[1].decode()
        column, row, last_column, last_row = decode(range_boundaries, name)
        yield Merged(name, column, row, last_column, last_row)


def _pieces(book: _Book, name: str) -> Iterator[bytes]:
    """Yield the XML of a sheet in pieces that end behind a row, so that no cell is divided."""
    rest = b""
    with book.decode(book.archive.open, book.parts[name]) as file:
        while more := book.decode(file.read, XML_BYTES):
            text = rest + more
            cut = text.rfind(b"row>") + len(b"row>") if b"row>" in text else 0
            yield text[:cut]
            rest = text[cut:]
    yield rest


def _check(sheet: Sheet) -> None:
    """Raise EmbstoreError where formulas or merged cells leave open what the table contains."""
    cells = [cell for row, cell in sheet.valueless if row >= sheet.header]
    if cells:
        raise EmbstoreError(
            f"{sheet.path}: the values of {len(cells)} formulas are not stored in sheet {sheet.name} ({_some(cells)}); "
            "open it in a spreadsheet program and save it, or paste values"
        )
    crossing = [m.name for m in sheet.merged if m.last_row >= sheet.header and m.last_column > m.column]
    header = [m.name for m in sheet.merged if m.row <= sheet.header < m.last_row]
    if crossing or header:
        raise EmbstoreError(
            f"{sheet.path}: cells of several columns, or of the header, are merged in sheet {sheet.name} "
            f"({_some(crossing or header)}); unmerge them: wanted one header row, and one value a cell"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
