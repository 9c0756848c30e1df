"""Tables of any columns in any width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embstore_cli.layout import SHORTEST_WORD, Column, blocks, fit, shortened
from embstore_cli.values import column_texts, in_words, number, spread

WORDS = st.text("abcdefg:-/", min_size=1, max_size=30)
CELLS = st.lists(st.lists(WORDS, max_size=5).map(" ".join), min_size=2, max_size=2)
COLUMNS = st.lists(st.builds(Column, WORDS, CELLS), min_size=1, max_size=8)


@given(COLUMNS, st.integers(40, 120))
def test_no_line_is_wider_than_the_terminal(columns: list[Column], width: int) -> None:
    """Headers and rows fit, and one row has at most eight lines."""
    fitted = fit(columns, width)
    rows = list(fitted.rows())
    assert all(len(line) <= width for lines in (fitted.header(), *rows) for line in lines)
    assert all(len(lines) <= 8 for lines in rows)


@given(COLUMNS, st.integers(40, 120))
def test_letters_are_never_stacked(columns: list[Column], width: int) -> None:
    """A column is as wide as its longest word, or at least twelve characters, where a word was shortened."""
    fitted = fit(columns, width)
    for column, given_width in zip(fitted.columns, fitted.widths, strict=True):
        longest = max((len(word) for cell in column.cells for word in cell.split()), default=0)
        assert given_width >= min(longest, SHORTEST_WORD)


@given(COLUMNS)
def test_a_pipe_gets_every_row_as_one_line(columns: list[Column]) -> None:
    """Without a width nothing is wrapped, shortened or left out."""
    fitted = fit(columns, None)
    assert len(fitted.columns) == len(columns)
    lines = list(fitted.rows())
    assert [len(row) for row in lines] == [1, 1]
    assert all(column.cells[at] in lines[at][0] for at in range(2) for column in columns)


@given(COLUMNS, st.integers(40, 80))
def test_blocks_show_every_column_once(columns: list[Column], width: int) -> None:
    """The key is in each block; together they contain all columns, in order."""
    key = Column("key", ["a", "b"])
    shown = [column for block in blocks([key, *columns], width, keys=1) for column in block.columns[1:]]
    assert [column.name for column in shown] == [column.name for column in columns]


def test_numbers_are_whole_and_to_the_right() -> None:
    """A number is never wrapped or cut: the column beside it gives way."""
    columns = [Column("id", ["a" * 60, "b" * 60]), Column("n", ["12345678901234567890", "1"], numeric=True)]
    first, second = fit(columns, 40).rows()
    assert first[0].endswith("12345678901234567890")
    assert second[0].endswith(" " * 19 + "1")
    assert "…" in first[0]


def test_long_words_are_shortened_in_their_middle() -> None:
    """Beginning and end stay, because they distinguish ids."""
    assert shortened("opencell-3f2a9c", 9) == "open…2a9c"
    assert shortened("short", 9) == "short"


def test_small_numbers_are_not_zero() -> None:
    """What would be 0.000 keeps two digits; zero is 0, without a sign; a column has the same decimals."""
    assert [number(n) for n in (0.0004, -0.0004, 3e-9, 0.5)] == ["0.0004", "-0.0004", "3e-09", "0.500"]
    assert [number(n) for n in (0.0, -0.0)] == ["0", "0"]
    assert column_texts([1.5, 0.25, None, 2.0]) == ["1.50", "0.25", "", "2.00"]
    assert column_texts([140.0, 118.5]) == ["140.0", "118.5"]


def test_a_spread_of_one_seed_says_so() -> None:
    """There is no ± over one seed; equal scores have a spread of 0, not of rounding."""
    assert spread(0.4, None) == "0.400 one seed"
    assert spread(0.4, 0.0123) == "0.400 ± 0.012"
    assert spread(0.4, 3e-17) == "0.400 ± 0"


def test_values_are_words() -> None:
    """No brackets, quotes or capitals of Python."""
    assert in_words({"depth": 6, "positions": True, "drop": None}) == "depth 6, positions yes, drop "
    assert in_words(("nucleus", "protein")) == "nucleus, protein"
    assert in_words([{"a": 1}, {"a": 2}]) == "a 1; a 2"
    assert in_words(list(range(20))) == "0, 1, 2, ... 20 in all"
