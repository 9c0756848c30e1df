"""Text tables as records of fields: CSV and TSV, packed with gzip or not, separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from embstore.errors import EmbstoreError
from embstore.pixels.unpack import GZIP_SIGNATURE

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
WORKBOOK_SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def text_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of every record that is not blank, with the line on which it begins, as an editor counts.

    EmbstoreError for a file that is missing, damaged, a workbook or not UTF-8 text.
    """
    try:
        with open_packed(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=delimiter(path))
            begins = 1
            for fields in reader:
                if fields:
                    yield begins, fields
                begins = reader.line_num + 1
    except FileNotFoundError as error:
        raise EmbstoreError(f"there is no file {path}; give the path of a CSV with a header line") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise EmbstoreError(
            f"{path} cannot be read as a CSV ({error}); wanted UTF-8 text with a header line"
        ) from error


def lines(path: Path) -> list[int]:
    """Return the line on which every record begins, blank lines left out; a record is taken to be one line."""
    with open_packed(path) as file:
        return [number for number, line in enumerate(file, start=1) if line.strip(b"\r\n")]


def delimiter(path: Path) -> str:
    """Return what parts the fields of the first line: what the suffix says, where that stands in it at all.

    Else what is there of `;` (as Excel writes a CSV where numbers have commas), tab and comma: a `;` in a line that has
    commas is part of a field.
    """
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")) else ","
    first = next(iter(_first_lines(path)), b"")
    return next((mark for mark in (usual, ";", "\t", ",") if mark.encode() in first), usual)


def decimal_mark(path: Path) -> str:
    """Return what parts a number's whole from its fraction: a comma where `;` parts fields and no number has a dot."""
    text = b"".join(_first_lines(path))
    commas = delimiter(path) == ";" and re.search(rb"\d,\d", text) and not re.search(rb"\d\.\d", text)
    return "," if commas else "."


def _first_lines(path: Path) -> list[bytes]:
    with open_packed(path) as file:
        return list(itertools.islice((line for line in file if line.strip()), 2))


@contextmanager
def open_packed(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked where it is packed with gzip, whatever it is called; a workbook is an EmbstoreError."""
    refuse_workbook(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head in WORKBOOK_SIGNATURES:
            raise _is_workbook(path)
        if head.startswith(GZIP_SIGNATURE):
            with gzip.open(file) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield file


def refuse_workbook(path: Path) -> None:
    """Raise EmbstoreError where the name is that of a spreadsheet program's own file."""
    if path.suffix.lower() in WORKBOOKS:
        raise _is_workbook(path)


def _is_workbook(path: Path) -> EmbstoreError:
    return EmbstoreError(f"{path} is a workbook; wanted text: save its sheet as CSV and give that")
