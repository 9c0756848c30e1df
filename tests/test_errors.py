"""A name that does not exist is answered with those that do, or with the nearest of many."""

from __future__ import annotations

from embstore.errors import choices, nearest


def test_a_few_names_are_listed_whole_and_many_by_their_spelling() -> None:
    """Twenty-four names are listed; of more, the five that are spelled most alike, in capitals or not."""
    names = [f"GENE{i}" for i in range(24)]
    assert choices("x", "gene", names, "here") == f"there is no gene 'x' here; choose from: {', '.join(sorted(names))}"
    line = choices("acntb", "gene", [*names, "ACTB", "ACTN1"])
    assert line.startswith("there is no gene 'acntb'; the nearest of 26 are: ACTB, ACTN1, ")
    assert line.count(",") == 4
    assert choices("x", "tag", ()) == "there is no tag 'x'; choose from: none yet"


def test_nearest_names_need_not_be_near() -> None:
    """Some are always given, so that a reader sees what a name is like."""
    assert nearest("zzz", ["ACTB"]) == ["ACTB"]
    assert nearest("", []) == []
