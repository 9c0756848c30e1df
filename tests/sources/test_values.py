"""One cell of a table means the same in every kind of file."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.sources.values import MISSING, as_text, clean_name, is_missing, looks_like_list, spelled_missing


@pytest.mark.parametrize(
    "value", [None, "", "  ", "nan", "NaN", "None", "NA", "N/A", "<NA>", "null", "#N/A", "NaT", "-"]
)
def test_missing_is_missing_in_every_spelling(value: str | None) -> None:
    """A missing value is no gene, no id and no location, whoever wrote it."""
    assert as_text(value) == ""


@pytest.mark.parametrize(
    "value", [float("nan"), np.float64("nan"), np.float32("nan"), np.datetime64("NaT"), Decimal("NaN"), b"nan"]
)
def test_a_typed_missing_value_is_missing(value: object) -> None:
    """So it is where the file has types."""
    assert as_text(value) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.0, "12"),
        (np.float32(12), "12"),
        (Decimal("12.00"), "12"),
        (0.5, "0.5"),
        (1e300, "1e+300"),
        (np.int64(7), "7"),
        ("007", "007"),
        ("1.0", "1.0"),
        (True, "True"),
        (b"ACTB", "ACTB"),
        (np.bytes_(b"ACTB"), "ACTB"),
        (date(2024, 9, 2), "2024-09-02"),
        (datetime(2024, 9, 2), "2024-09-02"),
        (["Cytosol", None, "Golgi, Endo"], "Cytosol;Golgi, Endo"),
        (np.array(["a", "b"]), "a;b"),
        ("['Cytosol', 'Actin filaments']", "Cytosol;Actin filaments"),
        ('["Cytosol", "nan"]', "Cytosol"),
        ("('Cytosol',)", "Cytosol"),
        ("[]", ""),
        ("[1, 2]", "[1, 2]"),
        ("['Cytosol' 'ER']", "['Cytosol' 'ER']"),
        ("[ER]", "[ER]"),
        ("\u00a0ACTB\u200b", "ACTB"),
        ("NANOG", "NANOG"),
        ("NANS", "NANS"),
    ],
)
def test_a_cell_is_its_text(value: object, text: str) -> None:
    """Whole floats are whole numbers, lists are joined, text that prints a list is that list, all else stays."""
    assert as_text(value) == text


@given(st.text(st.characters(blacklist_characters="[](){}", blacklist_categories=["Cs", "Cc", "Z", "Cf"]), min_size=1))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Nothing but missing values, lists and blanks around a text is touched."""
    assert as_text(text) == ("" if text.lower() in MISSING else text)


def test_spellings_are_counted() -> None:
    """What counts as missing can be reported with an example; an empty cell needs no word."""
    assert spelled_missing(["nan", "", "ACTB", " NA ", "nan"]) == {"nan": 2, "NA": 1}
    assert is_missing(" null ")
    assert looks_like_list("[1, 2]")
    assert not looks_like_list("Golgi [cis]")


def test_names_of_columns_lose_what_cannot_be_seen() -> None:
    """A column is found whatever blanks, marks of order or zero-width characters came with its name."""
    assert [clean_name(name) for name in (" gene", "\ufeffgene", "gene\u00a0name ", "ge\u200bne")] == [
        "gene",
        "gene",
        "gene name",
        "gene",
    ]
