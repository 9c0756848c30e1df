"""Embeddings in Excel workbooks, columns under a user's own names, and numbers whose marks are not plain."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from embstore.errors import EmbstoreError
from embstore.sources.vector_columns import Columns, with_names
from embstore.sources.vectors import ExternalEmbeddings, read_vectors


def read(folder: Path, rows: list[list[object]], columns: Columns) -> ExternalEmbeddings:
    """Write rows as a workbook and read it."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(folder / "v.xlsx")
    return read_vectors(folder / "v.xlsx", columns)


def test_typed_cells_are_vectors_and_names(tmp_path: Path) -> None:
    """An index that pandas wrote is no feature, an empty or wrong cell is a missing number, 12.0 is the id 12."""
    rows = [
        [None, "id", "gene", "loc", "f1", "f2"],
        [0, 12.0, "A", "ER; Golgi", 1, 0.5],
        [1, "x", "nan", None, 2.5, None],
        [2, None, "C", "-", "#N/A", 1e300],
        [3, "y", "D", "ER", 4, -1],
        [4, "z", "E", "ER", 5, -1],
    ]
    embeddings = read(tmp_path, rows, Columns(identifier="id", gene="gene", label="loc"))
    assert (embeddings.ids[:3], embeddings.genes[:3]) == (["12", "x", ""], ["A", "", "C"])
    assert embeddings.locations[:3] == [["ER", "Golgi"], [], []]
    assert str(embeddings.vectors.tolist()) == "[[1.0, 0.5], [2.5, nan], [nan, inf], [4.0, -1.0], [5.0, -1.0]]"
    assert embeddings.sources([0, 4]) == ["2", "6"]
    assert embeddings.notes[1] == "no features: '' (an index)"


def test_a_sheet_without_a_header_and_one_of_several_are_read(tmp_path: Path) -> None:
    """As CSV is: columns are called 1, 2, ...; `v.xlsx::SHEET` names a sheet."""
    assert read(tmp_path, [["A", 1.5], ["B", 3]], Columns(gene="1", header=False)).vectors.tolist() == [[1.5], [3.0]]
    book = openpyxl.Workbook()
    book.active.append(["x"])
    book.create_sheet("b").append(["f"])
    book["b"].append([7])
    book.save(tmp_path / "v.xlsx")
    assert read_vectors(tmp_path / "v.xlsx::b", Columns()).vectors.tolist() == [[7.0]]


def test_numbers_that_are_stored_as_text_are_read_where_their_marks_are_proven(tmp_path: Path) -> None:
    """Excel marks them with a green corner: 1.234,5 proves its comma, 1,234 alone does not."""
    rows: list[list[object]] = [["gene", "f1", "f2"], ["A", "1.234,5", " 2 "], ["B", "7", "nan"]]
    assert str(read(tmp_path, rows, Columns(gene="gene")).vectors.tolist()) == "[[1234.5, 2.0], [7.0, nan]]"
    for text in ("1,234", "3 µm"):
        with pytest.raises(EmbstoreError, match=rf"column 'f1' contains text such as '{text}'"):
            read(tmp_path, [["gene", "f1"], ["A", text], ["B", 2]], Columns(gene="gene"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene;f\nA;1.234,5\nB;2,5\n", "contains text such as '1.234,5', with a mark between thousands"),
        ('gene,f\nA,"1,234"\nB,3\n', "contains text such as '1,234', with a mark between thousands"),
        ("gene\tf\nA\t1,234\nB\t22,345\n", "has numbers such as 1,234, which can be read in two ways"),
        ("gene;f\nA;1 234,5\nB;2,5\n", "contains text such as '1 234,5', with a mark between thousands"),
    ],
)
def test_marks_between_thousands_in_text_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """A tab-separated 1,234 was read as 1.234."""
    (tmp_path / "v.csv").write_text(text)
    with pytest.raises(EmbstoreError, match=message):
        read_vectors(tmp_path / "v.csv", Columns(gene="gene"))


def test_a_decimal_comma_that_some_number_proves_is_one_in_all(tmp_path: Path) -> None:
    """0,345 has no thousands."""
    (tmp_path / "v.tsv").write_text("gene\tf\nA\t1,234\nB\t0,345\n")
    assert read_vectors(tmp_path / "v.tsv", Columns(gene="gene")).vectors.ravel().tolist() == pytest.approx(
        [1.234, 0.345], rel=1e-6
    )


def test_columns_are_found_under_their_own_names(tmp_path: Path) -> None:
    """Another column of the same meaning is left out and reported; the label set is called `locations`."""
    (tmp_path / "v.csv").write_text("My symbol,gene,Where is it?,f\nA,z,ER,1\nB,y,,2\n")
    columns = with_names(Columns(), {"My symbol": "gene", "Where is it?": "locations"})
    embeddings = read_vectors(tmp_path / "v.csv", columns)
    assert (embeddings.genes, embeddings.locations, columns.scheme) == (["A", "B"], [["ER"], []], "locations")
    assert embeddings.notes[:2] == (
        "column My symbol read as gene; gene of the same meaning left out",
        "column Where is it? read as locations",
    )
    with pytest.raises(EmbstoreError, match="no column 'x'"):
        read_vectors(tmp_path / "v.csv", with_names(Columns(), {"x": "gene"}))
    with pytest.raises(EmbstoreError, match="the name 'well'; wanted one of: ensg_id, uniprot_id, gene, locations"):
        with_names(Columns(), {"x": "well"})
    with pytest.raises(EmbstoreError, match=r"the columns 'g' and 'x' are given one meaning \(gene\)"):
        with_names(Columns(gene="g"), {"x": "gene"})
