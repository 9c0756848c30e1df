"""Text tables as records of fields: CSV and TSV, optionally packed with gzip, separated by commas, semicolons or
tabs.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from embstore.errors import EmbstoreError
from embstore.pixels.unpack import GZIP_SIGNATURE
from embstore.sources.workbooks import OLE_SIGNATURE, ZIP_SIGNATURE

OTHER_WORKBOOKS = (".xls", ".xlsb", ".ods", ".numbers")  # of spreadsheet programs, not read
_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_SEPARATOR = re.compile(rb'(\xef\xbb\xbf)?"?sep=(?P<mark>[^\r\n"])"?[ \t]*(\r\n|\r|\n)', re.IGNORECASE)
_COMMAED = re.compile(rb'"?\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*"?')
_GROUPED = re.compile(rb'"?\s*[+-]?[1-9]\d{0,2},\d{3}\s*"?')
_DOTTED = re.compile(rb'"?\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*"?')
_AS_UTF8 = "wanted UTF-8 text: save the table as `CSV UTF-8`"
_QUOTES = "close every quote, and write a quote within a quoted field twice"


def text_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of every record that is not blank, with the line on which it begins, as an editor counts.

    Raises EmbstoreError for a file that is missing, damaged, a workbook or not text, and for a quote that is not
    closed.
    """
    begins = 1
    try:
        begins += _skipped_lines(path)
        with open_packed(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=delimiter(path), strict=True)
            before = begins - 1
            for fields in reader:
                if any("\0" in field for field in fields):
                    raise EmbstoreError(f"{path}, line {begins}: a null byte is in it; {_AS_UTF8}")
                if any(map(str.strip, fields)):
                    yield begins, fields
                begins = before + reader.line_num + 1
    except FileNotFoundError as error:
        raise _no_table(path) from error
    except UnicodeDecodeError as error:
        raise EmbstoreError(f"{path}, {_position_of_byte(path)}; {_AS_UTF8}") from error
    except csv.Error as error:
        raise EmbstoreError(f"{path} cannot be read as a CSV from line {begins} on ({error}); {_QUOTES}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise EmbstoreError(
            f"{path} cannot be read as a CSV ({error}); wanted UTF-8 text with a header line"
        ) from error


def _no_table(path: Path) -> EmbstoreError:
    return EmbstoreError(f"there is no file {path}; give the path of a CSV with a header line")


def _position_of_byte(path: Path) -> str:
    """Return the position of the first byte that is not UTF-8, as line and column."""
    try:
        with open_packed(path) as file:
            content = file.read().removeprefix(codecs.BOM_UTF8)
        content.decode()
    except (OSError, EOFError, zlib.error):  # damaged further on
        return "a byte of it is no UTF-8"
    except UnicodeDecodeError as error:
        before = content[: error.start].decode().replace("\r\n", "\n").replace("\r", "\n")
        line = before.count("\n") + 1 + _skipped_lines(path)
        column = len(before) - before.rfind("\n")
        as_windows = content[error.start : error.start + 1].decode("cp1252", "replace")
        return f"line {line}, column {column}: byte 0x{content[error.start]:02x} ({as_windows} in cp1252) is no UTF-8"
    return "it is no UTF-8"


def lines(path: Path) -> list[int]:
    """Return the line on which every record begins, without blank lines, assuming that each record is one line."""
    with open_packed(path) as file:
        numbered = enumerate(file, start=1 + _skipped_lines(path))
        return [number for number, line in numbered if line.strip(b"\r\n")]


def delimiter(path: Path) -> str:
    """Return the separator of the fields: named by a line `sep=;`, else found in the first line.

    In the first line, the separator of the suffix takes precedence; then `;` (Excel's if numbers have commas), tab and
    comma: a `;` in a line with commas is part of a field.
    """
    if (named := _separator_line(path)) is not None:
        return named[0].decode("utf-8", "replace")
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")) else ","
    first = _first_line(path)
    return next((mark for mark in (usual, ";", "\t", ",") if mark.encode() in first), usual)


def decimal_mark(path: Path) -> str:
    """Return the decimal mark: a comma if `;` or a tab separates fields, some field of the file is a number with a
    comma, and none is a number with a dot.

    Raises EmbstoreError if every number with a comma may have it between thousands (1,234).
    """
    mark = delimiter(path).encode()
    if mark not in (b";", b"\t"):
        return "."
    unclear, proved = b"", False
    with open_packed(path) as file:
        for line in file:
            for field in re.split(rb"[\r\n" + mark + b"]+", line) if b"," in line or b"." in line else ():
                if _DOTTED.fullmatch(field):
                    return "."
                if _COMMAED.fullmatch(field):
                    unclear = unclear or field
                    proved = proved or not _GROUPED.fullmatch(field)
    if unclear and not proved:
        number = unclear.decode().strip('" ')
        raise EmbstoreError(f"{path} has numbers such as {number}, which can be read in two ways; write a decimal dot")
    return "," if proved else "."


def _first_line(path: Path) -> bytes:
    """Return the first line that is not blank, whatever ends it."""
    with open_packed(path) as file:
        parts = (part for line in file for part in re.split(rb"[\r\n]+", line))
        return next((part for part in parts if part.strip()), b"")


def _separator_line(path: Path) -> tuple[bytes, int] | None:
    """Return the separator named by a first line such as `sep=;`, and the bytes of that line (Excel writes and reads
    it).
    """
    with _unpacked(path) as file:
        match = _SEPARATOR.match(file.read(32))
    return (match["mark"], match.end()) if match else None


def _skipped_lines(path: Path) -> int:
    return int(path.is_file() and _separator_line(path) is not None)


@contextmanager
def open_packed(path: Path) -> Iterator[BinaryIO]:
    """Open a text table as UTF-8, whatever its suffix: unpacked, without a line `sep=;`, from UTF-16 if it has a BOM.

    Raises EmbstoreError for a workbook.
    """
    named = _separator_line(path)
    with _unpacked(path) as file:
        if named is not None:
            file.seek(named[1])
        yield file


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with _opened(path) as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(_WIDE_BOMS) and (wide := _decoded(path, file, head)) is not None:
            with io.BytesIO(wide.encode()) as narrow:
                yield narrow
        else:
            yield file


def _decoded(path: Path, file: BinaryIO, head: bytes) -> str | None:
    encoding = "utf-32" if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) else "utf-16"
    try:
        return file.read().decode(encoding)
    except UnicodeDecodeError as error:
        raise EmbstoreError(f"{path} is damaged {encoding.upper()} text ({error}); {_AS_UTF8}") from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked if it is packed with gzip, whatever its suffix; EmbstoreError for a workbook."""
    refuse_workbook(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head == ZIP_SIGNATURE:
            raise EmbstoreError(f"{path} contains a workbook or another archive; call it .xlsx, or save it as CSV")
        if head == OLE_SIGNATURE:
            raise _is_workbook(path)
        if head.startswith(GZIP_SIGNATURE):
            with gzip.open(file) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield file


def refuse_workbook(path: Path) -> None:
    """Raise EmbstoreError if the name is that of a workbook of another kind than xlsx."""
    if path.suffix.lower() in OTHER_WORKBOOKS:
        raise _is_workbook(path)


def _is_workbook(path: Path) -> EmbstoreError:
    return EmbstoreError(f"{path} is a workbook that is not read; save it as .xlsx, or its sheet as CSV")
