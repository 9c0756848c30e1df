"""Excel workbooks: which sheet, where its header is, what typed cells become, and what is refused."""

from __future__ import annotations

import datetime
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from embstore.errors import EmbstoreError
from embstore.sources.columns import known_columns, notes_on
from embstore.sources.tables import TextTable, read_table, table_head, text_table


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as the sheet Sheet of t.xlsx; `change` may change the workbook before, `edit` its XML behind."""

    def write(
        *rows: list[object],
        change: Callable[[openpyxl.Workbook], object] = lambda _: None,
        edit: Callable[[str], str] | None = None,
    ) -> Path:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        change(book)
        book.save(tmp_path / "t.xlsx")
        return _edited(tmp_path / "t.xlsx", edit) if edit else tmp_path / "t.xlsx"

    return write


def _edited(path: Path, edit: Callable[[str], str | bytes], part: str = "xl/worksheets/sheet1.xml") -> Path:
    """Change the XML of a sheet, or of another part."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, edit(content.decode()) if name == part else content)
    return path


HEADER = ["image_id", "gene", "locations", "n"]


def test_typed_cells_are_read_by_the_conversion_of_every_table(workbook: Callable[..., Path]) -> None:
    """Whole floats are whole numbers, errors and spelled missing values are missing, dates are ISO 8601."""
    path = workbook(
        HEADER,
        [12.0, "ACTN1", "Cytosol; ER", 0.5],
        [2, "#N/A", "#DIV/0!", True],
        ["f3", "nan", "['ER', 'Golgi']", datetime.datetime(2024, 3, 1)],
        ["f4", None, "-", datetime.time(1, 2)],
    )
    assert read_table(path) == [
        {"image_id": "12", "gene": "ACTN1", "locations": "Cytosol; ER", "n": "0.5"},
        {"image_id": "2", "gene": "", "locations": "", "n": "True"},
        {"image_id": "f3", "gene": "", "locations": "ER;Golgi", "n": "2024-03-01"},
        {"image_id": "f4", "gene": "", "locations": "", "n": "01:02:00"},
    ]


def test_text_cells_that_stand_for_missing_stay_where_they_are_wanted(workbook: Callable[..., Path]) -> None:
    """A treatment `none` is a treatment, as in text tables."""
    rows = text_table(workbook(["image_id", "treatment"], ["f1", "none"]), as_written=True).rows
    assert rows == [{"image_id": "f1", "treatment": "none"}]


def test_a_header_is_found_below_titles_and_empty_rows(workbook: Callable[..., Path]) -> None:
    """As published tables have them; rows have the numbers that Excel shows, and blank ones are left out."""
    path = workbook([], ["Table S1"], [], HEADER, ["f1", "A", "ER", 1], [None, " "], ["f2", "B", "ER", 2])
    table = text_table(path)
    assert [line for line, _ in table.numbered] == [5, 7]
    assert table.notes == ("t.xlsx: the text above the header in row 4 is left out (Table S1)",)
    assert table_head(path) == (HEADER, table.rows[0])


def test_a_table_of_one_column_has_no_title(workbook: Callable[..., Path]) -> None:
    """A list of genes begins with its header."""
    assert read_table(workbook(["gene"], ["A"], ["B"])) == [{"gene": "A"}, {"gene": "B"}]


def test_the_size_that_a_sheet_claims_is_not_believed(workbook: Callable[..., Path]) -> None:
    """Some programs claim A1 for every sheet."""
    path = workbook(HEADER, ["f1", "A", "ER", 1], edit=lambda xml: re.sub('ref="A1:D2"', 'ref="A1"', xml))
    assert read_table(path) == [dict(zip(HEADER, ["f1", "A", "ER", "1"], strict=True))]


def test_hidden_rows_are_read_and_reported(workbook: Callable[..., Path]) -> None:
    """A filter that was left on does not take rows away; nor does a CSV that Excel saves."""

    def hide(book: openpyxl.Workbook) -> None:
        book.active.row_dimensions[2].hidden = True

    table = text_table(workbook(HEADER, ["f1", "A", "ER", 1], ["f2", "B", "ER", 1], change=hide))
    assert len(table.rows) == 2
    assert table.notes == ("t.xlsx: 1 hidden rows are read like the others (2)",)


def test_merged_cells_of_a_column_all_have_their_value(workbook: Callable[..., Path]) -> None:
    """One gene over three images is the gene of each."""
    rows = [["f1", "A", "ER", 1], ["f2", None, "ER", 1], ["f3", None, "ER", 1], ["f4", None, "ER", 1]]
    table = text_table(workbook(HEADER, *rows, change=lambda book: book.active.merge_cells("B2:B4")))
    assert [row["gene"] for row in table.rows] == ["A", "A", "A", ""]
    assert table.notes == ("t.xlsx: each cell of a merged range has the value of the range (B2:B4)",)


@pytest.mark.parametrize("merged", ["A2:B2", "A1:B1", "A1:A2"])
def test_merged_cells_of_several_columns_or_the_header_are_refused(merged: str, workbook: Callable[..., Path]) -> None:
    """What each cell contains is then open; a merged title above the header is not in the way."""
    with pytest.raises(EmbstoreError, match=rf"several columns, or of the header, are merged in .* \({merged}\)"):
        read_table(workbook(HEADER, ["f1", "A", "ER", 1], change=lambda book: book.active.merge_cells(merged)))
    titled = workbook(["S1"], HEADER, ["f1", "A", "ER", 1], change=lambda book: book.active.merge_cells("A1:D1"))
    assert len(read_table(titled)) == 1


def test_formulas_have_their_stored_values(workbook: Callable[..., Path]) -> None:
    """Excel stores them beside the formula, and an empty text as one; a program that computes none is refused."""
    excel = (
        '<row r="2"><c r="A2" t="str"><f>"f"&amp;1</f><v>f1</v></c><c r="B2" t="str"><f>IF(1=1,"","x")</f><v></v></c>'
        '<c r="C2" t="e"><f>NA()</f><v>#N/A</v></c><c r="D2"><f>1+1</f><v>2</v></c></row></sheetData>'
    )
    path = workbook(HEADER, edit=lambda xml: xml.replace("</sheetData>", excel))
    assert read_table(path) == [{"image_id": "f1", "gene": "", "locations": "", "n": "2"}]
    with pytest.raises(EmbstoreError, match=r"the values of 2 formulas are not stored in sheet Sheet \(A2, D3\)"):
        read_table(workbook(HEADER, ['="f"&1', "A", "ER", 1], ["f2", "A", "ER", "=1+1"]))


def test_a_workbook_with_several_sheets_is_asked_about(workbook: Callable[..., Path]) -> None:
    """Empty and hidden sheets do not count; FILE.xlsx::SHEET names one."""

    def three(book: openpyxl.Workbook) -> None:
        book.create_sheet("empty")
        book.create_sheet("lists").append(["a", "b"])
        book["lists"].sheet_state = "hidden"

    path = workbook(["a", "b"], [1, 2], change=three)
    table = text_table(path)
    assert table.rows == [{"a": "1", "b": "2"}]
    assert table.notes == ("t.xlsx: sheet Sheet is read, hidden sheets are not (lists)",)

    def more(book: openpyxl.Workbook) -> None:
        three(book)
        book.create_sheet("Plate 2: b".replace(":", "")).append(["a", "b"])
        book["Plate 2 b"].append([3, 4])

    path = workbook(["a", "b"], [1, 2], change=more)
    with pytest.raises(EmbstoreError, match=r"the sheets Sheet, Plate 2 b with data; name one of them: t.xlsx::Sheet"):
        read_table(path)
    assert read_table(Path(f"{path}::Plate 2 b")) == [{"a": "3", "b": "4"}]
    with pytest.raises(EmbstoreError, match="has no sheet 'x'; it has: Sheet, empty, lists, Plate 2 b"):
        read_table(Path(f"{path}::x"))
    with pytest.raises(EmbstoreError, match="has nothing in sheet empty"):
        read_table(Path(f"{path}::empty"))


def test_cells_without_a_column_name_are_refused(workbook: Callable[..., Path]) -> None:
    """They would be lost; a cell below names two columns for one."""
    with pytest.raises(EmbstoreError, match="row 3: there is text after the last column that the header in row 1"):
        read_table(workbook(["a", "b"], [1, 2], [1, 2, None, "note"]))
    with pytest.raises(EmbstoreError, match="has the column 'a' more than once"):
        read_table(workbook(["a", " a"], [1, 2]))


def test_dates_in_columns_with_a_meaning_are_reported(workbook: Callable[..., Path]) -> None:
    """A spreadsheet makes dates of `2-1` and `SEPT2`; a column of days is none of that kind."""
    day = datetime.date(2024, 9, 2)
    table = text_table(workbook(["well", "gene", "day"], ["A1", day, day], [day, "B", day]))
    (note,) = notes_on(table, known_columns(table.columns))
    assert note.startswith("1 cells of well are dates (2024-09-02): spread")


def test_rows_out_of_order_are_refused(workbook: Callable[..., Path]) -> None:
    """openpyxl drops them without a warning."""
    path = workbook(["a", "b"], [1, 2], [3, 4], edit=lambda xml: xml.replace('<row r="2"', '<row r="9"'))
    with pytest.raises(EmbstoreError, match="row 3 follows row 9 in Sheet"):
        read_table(path)


def test_what_is_no_xlsx_is_one_line(tmp_path: Path) -> None:
    """Old, encrypted, renamed, truncated and empty files."""
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    wrong = {
        ole: "is an old .xls workbook; save it as .xlsx",
        ole + "EncryptedPackage".encode("utf-16-le"): "is encrypted; save it without a password",
        b"image_id,gene\nf1,A\n": "is not an Excel workbook, despite its name",
        b"": "is not an Excel workbook, despite its name",
        b"PK\x03\x04" + bytes(90): "cannot be read as an Excel workbook",
    }
    path = tmp_path / "t.xlsx"
    for content, message in wrong.items():
        path.write_bytes(content)
        with pytest.raises(EmbstoreError, match=message) as raised:
            read_table(path)
        assert "\n" not in str(raised.value)
    with pytest.raises(EmbstoreError, match="there is no file"):
        read_table(tmp_path / "none.xlsx")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(EmbstoreError, match="cannot be read as an Excel workbook"):
        read_table(path)


def test_sheets_are_read_however_their_xml_is_written(workbook: Callable[..., Path]) -> None:
    """With a prefix (the Open XML SDK), line ends, other quotes; UTF-16 is refused, as merged cells would be missed."""

    def merge(book: openpyxl.Workbook) -> None:
        book.active.merge_cells("A2:A3")

    rows = ["a", "b"], ["x", 1], [None, 2]
    for edit in (
        lambda xml: re.sub(r"<(/?)(\w)", r"<\1x:\2", xml.replace("xmlns=", "xmlns:x=")),
        lambda xml: xml.replace("><", ">\n <"),
        lambda xml: xml.replace('"', "'"),
    ):
        assert read_table(workbook(*rows, change=merge, edit=edit)) == [{"a": "x", "b": "1"}, {"a": "x", "b": "2"}]
    path = _edited(workbook(*rows), lambda xml: f'<?xml version="1.0" encoding="UTF-16"?>{xml}'.encode("utf-16"))
    with pytest.raises(EmbstoreError, match="the XML of sheet Sheet is UTF-16; open it"):
        read_table(path)


def test_a_strict_workbook_is_one_line(workbook: Callable[..., Path]) -> None:
    """openpyxl finds no cell in it."""
    strict = ("schemas.openxmlformats.org/spreadsheetml/2006/main", "purl.oclc.org/ooxml/spreadsheetml/main")
    path = _edited(workbook(["a", "b"], [1, 2]), lambda xml: xml.replace(*strict), "xl/workbook.xml")
    with pytest.raises(EmbstoreError, match="is a Strict Open XML workbook, which is not read; save it as Excel Workb"):
        read_table(path)


def test_without_the_extra_one_line_names_it(workbook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """openpyxl is not among what every install brings."""
    path = workbook(["a", "b"], [1, 2])
    for name in [name for name in sys.modules if name.partition(".")[0] == "openpyxl"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        EmbstoreError, match=r"needs openpyxl, .* pip install 'embstore\[xlsx\]', or save its sheet as CSV"
    ):
        text_table(path)


def test_a_table_prints_in_one_line(workbook: Callable[..., Path]) -> None:
    """As every record does."""
    table: TextTable = text_table(workbook(["a", "b"], [1, 2]))
    assert repr(table) == "<TextTable t.xlsx: 1 rows, a, b>"
