"""Text tables as records of fields: CSV and TSV, packed with gzip or not, separated by commas, semicolons or tabs."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from embstore.errors import EmbstoreError
from embstore.pixels.unpack import GZIP_SIGNATURE

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
WORKBOOK_SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
SEP_LINE = re.compile(r"\ufeff?\"?sep=(.)\"?\s*(?:\r\n?|\n)", re.IGNORECASE)


def text_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of every record that is not blank, with the line on which it begins, as an editor counts.

    A first line such as `sep=;` is skipped. EmbstoreError for a file that is missing, damaged, a workbook, or neither
    UTF-8 nor UTF-16 text, and where a quote is not closed.
    """
    begins = 1 + _skipped(path)
    try:
        with open_packed(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            reader = csv.reader(_no_null_bytes(path, text), delimiter=delimiter(path), strict=True)
            offset = begins - 1
            for fields in reader:
                if fields:
                    yield begins, fields
                begins = reader.line_num + offset + 1
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a CSV with a header line") from error
    except csv.Error as error:
        raise EmbstoreError(
            f"{path}: the record that begins in line {begins} cannot be read ({error}); close its quote, "
            'and write a quote within quotes as ""'
        ) from error
    except UnicodeDecodeError as error:
        raise EmbstoreError(_not_utf8(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise EmbstoreError(
            f"{path} cannot be read as a CSV ({error}); wanted UTF-8 text with a header line"
        ) from error


def lines(path: Path) -> list[int]:
    """Return the line on which every record begins, blank lines left out; a record is taken to be one line."""
    first = 1 + _skipped(path)
    with open_packed(path) as file:
        return [number for number, line in enumerate(file, start=first) if line.strip(b"\r\n")]


def delimiter(path: Path) -> str:
    """Return what separates the fields: what a line `sep=` says, else what the suffix says, if the header contains it.

    Else what the header contains of `;` (as Excel writes a CSV where numbers have commas), tab and comma: a `;` in a
    line that has commas is part of a field.
    """
    if mark := _sep_line(path):
        return mark[1]
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")) else ","
    with open_packed(path) as file:
        first = next((line for line in file if line.strip()), b"")
    return next((mark for mark in (usual, ";", "\t", ",") if mark.encode() in first), usual)


def decimal_mark(path: Path) -> str:
    """Return what separates a number's whole from its fraction: a comma if `;` or tab separates fields and a field of
    the whole table is a number with a comma, and none one with a dot.
    """
    mark = delimiter(path).encode()
    if mark == b",":
        return "."
    number = re.compile(rb"(?:^|%b)\s*\"?[+-]?\d*([.,])\d+(?:[eE][+-]?\d+)?\"?\s*(?=%b|[\r\n]|$)" % (mark, mark))
    with open_packed(path) as file:
        marks = {found for line in file for found in number.findall(line)}
    return "," if marks == {b","} else "."


def _sep_line(path: Path) -> re.Match[str] | None:
    """Return the first line where it is Excel's `sep=;`, which names the separator."""
    with _unpacked(path) as file:
        return SEP_LINE.match(file.readline(16).decode("utf-8", errors="replace"))


def _skipped(path: Path) -> int:
    """Return how many lines stand before the header."""
    try:
        return int(_sep_line(path) is not None)
    except (OSError, EOFError, zlib.error):  # whoever reads the rest reports it
        return 0


def _no_null_bytes(path: Path, text: Iterable[str]) -> Iterator[str]:
    for line in text:
        if "\x00" in line:
            raise EmbstoreError(f"{path} contains null bytes; wanted UTF-8 text: save it as CSV UTF-8")
        yield line


def _not_utf8(path: Path) -> str:
    """Return the message for text in another encoding: where its first such byte is, by line and column."""
    with open_packed(path) as file:
        for number, line in enumerate(file, start=1 + _skipped(path)):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                at = f"line {number}, column {len(line[: error.start].decode('utf-8')) + 1}"
                return (
                    f"{path} contains the byte 0x{line[error.start]:02x} at {at}; wanted UTF-8 text: save it as "
                    "CSV UTF-8 (in Excel: Save As)"
                )
    return f"{path} is no text that can be read; wanted UTF-8 text: save it as CSV UTF-8"


@contextmanager
def open_packed(path: Path) -> Iterator[BinaryIO]:
    """Open a table as UTF-8 text behind its marks: unpacked where gzip packed it, UTF-16 recoded, `sep=` skipped.

    A workbook is an EmbstoreError, whatever it is called.
    """
    with _unpacked(path) as file:
        first = file.readline(16)
        if SEP_LINE.match(first.decode("utf-8", errors="replace")) is None:
            file.seek(0)
            if first.startswith(codecs.BOM_UTF8):
                file.seek(len(codecs.BOM_UTF8))
        yield file


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    refuse_workbook(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head in WORKBOOK_SIGNATURES:
            raise _is_workbook(path)
        if head.startswith(GZIP_SIGNATURE):
            with gzip.open(file) as unpacked:
                yield _as_utf8(path, cast("BinaryIO", unpacked))
        else:
            yield _as_utf8(path, file)


def _as_utf8(path: Path, file: BinaryIO) -> BinaryIO:
    """Return the file, recoded where it begins with the mark of UTF-16, as Excel's "Unicode text" does."""
    head = file.read(2)
    file.seek(0)
    if head not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return file
    try:
        return io.BytesIO(file.read().decode("utf-16").encode("utf-8"))
    except UnicodeError as error:
        raise EmbstoreError(f"{path} begins as UTF-16 text and is none ({error}); save it as CSV UTF-8") from error


def refuse_workbook(path: Path) -> None:
    """Raise EmbstoreError where the name is that of a spreadsheet program's own file."""
    if path.suffix.lower() in WORKBOOKS:
        raise _is_workbook(path)


def _is_workbook(path: Path) -> EmbstoreError:
    return EmbstoreError(f"{path} is a workbook; wanted text: save its sheet as CSV and give that")
