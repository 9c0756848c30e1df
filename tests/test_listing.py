"""What public functions return prints in a few lines and is a safe HTML table in a notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TypedDict

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from embstore.tabular import Listing, Tabular

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
COLUMNS = st.dictionaries(st.text("abcdefgh<&_", min_size=1, max_size=40), st.lists(TEXT, min_size=9, max_size=9))


@dataclass(frozen=True, repr=False)
class Given(Tabular):
    table: pa.Table
    headline: str = "an answer"

    def to_arrow(self) -> pa.Table:
        return self.table


class Tags(HTMLParser):
    """Collects the tags of a page and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    return tags


def test_the_first_rows_are_printed_in_aligned_columns() -> None:
    """The headline, the names, five rows, and how many more there are."""
    answer = Given(pa.table({"gene": ["ACTN1", "B"] * 4, "similarity": [0.123456] * 8}))
    assert repr(answer).splitlines() == [
        "an answer",
        "gene   similarity",
        "ACTN1  0.1235",
        "B      0.1235",
        "ACTN1  0.1235",
        "B      0.1235",
        "ACTN1  0.1235",
        "... 3 more rows",
    ]


def test_an_answer_without_rows_is_its_headline() -> None:
    """No table of names alone at the prompt; in a notebook the columns are seen."""
    answer = Given(pa.table({"gene": pa.array([], pa.string())}))
    assert repr(answer) == "an answer"
    assert read(answer._repr_html_()).text == ["an answer", "gene"]
    assert read(Given(pa.table({}))._repr_html_()).tags == ["p"]


def test_values_are_text_that_a_reader_can_use() -> None:
    """Bytes by their number, lists by commas, nothing for None, lines joined, long text cut with an ellipsis."""
    row = {"a": b"\x00" * 9, "b": ["er", "golgi"], "c": None, "d": "two\nlines", "e": "x" * 99, "f": True, "g": 7}
    answer = Given(pa.Table.from_pylist([row]))
    values = repr(answer).splitlines()[2]
    assert re.split(" {2,}", values) == ["<9 bytes>", "er, golgi", "two lines", "x" * 23 + "…", "True", "7"]
    wide = Given(answer.table.rename_columns(["n" * 99, *"bcdefg"]), "h" * 200)
    assert [len(line) <= 120 for line in repr(wide).splitlines()] == [True] * 3


def test_columns_that_do_not_fit_a_line_are_left_out() -> None:
    """An ellipsis says so; a table of one wide column is still printed."""
    answer = Given(pa.table({f"column_{i:02}": ["x" * 20] for i in range(30)}))
    lines = repr(answer).splitlines()
    assert all(line.endswith("…") and len(line) <= 120 for line in lines[1:])


@given(COLUMNS, TEXT)
def test_any_table_prints_in_few_narrow_lines(columns: dict[str, list[str]], headline: str) -> None:
    """At most a headline, a header, five rows and what is left, whatever the values are."""
    lines = repr(Given(pa.table(columns), headline)).split("\n")
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 120


@given(COLUMNS, TEXT)
def test_html_escapes_names_values_and_headline(columns: dict[str, list[str]], headline: str) -> None:
    """A page has the tags of a table and no others: no value can add one."""
    page = read(Given(pa.table(columns), headline)._repr_html_())
    assert set(page.tags) <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags.count("td") == 9 * len(columns)


def test_html_has_the_first_twenty_rows() -> None:
    """A notebook stays light; the number of further rows is printed below."""
    page = read(Given(pa.table({"n": list(range(23))}))._repr_html_())
    assert page.tags.count("td") == 20
    assert page.text[-1] == "... 3 more rows"


class Tag(TypedDict):
    tag: str
    tables: int


@dataclass(frozen=True)
class Check:
    check: str
    result: str = "ok"


def test_a_listing_is_a_sequence_of_its_rows() -> None:
    """It is indexed, sliced, counted and gone through as a list."""
    tags: list[Tag] = [{"tag": "a", "tables": 3}, {"tag": "b", "tables": 4}]
    listing = Listing(tags, Tag, "tag")
    assert list(listing) == tags
    assert listing[1]["tables"] == 4
    assert listing[:1] == tags[:1]
    assert len(listing) == 2


def test_a_listing_prints_its_rows_and_their_number() -> None:
    """Rows are TypedDicts or dataclasses; the columns are those of their kind."""
    assert repr(Listing([Check("disk")], Check, "check")).splitlines() == ["1 check", "check  result", "disk   ok"]
    assert Listing([Check("disk")], Check, "check").to_arrow().to_pylist() == [{"check": "disk", "result": "ok"}]


def test_an_empty_listing_has_its_columns() -> None:
    """It prints as one line, and is false, as an empty list is."""
    listing = Listing[Tag]([], Tag, "tag")
    assert repr(listing) == "0 tags"
    assert listing.to_arrow().column_names == ["tag", "tables"]
    assert not listing
