"""Tables that people really have, each read with the right values or refused in one line; nothing wrong goes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.errors import EmbstoreError
from embstore.sources.labels import read_label_table
from embstore.sources.layouts import read_source
from embstore.sources.record import Source
from embstore.sources.tables import read_table


def manifest(path: Path, **options: str) -> Source:
    return read_source(path, "manifest", None, **options)


def locations(source: Source) -> set[tuple[str, str]]:
    return {(label.subject, label.location) for label in source.labels}


def test_rows_of_another_length_than_the_header_are_named(cases: Path) -> None:
    """A bare comma or a row that ends early moves values into other columns: their lines are named (case 06)."""
    with pytest.raises(EmbstoreError, match=r"7 columns, and line 3 has 8, line 4 has 6 fields"):
        manifest(cases / "06-ragged-csv-rows" / "manifest.csv")


def test_blanks_in_a_header_hide_no_column(cases: Path) -> None:
    """` gene` is the column gene (case 20)."""
    source = manifest(cases / "20-header-blanks" / "manifest.csv")
    assert all(image.protein_ids for image in source.images)
    assert source.labels


def test_a_list_is_its_items(cases: Path) -> None:
    """A list column of Parquet is several locations (case 07)."""
    source = manifest(cases / "07-parquet-list-labels" / "manifest.parquet")
    assert {location for _, location in locations(source)} == {"Cytosol", "Actin filaments", "Nuclear membrane"}


def test_text_that_prints_a_list_is_a_list(tmp_path: Path) -> None:
    """Python and JSON print the same list; what cannot be told apart is refused."""
    path = tmp_path / "t.csv"
    for text in ("\"['Cytosol', 'ER']\"", '"[""Cytosol"", ""ER""]"'):
        path.write_text(f"gene,locations\nACTB,{text}\n")
        (of,) = read_label_table(path).locations.values()
        assert list(of) == ["Cytosol", "ER"]
    path.write_text("gene,locations\nACTB,['Cytosol' 'ER']\n")
    with pytest.raises(EmbstoreError, match="'locations' contains lists such as"):
        read_label_table(path)


def test_a_manifest_with_lists_of_numbers_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the table, as it does for a table of labels."""
    (tmp_path / "x.tif").write_bytes(b"")
    path = tmp_path / "m.csv"
    path.write_text('file,channels,locations\nx.tif,nucleus,"[4, 16]"\n')
    with pytest.raises(EmbstoreError, match=r"m\.csv is no table .* lists such as '\[4, 16\]'"):
        manifest(path)


def test_missing_values_are_no_names(tmp_path: Path) -> None:
    """nan and None are no gene, no location and no image; in a column of anything, `none` is a word (case 08)."""
    path = tmp_path / "t.csv"
    path.write_text("gene,locations\nACTB,Cytosol;nan\nnan,ER\nNone,None\n")
    said = read_label_table(path).locations
    assert {subject: list(of) for (_, _, subject), of in said.items()} == {"gene:ACTB": ["Cytosol"]}


@pytest.mark.parametrize("name", ["sep_line.csv", "utf16.csv", "cr_only.csv"])
def test_tables_as_spreadsheets_write_them_are_read(cases: Path, name: str) -> None:
    """A line sep=;, UTF-16 with its mark, and lines that end in CR alone (case 31)."""
    (image,) = manifest(cases / "31-csv-as-excel-writes-it" / name).images
    assert (image.key, image.roles, image.genes) == ("f1", ("nucleus", "protein"), ("ACTN1",))


def test_another_encoding_is_named_by_line_and_column(cases: Path) -> None:
    """Latin-1 is refused with the place of its first such byte (case 31)."""
    with pytest.raises(EmbstoreError, match=r"line 3, column \d+: byte 0x\w\w .* is no UTF-8; wanted UTF-8 text"):
        manifest(cases / "31-csv-as-excel-writes-it" / "latin1.csv")


def test_a_decimal_comma_is_a_number(cases: Path) -> None:
    """0,4 is 0.4 in a table of semicolons (case 31)."""
    (image,) = manifest(cases / "31-csv-as-excel-writes-it" / "decimal_comma.csv").images
    assert image.pixel_size_um == 0.4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('gene,locations\nACTB,"Cytosol\nLMNB1,ER\n', "cannot be read as a CSV from line 2 on"),
        ("gene,gene \nACTB,ER\n", "the column 'gene' more than once"),
        ("gene,locations\nAC\x00TB,ER\n", "line 2: a null byte"),
    ],
)
def test_a_table_that_is_damaged_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """An open quote, two columns of one name, a null byte: one line each."""
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(EmbstoreError, match=message):
        read_table(path)


def test_columns_are_known_by_the_names_that_people_use(tmp_path: Path) -> None:
    """A table of a spreadsheet goes in with its own headers, and a column without a name is no trouble."""
    path = tmp_path / "t.csv"
    path.write_text(",Gene name,Ensembl,Subcellular location\n0,ACTB,ENSG00000075624,Cytosol;ER\n")
    assert read_label_table(path).locations == {
        ("main", "protein", "ensembl:ENSG00000075624"): {"Cytosol": None, "ER": None}
    }
