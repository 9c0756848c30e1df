"""Print tables for people: as wide as the terminal, in a pipe as wide as their content."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from embstore_cli.layout import Column, Fitted, blocks, fit
from embstore_cli.terminal import encodable, escaped, make_console
from embstore_cli.values import column_texts

if TYPE_CHECKING:
    from rich.console import Console

Values = Mapping[str, Sequence[Any]]  # column -> its values, one for each row


def print_table(values: Values, *, title: str = "", dimmed: Sequence[bool] = (), whole: Collection[str] = ()) -> int:
    """Print columns of values to stdout; return how many columns fitted.

    Rows that are `dimmed` are faint. Columns named in `whole` are aligned like numbers, to the right, and never
    wrapped.
    """
    console = make_console()
    fitted = fit(_columns(values, console, whole), _width(console), ellipsis=_ellipsis(console))
    _print(console, fitted, title, dimmed)
    return len(fitted.columns)


def print_blocks(values: Values, *, keys: int, title: str = "") -> None:
    """Print columns of values to stdout, as several tables if one is too wide; each begins with the first `keys`."""
    console = make_console()
    for fitted in blocks(_columns(values, console, ()), _width(console), keys=keys, ellipsis=_ellipsis(console)):
        _print(console, fitted, title, ())
        title = " "  # an empty line


def print_text(text: str) -> None:
    """Print a line to stdout; at a terminal it is wrapped at words."""
    console = make_console()
    console.print(Text(_as_printed(text, console)), soft_wrap=not console.is_terminal)


def _width(console: Console) -> int | None:
    return console.width if console.is_terminal else None


def _ellipsis(console: Console) -> str:
    return encodable("…", console.encoding)


def _columns(values: Values, console: Console, whole: Collection[str]) -> list[Column]:
    return [
        Column(
            _as_printed(name, console),
            [_as_printed(text, console) for text in column_texts(column)],
            name in whole or any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in column),
        )
        for name, column in values.items()
    ]


def _as_printed(text: str, console: Console) -> str:
    return encodable(escaped(text), console.encoding)


def _print(console: Console, fitted: Fitted, title: str, dimmed: Sequence[bool]) -> None:
    if title:
        print_text(title.strip())
    _print_lines(console, fitted.header(), "bold")
    for at, lines in enumerate(fitted.rows()):
        _print_lines(console, lines, "dim" if dimmed and dimmed[at] else "")


def _print_lines(console: Console, lines: Sequence[str], style: str) -> None:
    for line in lines:
        console.print(Text(line, style), soft_wrap=True)
