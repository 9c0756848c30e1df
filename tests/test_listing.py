"""A listing is a sequence, and prints as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from embstore.tabular import Listing


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
