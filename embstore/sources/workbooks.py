"""Sheets of Excel workbooks as records of typed cells: which sheet, and where its header is."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from embstore.errors import EmbstoreError
from embstore.sources.decoding import Decoder
from embstore.sources.sheet_xml import SheetFacts, sheet_facts

WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")
ZIP_SIGNATURE, OLE_SIGNATURE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_STRICT, _WORKBOOK = b"purl.oclc.org/ooxml", "xl/workbook.xml"
MAX_ROWS = 1 << 20  # the rows of a sheet in Excel
_NAME = re.compile(r"(?P<file>.+\.xls[xm])::(?P<sheet>.+)", re.IGNORECASE | re.DOTALL)
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # a stream of the container of an encrypted workbook
_SHOWN = 3

Record = tuple[int, Sequence[object]]  # the number of a row, as Excel counts, and its cells


@dataclass(frozen=True)
class Sheet:
    """One sheet of a workbook, whose table begins with the header in row `header`."""

    path: Path  # of the workbook
    name: str
    header: int
    titles: Sequence[str]  # the text above the header
    hidden_sheets: Sequence[str]
    facts: SheetFacts

    @property
    def notes(self) -> tuple[str, ...]:
        """Return how the sheet was read, if that may be unexpected."""
        return tuple(filter(None, (*self._beside(), *self._within())))

    def _beside(self) -> Iterator[str]:
        if self.hidden_sheets:
            yield f"{self.path.name}: sheet {self.name} is read, hidden sheets are not ({_some(self.hidden_sheets)})"
        if self.titles:
            yield f"{self.path.name}: the text above the header in row {self.header} is left out ({_some(self.titles)})"

    def _within(self) -> Iterator[str]:
        hidden = [str(row) for row in self.facts.hidden_rows if row > self.header]
        if hidden:
            yield f"{self.path.name}: {len(hidden)} hidden rows are read like the others ({_some(hidden)})"
        if filled := [merged.name for merged in self.facts.merged if merged.row > self.header]:
            yield f"{self.path.name}: each cell of a merged range has the value of the range ({_some(filled)})"


def file_and_sheet(path: Path) -> tuple[Path, str | None]:
    """Return the file of a path, and the sheet that it names, if any (`labels.xlsx::Sheet 1`)."""
    named = _NAME.fullmatch(str(path))
    return (Path(named["file"]), named["sheet"].strip()) if named else (path, None)


def is_workbook(path: Path) -> bool:
    """True if a file, with or without the name of a sheet, is an Excel workbook by its suffix."""
    return file_and_sheet(path)[0].suffix.lower() in WORKBOOK_SUFFIXES


def open_sheet(path: Path) -> Sheet:
    """Return the sheet that a path names, else the only one that contains anything.

    Raises EmbstoreError for a workbook that cannot be read, for several sheets with data, and for formulas and merged
    cells that leave open what the table contains.
    """
    file, name = file_and_sheet(path)
    with _opened(file) as book:
        name = _chosen(book, name)
        header, titles = _header(book, name)
        hidden = [title for title, sheet in book.sheets.items() if sheet.sheet_state != "visible"]
        facts = sheet_facts(book.decode, book.archive, book.parts[name], name)
    sheet = Sheet(file, name, header, titles, hidden, facts)
    _check(sheet)
    return sheet


def sheet_records(sheet: Sheet) -> Iterator[Record]:
    """Yield the header, without empty cells at its end, and every row below it that is not blank, of the same length.

    A range of merged cells has its value in each row. Raises EmbstoreError for text after the last cell of the header.
    """
    width = 0
    for number, row in _filled(sheet):
        written = max((at for at, cell in enumerate(row, start=1) if _written(cell)), default=0)
        if number < sheet.header or not written:
            continue
        width = width or written
        if written > width:
            raise EmbstoreError(
                f"{sheet.path}, row {number}: there is text after the last column that the header in row "
                f"{sheet.header} names; name its column, or move it to another sheet"
            )
        yield number, [*row[:width], *[None] * (width - len(row))]


def _filled(sheet: Sheet) -> Iterator[tuple[int, list[object]]]:
    """Yield every row, with the value of a range of merged cells in each of its rows."""
    fills: dict[int, tuple[int, object]] = {}  # column -> the last row of a range, and its value
    with _opened(sheet.path) as book:
        for number, cells in _rows(book, sheet.name):
            row = list(cells)
            for column, (last, value) in fills.items():
                if number <= last:
                    row += [None] * (column - len(row))
                    row[column - 1] = value
            starts = (m for m in sheet.facts.merged if m.row == number and m.last_row > number and m.column <= len(row))
            fills.update((m.column, (m.last_row, row[m.column - 1])) for m in starts)
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
        described: list[tuple[Any, Any]] = decode(list, reader.parser.find_sheets())
        parts = {str(sheet.name): rel.target for sheet, rel in described}
        if _WORKBOOK in reader.archive.namelist() and _STRICT in decode(reader.archive.read, _WORKBOOK):
            raise EmbstoreError(f"{path} is a Strict Open XML workbook, which is not read; save it as Excel Workbook")
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
            raise EmbstoreError(f"{path} is not an Excel workbook, despite its name; save it as .xlsx or as CSV UTF-8")
        file.seek(0)
        yield file


def _rows(book: _Book, name: str) -> Iterator[Record]:
    """Yield every row of a sheet, from 1; the size that a sheet claims is ignored."""
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
        problem = f"the sheets {', '.join(full)} with data" if full else "no sheet with data"
        wanted = f"name one of them: {path.name}::{full[0]}" if full else "wanted a table with a header row"
        raise EmbstoreError(f"{path} has {problem}; {wanted}")
    return full[0]


def _header(book: _Book, name: str) -> tuple[int, list[str]]:
    """Return the row of the header and the titles above it: rows of one cell, if some row below has more."""
    above: list[tuple[int, str]] = []
    for number, cells in _rows(book, name):
        written = [cell for cell in cells if _written(cell)]
        if len(written) > 1:
            return number, [text for _, text in above]
        above += [(number, str(cell)) for cell in written]
    return (above[0][0] if above else 1), []


def _check(sheet: Sheet) -> None:
    """Raise EmbstoreError if formulas or merged cells leave open what the table contains."""
    cells = [cell for row, cell in sheet.facts.valueless if row >= sheet.header]
    if cells:
        raise EmbstoreError(
            f"{sheet.path}: the values of {len(cells)} formulas are not stored in sheet {sheet.name} ({_some(cells)}); "
            "open it in a spreadsheet program and save it, or paste values"
        )
    crossing = [m.name for m in sheet.facts.merged if m.last_row >= sheet.header and m.last_column > m.column]
    header = [m.name for m in sheet.facts.merged if m.row <= sheet.header < m.last_row]
    if crossing or header:
        raise EmbstoreError(
            f"{sheet.path}: cells of several columns, or of the header, are merged in sheet {sheet.name} "
            f"({_some(crossing or header)}); unmerge them: wanted one header row, and one value per cell"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
