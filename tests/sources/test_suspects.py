"""Suspects among the names of locations, and other names for them."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import openpyxl
import pytest

from embstore.errors import EmbstoreError
from embstore.sources.kaggle import KAGGLE_2018, KAGGLE_2021
from embstore.sources.labels import read_label_table
from embstore.sources.location_map import map_locations, read_location_map
from embstore.sources.record import Label
from embstore.sources.suspects import suspects
from embstore.sources.vocabulary import folded, vocabulary


def named(*locations: str, grade: int | None = None) -> list[Label]:
    return [Label("main", "protein", "p", location, grade, "t.csv") for location in locations]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ({"ER": 1, "Endoplasmic reticulum": 2}, "more than one name: Endoplasmic reticulum (2) = ER (1)"),
        ({"er": 3, "ER": 1}, "more than one name: er (3) = ER (1), HPA's Endoplasmic reticulum"),
        (
            {"plasma_membrane": 1, "Plasma  membranes": 1},
            "Plasma  membranes (1) = plasma_membrane (1), HPA's Plasma mem",
        ),
        ({"cell wall": 2, "Cell Walls": 1}, "more than one name: cell wall (2) = Cell Walls (1)"),
        ({"Nucleolus": 1, "Nucleoli": 4}, "more than one name: Nucleoli (4) = Nucleolus (1)"),
        ({"centrosome, cytoskeleton": 2}, "`;` would separate: centrosome, cytoskeleton (2): centrosome; cytoskeleton"),
        ({"ER/Golgi": 1}, "`;` would separate: ER/Golgi (1): ER; Golgi"),
        ({"bud": 1, "vacuole": 1, "bud and vacuole": 1}, "bud and vacuole (1): bud; vacuole"),
        ({"???": 2, "ER?": 1}, "question marks among the locations: ??? (2), ER? (1)"),
        ({"Mitochondira": 1}, "nearly a published name: Mitochondira (1, Mitochondria?)"),
        ({"cell wall": 1}, "no vocabulary knows (HPA, OpenCell, Kaggle, SubCell): cell wall (1)"),
    ],
)
def test_a_doubtful_name_is_a_suspect(names: dict[str, int], note: str) -> None:
    """Spelling variants, synonyms, joined names, question marks, and names that nobody publishes."""
    assert any(note in line for line in suspects(names))


def test_published_names_are_no_suspects(samples: Path) -> None:
    """Every location of HPA, OpenCell, the Kaggle competitions and SubCell's groupings is known, and has one name."""
    for name in ("hpa_subcellular_location.tsv", "opencell_public_annotations_flat.csv"):
        table = read_label_table(samples / "labels" / name).locations
        assert suspects(Counter(location for located in table.values() for location in located)) == ()
    assert suspects(dict.fromkeys(KAGGLE_2018, 1)) == suspects(dict.fromkeys(KAGGLE_2021, 1)) == ()
    for groups in vocabulary().groups.values():
        assert suspects(dict.fromkeys(groups.values(), 1)) == ()


def test_a_comma_in_a_name_is_a_suspect_only_between_known_names(samples: Path) -> None:
    """Of a spatial-proteomics map with commas in its names, those that join two known locations are named."""
    with gzip.open(samples / "embeddings" / "prolocdata" / "orre2019a431.csv.gz", "rt", encoding="utf-8") as file:
        joined = suspects(Counter(row["markers"] for row in csv.DictReader(file)))[0]
    assert joined.endswith("ER, Mitochondrion (251): ER; Mitochondrion, ER, peroxisome (351): ER; peroxisome")


def test_the_vocabulary_is_that_of_the_published_tables(samples: Path) -> None:
    """Names and groups agree with HPA's own table and with SubCell's groups; Kaggle's are spelled as HPA's."""
    with (samples / "labels" / "subcell_location_group_mapping.tsv").open(newline="") as file:
        rows = {row["Original annotation"]: row for row in csv.DictReader(file, delimiter="\t")}
    columns = {"subcell-1": "Grouping 1", "subcell-2": "Grouping 2", "subcell-3": "Grouping 3"}
    columns |= {"subcell-dl2": "Grouping dl2", "subcell-opencell": "Grouping OpenCell"}
    for grouping, column in columns.items():
        wanted = {name: row[column] for name, row in rows.items() if row[column]}
        assert vocabulary().groups[grouping] == wanted
    hpa = {
        location
        for located in read_label_table(samples / "labels" / "hpa_subcellular_location.tsv").locations.values()
        for location in located
    }
    assert set(vocabulary().means.values()) - {""} == hpa
    of_no_location = {"Microtubule organizing center", "Vesicles and punctate cytosolic patterns", "Negative"}
    assert set(KAGGLE_2018 + KAGGLE_2021) - hpa == of_no_location
    assert all(vocabulary().spelled[folded(name)] for name in KAGGLE_2018 + KAGGLE_2021)


def test_a_map_renames_joins_splits_and_leaves_out(tmp_path: Path) -> None:
    """One name becomes another, several, or none; two names that become one keep the higher grade."""
    (tmp_path / "m.csv").write_text('from,to\nER,er\n???,\n"golgi, er",golgi;er\nnowhere,x\n')
    mapped = map_locations(
        [*named("ER", grade=1), *named("er", grade=3), *named("???", "golgi, er", "tubes")],
        read_location_map(tmp_path / "m.csv"),
    )
    assert {label.location: label.grade for label in mapped.labels} == {"er": 3, "golgi": None, "tubes": None}
    assert mapped.renamed == {
        ("main", "ER"): (("er",), 1),
        ("main", "???"): ((), 1),
        ("main", "golgi, er"): (("golgi", "er"), 1),
    }
    assert "'ER' -> er, '???' -> left out, 'golgi, er' -> golgi; er" in mapped.notes[0]
    assert mapped.notes[1].endswith("names of {} that no label has: 1 (nowhere)".format(tmp_path / "m.csv"))


def test_published_maps_give_hpas_spelling_or_a_group(samples: Path) -> None:
    """`hpa` renames what it knows and keeps the rest; a grouping leaves out what is in no group."""
    mapped = map_locations(named("er", "Golgi complex", "tubes", "nuclear_membrane"), read_location_map("hpa"))
    names = [label.location for label in mapped.labels]
    assert names == ["Endoplasmic reticulum", "Golgi apparatus", "tubes", "Nuclear membrane"]
    grouped = map_locations(named("Endosomes", "lysosomes", "Midbody"), read_location_map("subcell-2"))
    assert [label.location for label in grouped.labels] == ["Vesicles"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("old,new\n", "has the columns old, new; wanted from and to"),
        ("old,new\nER,er\n", "has the columns old, new; wanted from and to"),
        ("from,to\nER,er\nER,golgi\n", "line 3: 'ER' becomes 'golgi', and 'er' above"),
        (None, "no file or published map of locations .* choose from: hpa, subcell-1"),
    ],
)
def test_a_map_of_two_meanings_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(EmbstoreError, match=message):
        read_location_map(tmp_path / "m.csv")


def test_a_folder_named_like_a_published_map_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hpa` stays the published one; another folder is no map."""
    monkeypatch.chdir(tmp_path)
    for folder in ("hpa", "m"):
        (tmp_path / folder).mkdir()
    assert map_locations(named("er"), read_location_map("hpa")).labels == tuple(named("Endoplasmic reticulum"))
    with pytest.raises(EmbstoreError, match="no file or published map of locations"):
        read_location_map("m")


def test_a_map_is_a_sheet_of_a_workbook(tmp_path: Path) -> None:
    """Named as the sheets of other tables are; the columns of an empty sheet are checked too."""
    book = openpyxl.Workbook()
    book.active.title = "names"
    for row in (("from", "to"), ("ER", "er")):
        book.active.append(row)
    book.create_sheet("empty").append(("old", "new"))
    book.save(tmp_path / "m.xlsx")
    assert map_locations(named("ER"), read_location_map(f"{tmp_path}/m.xlsx::names")).labels == tuple(named("er"))
    with pytest.raises(EmbstoreError, match="has the columns old, new; wanted from and to"):
        read_location_map(f"{tmp_path}/m.xlsx::empty")


@pytest.mark.parametrize("path", ["cli/embstore_cli/choices.py", "docs/external.md", "embstore/ingest/run.py"])
def test_every_published_map_is_named_where_maps_are_offered(path: str) -> None:
    text = (Path(__file__).parents[2] / path).read_text()
    assert [name for name in ("hpa", *vocabulary().groups) if name not in text] == []
