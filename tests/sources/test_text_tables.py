"""Tables as spreadsheets, pandas and people write them: the right value, or one line with the place."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.errors import EmbstoreError
from embstore.sources.delimited import decimal_mark, lines
from embstore.sources.labels import read_label_table
from embstore.sources.layouts import read_source
from embstore.sources.numerals import plain_numbers
from embstore.sources.tables import numbered_rows, read_table, table_head


def written(tmp_path: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_rows_of_another_length_than_the_header_are_refused_by_line(cases: Path) -> None:
    with pytest.raises(EmbstoreError, match=r"7 columns, and line 3 has 8, line 4 has 6 fields"):
        read_source(cases / "06-ragged-csv-rows", "manifest", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2,3\n", "line 2 has 3 fields"),
        ("a,b\n\n1\n", "line 3 has 1 fields"),
        ('a,b\n"x\ny",2\n1\n', "line 4 has 1 fields"),
        ("sep=;\na;b\n1\n", "line 3 has 1 fields"),
        ("a,b\n" + "1\n" * 5, "and 2 more lines"),
        ("a, a\n1,2\n", "the column 'a' more than once"),
        ("a,a\u200b\n1,2\n", "the column 'a' more than once"),
        ('a,b\n1,"2\n', "from line 2 on .* close every quote"),
        ('a,b\n1,"2\n3,4\n', "from line 2 on .* close every quote"),
        ('a,b\n"1"2,3\n', "from line 2 on"),
        ("a,b\n1,\0\n", "line 2: a null byte"),
        ("a,b\n1," + "x" * 200_000 + "\n", "from line 2 on .field larger"),
        ("", "is empty"),
        ("\n,,\n", "is empty"),
    ],
)
def test_what_is_no_table_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EmbstoreError, match=message) as error:
        numbered_rows(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_blank_ends_of_rows_and_blank_rows_are_no_fields(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,,\n1,2,,\n,,,\n3,4,,,,\n5,6\n")
    assert numbered_rows(path) == [(2, {"a": "1", "b": "2"}), (4, {"a": "3", "b": "4"}), (5, {"a": "5", "b": "6"})]


def test_label_tables_are_read_under_the_headers_that_people_use(tmp_path: Path) -> None:
    """HPA's names of columns are known, and a column without a name does no harm."""
    path = written(tmp_path, ",Gene name,Ensembl,Subcellular location\n0,ACTB,ENSG00000075624,Cytosol;ER\n")
    assert read_label_table(path).locations == {
        ("main", "protein", "ensembl:ENSG00000075624"): {"Cytosol": None, "ER": None}
    }


def test_names_of_columns_are_cleaned(cases: Path, tmp_path: Path) -> None:
    (image,) = read_source(cases / "20-header-blanks", "manifest", None).images
    assert (image.protein_ids, image.genes) == (("ensembl:ENSG00000072110",), ("ACTN1",))
    (label,) = read_source(cases / "20-header-blanks", "manifest", None).labels
    assert label.location == "Cytosol"
    path = written(tmp_path, "\ufeff image_id\u00a0,ge\u200bne,Cell  line\n1,2,3\n")
    assert table_head(path)[0] == ["image_id", "gene", "Cell line"]


@pytest.mark.parametrize("name", ["sep_line.csv", "utf16.csv", "decimal_comma.csv", "cr_only.csv"])
def test_tables_that_excel_writes_are_read(cases: Path, name: str) -> None:
    (image,) = read_source(cases / "31-csv-as-excel-writes-it" / name, "manifest", None).images
    assert (image.key, image.roles, image.genes) == ("f1", ("nucleus", "protein"), ("ACTN1",))
    assert image.pixel_size_um == (None if name == "cr_only.csv" else 0.4)


def test_a_byte_that_is_no_utf_8_is_named_by_line_and_column(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(EmbstoreError, match=r"line 3, column 28: byte 0xe9 \(é in cp1252\).*CSV UTF-8"):
        read_table(cases / "31-csv-as-excel-writes-it" / "latin1.csv")
    with pytest.raises(EmbstoreError, match="line 3, column 3"):
        read_table(written(tmp_path, "sep=,\r\na,b\r\n1,µ\r\n", encoding="latin-1"))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf\xb5,b\n1,2\n")
    with pytest.raises(EmbstoreError, match="line 1, column 1: byte 0xb5"):
        read_table(tmp_path / "bom.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", ["", "sep=;"])
def test_encoding_ends_of_lines_and_separator_change_nothing(
    tmp_path: Path, encoding: str, end: str, separator: str
) -> None:
    rows = [*([separator] if separator else []), "a;b", "1;é, ü", "2;0,5", ""]
    path = written(tmp_path, end.join(rows), encoding=encoding)
    first = 2 + bool(separator)
    assert numbered_rows(path) == [(first, {"a": "1", "b": "é, ü"}), (first + 1, {"a": "2", "b": "0,5"})]
    assert decimal_mark(path) == ","
    if end != "\r":
        assert lines(path) == [first - 1, first, first + 1]


def test_the_decimal_mark_is_determined_by_every_line(cases: Path, tmp_path: Path) -> None:
    assert decimal_mark(cases / "31-csv-as-excel-writes-it" / "vec_decimal.csv") == ","
    assert decimal_mark(written(tmp_path, "a;b\n1;Golgi, 1,5 um\n")) == "."
    assert decimal_mark(written(tmp_path, "a;b\n" + "1;2\n" * 9 + "0,5;1.5\n")) == "."


@pytest.mark.parametrize(
    ("texts", "plain"),
    [
        (["0,4", "1"], ["0.4", "1"]),
        (["1.234,5", "2"], ["1234.5", "2"]),
        (["1,234.5", "0.5"], ["1234.5", "0.5"]),
        (["1,234,567"], ["1234567"]),
        (["1.234", "x", ""], ["1.234", "x", ""]),
        (["1 234,5", "0,25"], ["1234.5", "0.25"]),
        (["0,125", "1,250"], ["0.125", "1.250"]),
        (["1e-3", "2"], ["1e-3", "2"]),
    ],
)
def test_numbers_are_read_by_the_mark_of_their_column(texts: list[str], plain: list[str]) -> None:
    assert plain_numbers(texts, "c") == plain


@pytest.mark.parametrize("texts", [["1,234"], ["0,4", "0.4"], ["1.5", "1,5"]])
def test_a_column_that_can_be_read_in_two_ways_is_refused(texts: list[str]) -> None:
    with pytest.raises(EmbstoreError, match="decimal dot"):
        plain_numbers(texts, "c")


@given(st.lists(st.floats(0.001, 9e5).map(lambda x: round(x, 2)), min_size=1), st.sampled_from(["{:.2f}", "{:,.2f}"]))
def test_decimal_commas_and_dots_give_the_same_numbers(values: list[float], form: str) -> None:
    english = [form.format(value) for value in values]
    german = [text.translate(str.maketrans(",.", ".,")) for text in english]
    assert [float(text) for text in plain_numbers(english, "c")] == values
    assert [float(text) for text in plain_numbers(german, "c")] == values


def test_lists_are_lists_in_parquet_and_in_text(cases: Path, tmp_path: Path) -> None:
    source = read_source(cases / "07-parquet-list-labels" / "manifest.parquet", "manifest", None)
    assert {label.location for label in source.labels} == {"Cytosol", "Actin filaments", "Nuclear membrane"}
    text = read_table(cases / "07-parquet-list-labels" / "vectors_text.csv")
    assert [row["locations"] for row in text] == ["Cytosol;Actin filaments", "Nuclear membrane"]


@pytest.mark.parametrize("text", ["\"['Cytosol', 'ER']\"", '"[""Cytosol"", ""ER""]"'])
def test_a_printed_list_of_a_label_table_is_several_locations(tmp_path: Path, text: str) -> None:
    """Python and JSON print the same list."""
    (locations,) = read_label_table(written(tmp_path, f"gene,locations\nACTB,{text}\n")).locations.values()
    assert list(locations) == ["Cytosol", "ER"]


@pytest.mark.parametrize("printed", ["[1, 2]", "[Cytosol, ER]", "['Cytosol' 'ER']"])
def test_lists_without_quotes_or_commas_are_refused_as_labels(tmp_path: Path, printed: str) -> None:
    """A manifest and a label table are refused by their names, with the list that cannot be read."""
    (tmp_path / "f.tif").touch()
    message = rf"{{}} is no table .* lists such as .*{re.escape(printed)}"
    path = written(tmp_path, f'file,locations\nf.tif,"{printed}"\n', "manifest.csv")
    with pytest.raises(EmbstoreError, match=message.format(r"manifest\.csv")):
        read_source(path, "manifest", None, channels="nucleus,protein")
    labels = written(tmp_path, f'gene,locations\nACTB,"{printed}"\n')
    with pytest.raises(EmbstoreError, match="'locations' contains lists such as"):
        read_label_table(labels)


def test_missing_values_are_no_genes_and_no_locations(tmp_path: Path) -> None:
    """`nan` and `None` in a label table name nothing."""
    path = written(tmp_path, "gene,locations\nACTB,Cytosol;nan\nnan,ER\nNone,None\n")
    locations = read_label_table(path).locations
    assert {subject: list(named) for (_, _, subject), named in locations.items()} == {"gene:ACTB": ["Cytosol"]}


def test_missing_is_missing_in_text_and_in_parquet(cases: Path, tmp_path: Path) -> None:
    rows = read_table(cases / "08-nan-strings" / "profiles.csv")
    assert [row["gene"] for row in rows] == ["ACTN1", "", "", "LMNB1", ""]
    assert [row["location"] for row in rows] == ["Cytosol", "", "Nucleoplasm", "", ""]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [1.0, 12.0, float("nan")], "gene": ["NAN1", "None", None]}), path)
    assert read_table(path) == [{"id": "1", "gene": "NAN1"}, {"id": "12", "gene": ""}, {"id": "", "gene": ""}]


def test_parquet_with_a_column_twice_or_text_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a "]), path)
    with pytest.raises(EmbstoreError, match="the column 'a' more than once"):
        read_table(path)
    pq.write_table(pa.table({"a": pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())}), path)
    with pytest.raises(EmbstoreError, match="not UTF-8"):
        read_table(path)


def test_missing_cells_of_a_manifest_are_counted_and_other_columns_keep_their_words(tmp_path: Path) -> None:
    (tmp_path / "f.tif").touch()
    path = written(tmp_path, "file,gene,ensg_id,treatment,locations\nf.tif,nan,None,none,NaN\n")
    source = read_source(path, "manifest", None, channels="nucleus,protein")
    (image,) = source.images
    assert (image.protein_ids, image.genes, image.extra) == ((), (), {"treatment": "none"})
    assert source.labels == ()
    assert "cells that count as missing: 1 None, 1 nan, 1 NaN" in "; ".join(source.notes)


@pytest.mark.parametrize("damage", [slice(12, 13), slice(-9, None)])
def test_damaged_gzip_is_one_line(tmp_path: Path, damage: slice) -> None:
    packed = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i * i) for i in range(99))))
    packed[damage] = b"\xff" if damage.start > 0 else b""
    (tmp_path / "t.csv.gz").write_bytes(packed)
    with pytest.raises(EmbstoreError, match="cannot be read as a CSV"):
        read_table(tmp_path / "t.csv.gz")
