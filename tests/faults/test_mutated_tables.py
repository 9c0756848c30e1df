"""Thousands of damaged manifests, plate maps and tables of labels: each is read or refused in one line."""

from __future__ import annotations

import datetime
import gzip
import io
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mutating import read_mutated

from embstore.errors import EmbstoreError
from embstore.sources.detect import detect
from embstore.sources.labels import only_describes, read_label_table
from embstore.sources.layouts import read_source
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import read_vectors

pytestmark = pytest.mark.faults

FILES = 2000
ROWS = [
    ["image_id", "file", "channels", "gene", "ensg_id", "well", "pixel_size_um", "locations"],
    ["f1", "a/f1.tif", "nucleus;protein", "ACTN1", "ENSG00000072110", "A01", "0.4", "Cytosol;Actin filaments"],
    ["f2", "a\\f2.tif", "nucleus;protein", "nan", "", "A/2", "0.25", "['Nucleoplasm', 'Golgi, cis']"],
    ["f3", "C:\\x\\f3.tif", "nucleus;protein", "Ümlaut", "None", "row B column 3", "1", ""],
]


def read_tables(path: Path) -> None:
    """Read a table in each way that an ingest or `labels add` does."""
    readers = (
        lambda: detect(path),
        lambda: read_source(path, "manifest", None),
        lambda: only_describes(path),
        lambda: read_label_table(path, level="protein"),
        lambda: read_label_table(path, level="image"),
    )
    refused: list[EmbstoreError] = []
    for read in readers:
        try:
            read()
        except EmbstoreError as error:
            assert "\n" not in str(error)
            refused.append(error)
    if len(refused) == len(readers):
        raise refused[0]


def test_mutated_tables_are_read_or_refused(tmp_path: Path) -> None:
    """CSV with each separator, encoding and end of line, gzip, and Parquet of text, lists, numbers and dates."""
    good = tmp_path / "good"
    good.mkdir()
    quoted = [",".join(f'"{field}"' for field in row) for row in ROWS]
    (good / "comma.csv").write_text("\n".join(quoted), encoding="utf-8")
    (good / "wide.csv").write_text("\r\n".join(quoted), encoding="utf-16")
    (good / "sep.csv").write_text("sep=;\r\n" + "\r\n".join(quoted).replace('","', '";"'), encoding="utf-8-sig")
    (good / "tab.tsv").write_text("\r".join("\t".join(row) for row in ROWS), encoding="utf-8")
    (good / "packed.csv.gz").write_bytes(gzip.compress("\n".join(quoted).encode()))
    columns = dict(zip(ROWS[0], zip(*ROWS[1:], strict=True), strict=True))
    columns |= {"locations": [["Cytosol", None], [], None], "grade": [1.0, None, 3.0], "seen": [True, None, False]}
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    for compression in ("none", "snappy"):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression=compression)
        (good / f"{compression}.parquet").write_bytes(buffer.getvalue())
    read_mutated(read_tables, sorted(good.iterdir()), tmp_path / "scratch", n=FILES).check(FILES)


def read_parts(folder: Path) -> None:
    """Read the parts of a workbook, packed so that their checksums are right, as tables and as embeddings."""
    path = folder.with_suffix(".xlsx")
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(part, part.relative_to(folder))
    read_workbook(path)


def read_workbook(path: Path) -> None:
    """Read a workbook as tables and as embeddings."""
    try:
        read_tables(path)
    except EmbstoreError:
        read_vectors(path, Columns(gene="gene")).vectors  # noqa: B018  a property that reads the file


def test_mutated_workbooks_are_read_or_refused(tmp_path: Path) -> None:
    """Damaged files, which their checksums tell, and damaged parts whose checksums are right."""
    book = openpyxl.Workbook()
    for row in (
        ["Table S1"],
        [],
        [*ROWS[0], "f", "day"],
        *([*row, 0.5, datetime.date(2024, 1, 2)] for row in ROWS[1:]),
    ):
        book.active.append(row)
    book.active.append(["f4", None, "#N/A", True, 12.0, "A1", -1])
    book.active.merge_cells("D4:D5")
    book.active.row_dimensions[5].hidden = True
    book.create_sheet("empty")
    (tmp_path / "good").mkdir()
    book.save(tmp_path / "good" / "t.xlsx")
    with zipfile.ZipFile(tmp_path / "good" / "t.xlsx") as archive:
        archive.extractall(tmp_path / "good" / "parts")
    outcome = read_mutated(read_workbook, [tmp_path / "good" / "t.xlsx"], tmp_path / "files", n=FILES // 4)
    outcome.check(FILES // 4)
    read_mutated(read_parts, [tmp_path / "good" / "parts"], tmp_path / "scratch", n=FILES).check(FILES)
