"""Fit columns of text into the width of a terminal: wrap at words, shorten long ids in their middle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

SHORTEST_WORD = 12  # characters of a word (an id, a path) that are kept when it is shortened
MOST_LINES = 8  # of a row; a longer text is shown by its beginning and end
BREAKABLE = r".*?(?:[:/](?!/)|[-,;_])|.+"  # a line may end after these, within a word that is longer than a line
GAPS = (2, 1)  # spaces between columns; one if a table would not fit otherwise


@dataclass(frozen=True)
class Column:
    """One column of a table: its header, its cells as text, and whether they are numbers, which are never shortened."""

    name: str
    cells: Sequence[str]
    numeric: bool = False

    @property
    def widest(self) -> int:
        """Return the width of its widest cell."""
        return max(map(cell_len, self.cells), default=0)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Return its width unchanged; with its header wrapped; with its cells wrapped; with long words shortened."""
        header = max((cell_len(piece.rstrip()) for piece in _pieces(self.name)), default=0)
        longest = max((cell_len(word) for cell in self.cells for word in cell.split()), default=0)
        words = self.widest if self.numeric else longest
        short = self.widest if self.numeric else min(longest, SHORTEST_WORD)
        return (
            max(self.widest, cell_len(self.name)),
            max(self.widest, header),
            max(words, header),
            max(short, header),
        )


@dataclass(frozen=True)
class Fitted:
    """The columns that fit, the width of each, the spaces between them, and the ellipsis for omitted text."""

    columns: Sequence[Column]
    widths: Sequence[int]
    gap: int = GAPS[0]
    ellipsis: str = "…"

    def header(self) -> list[str]:
        """Return the lines of the header."""
        return self._aligned([_wrapped(_pieces(c.name), w) for c, w in zip(self.columns, self.widths, strict=True)])

    def rows(self) -> Iterator[list[str]]:
        """Yield the lines of each row."""
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield self._aligned([self._lines(cell, width) for cell, width in zip(cells, self.widths, strict=True)])

    def _lines(self, cell: str, width: int) -> list[str]:
        if cell_len(cell) <= width:
            return [cell]
        lines = _wrapped(_words(cell, width, self.ellipsis), width)
        return lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 2], self.ellipsis, lines[-1]]

    def _aligned(self, cells: Sequence[Sequence[str]]) -> list[str]:
        height = max(map(len, cells), default=0)
        padded = [[*lines, *[""] * (height - len(lines))] for lines in cells]
        return [self._line(line) for line in zip(*padded, strict=True)]

    def _line(self, texts: Sequence[str]) -> str:
        sized = [
            " " * (width - cell_len(text)) + text if column.numeric else set_cell_size(text, width)
            for column, text, width in zip(self.columns, texts, self.widths, strict=True)
        ]
        return (" " * self.gap).join(sized).rstrip()


def fit(columns: Sequence[Column], width: int | None, *, ellipsis: str = "…") -> Fitted:
    """Return the columns that fit into `width` (None: any), omitting columns from the right."""
    levels = [column.widths for column in columns]
    if width is None:
        return Fitted(columns, [level[0] for level in levels])
    for shown in range(len(columns), 0, -1):
        for gap in GAPS:
            widths = _fitting(columns[:shown], levels[:shown], width - gap * (shown - 1))
            if widths is not None:
                return Fitted(columns[:shown], widths, gap, ellipsis)
    return Fitted(columns[:1], [width], ellipsis=ellipsis)


def blocks(columns: Sequence[Column], width: int | None, *, keys: int, ellipsis: str = "…") -> Iterator[Fitted]:
    """Yield as many tables as all columns need; each begins with the first `keys` columns."""
    first, rest = list(columns[:keys]), list(columns[keys:])
    while rest:
        fitted = fit([*first, *rest], width, ellipsis=ellipsis)
        yield fitted
        rest = rest[max(1, len(fitted.columns) - keys) :]


def _fitting(columns: Sequence[Column], levels: Sequence[Sequence[int]], room: int) -> list[int] | None:
    """Return widths that sum to at most `room`, as large as possible; None if even the smallest do not fit."""
    for least, most in ((0, 0), (1, 0), (2, 1), (3, 2)):
        narrow = [level[least] for level in levels]
        if sum(narrow) <= room:
            return _grown(columns, narrow, [level[most] for level in levels], room)
    return None


def _grown(columns: Sequence[Column], narrow: Sequence[int], wide: Sequence[int], room: int) -> list[int]:
    """Return the widths, with the remaining room given to the columns that would need most lines."""
    widths = list(narrow)
    for _ in range(room - sum(widths)):
        needs = [
            max(column.widest, cell_len(column.name)) / width if width < most else 0.0
            for column, width, most in zip(columns, widths, wide, strict=True)
        ]
        if not any(needs):
            break
        widths[needs.index(max(needs))] += 1
    return widths


def _pieces(name: str) -> list[str]:
    """Return the parts of a header between which a line may end: after spaces, colons and underscores."""
    return re.findall(r"[^\s:_]*[\s:_]+|[^\s:_]+$", name)


def _words(text: str, width: int, ellipsis: str) -> Iterator[str]:
    """Yield the words of a text, each with what follows it.

    A word that is longer than a line is divided after its slashes, colons and hyphens; if these are too far apart, it
    is shortened.
    """
    for word in re.findall(r"\S+\s*", text):
        parts = re.findall(BREAKABLE, word)
        if cell_len(word.rstrip()) <= width:
            yield word
        elif all(cell_len(part.rstrip()) <= width for part in parts):
            yield from parts
        else:
            yield shortened(word.rstrip(), width, ellipsis) + " "


def _wrapped(pieces: Iterable[str], width: int) -> list[str]:
    """Return pieces of text, each with what follows it, joined to lines of at most `width` characters."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cell_len((lines[-1] + piece).rstrip()) <= width:
            lines[-1] += piece
        else:
            lines.append(piece)
    return [line.rstrip() for line in lines]


def shortened(word: str, width: int, ellipsis: str = "…") -> str:
    """Return a word of at most `width` characters, with an ellipsis in its middle if it was longer."""
    if cell_len(word) <= width:
        return word
    kept = max(0, width - len(ellipsis))
    return f"{word[: kept - kept // 2]}{ellipsis}{word[len(word) - kept // 2 :]}"
