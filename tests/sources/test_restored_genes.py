"""The gene symbols that a spreadsheet's dates probably were, and where they are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.sources.columns import notes_on_genes
from embstore.sources.labels import read_label_table
from embstore.sources.layouts import read_source
from embstore.sources.restored_genes import probable_symbols


@pytest.mark.parametrize(
    ("name", "symbols"),
    [
        ("2-Sep", ["SEPTIN2"]),
        ("1-Mar", ["MARCHF1", "MTARC1"]),
        ("Mar-01", ["MARCHF1", "MTARC1"]),
        ("Sep-2002", ["SEPTIN2"]),
        ("10. Mrz", ["MARCHF10"]),
        ("3-sept.-2019", ["SEPTIN3"]),
        ("1-Dec", ["DELEC1"]),
        ("15-Sep", ["SELENOF"]),
        ("4-Oct", ["POU5F1"]),
        ("43892", ["MARCHF2", "MTARC2"]),  # 2 March 2020
        ("42614.0", ["SEPTIN1"]),  # 1 September 2016
        ("2020-03-01 00:00:00", ["MARCHF1", "MTARC1"]),
        ("9/7/2021", ["SEPTIN7"]),
        ("3/9/21", ["MARCHF9", "SEPTIN3"]),  # month first, or day first
        ("2.31E+13", ["a RIKEN clone, such as 2310009E13Rik"]),
        ("12-Mar", []),
        ("44000", []),  # 18 June 2020
    ],
)
def test_a_date_is_the_symbol_that_it_was_made_of(name: str, symbols: list[str]) -> None:
    """The month gives the family and the day its number; counts of days and years of two digits too."""
    assert probable_symbols(name) == symbols


def test_every_reader_reports_the_symbols(tmp_path: Path) -> None:
    """In tables of labels, manifests and OpenCell's annotations; DEC1 is a symbol."""
    note = "1 gene names look as if a spreadsheet had changed them (2-Sep: SEPTIN2); restore them"
    tables = {
        "own.csv": "gene,location\n2-Sep,er\nDEC1,er\n",
        "hpa.tsv": "Gene\tGene name\tMain location\nENSG00000000003\t2-Sep\tCytosol\n",
        "opencell.csv": "ensg_id,target_name,annotation_name,annotation_grade\nENSG00000000003,2-Sep,er,3\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
        assert note in read_label_table(tmp_path / name).notes
    (tmp_path / "f_d.tif").touch()
    (tmp_path / "manifest.csv").write_text("nucleus,gene\nf_d.tif,2-Sep\n")
    assert note in read_source(tmp_path, "manifest", None).notes
    assert note in read_source(tmp_path / "f_d.tif", "opencell", tmp_path / "opencell.csv").notes


def test_a_case_of_many_kinds_is_reported_with_symbols(cases: Path) -> None:
    """The genes of case 10: two days, a count of days and a power of ten; ACTB and DEC1 are not among them."""
    lines = (cases / "10-excel-date-genes" / "profiles.csv").read_text().splitlines()
    column = lines[0].split(",").index("gene")
    (note,) = notes_on_genes(line.split(",")[column] for line in lines[1:])
    assert note.startswith("4 gene names")
    for pair in ("2-Sep: SEPTIN2", "1-Mar: MARCHF1 or MTARC1", "43892: MARCHF2 or MTARC2", "2.31E+13: a RIKEN clone"):
        assert pair in note
