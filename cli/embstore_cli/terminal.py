"""The abilities of a terminal or a pipe: its encoding, its colours, and how it ends."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# replacements for characters that the stream's encoding lacks and that Unicode does not decompose
REPLACEMENTS = {"±": "+/-", "…": "...", "µ": "u", "μ": "u", "×": "x", "–": "-", "—": "-", "−": "-", "→": "->"} | {
    "≥": ">=",
    "≤": "<=",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "─": "-",
    "│": "|",
}
# categories of characters that a name may contain and that affect a terminal: controls, directions, line ends, halves
UNPRINTED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def prepare_streams() -> None:
    """Make stdout and stderr print a replacement for each character that their encoding lacks."""
    codecs.register_error("embstore.replace", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="embstore.replace")
    if not wants_colour():
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None  # help pages: Rich alone would keep bold


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_replacement, error.object[error.start : error.end])), error.end


def _replacement(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return REPLACEMENTS.get(character) or plain or "?"


def wants_colour() -> bool:
    """True unless NO_COLOR is set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def make_console(*, stderr: bool = False, force_terminal: bool | None = None) -> Console:
    """Return a console on stdout or stderr; with NO_COLOR it prints no style at all, not even bold."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "the reader of the pipe has ended")  # Rich's own would exit with 1

    colours: Literal["auto"] | None = "auto" if wants_colour() else None
    return Piped(stderr=stderr, force_terminal=force_terminal, highlight=False, emoji=False, color_system=colours)


def escaped(text: str) -> str:
    r"""Return the text with control characters written out (`\x1b`, `\n`), so that a name cannot control a terminal."""
    if text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in UNPRINTED else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def encodable(text: str, encoding: str) -> str:
    """Return the text as a stream of that encoding will show it, so that its width is known before it is printed."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _fits(c, encoding) else _replacement(c) for c in text)
    return text


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def flush_streams() -> None:
    """Write what is buffered; if the reader of a pipe has ended, discard the rest.

    Python would flush once more as it exits, and end with exit code 120 and a message.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            discard(stream)


def discard(stream: TextIO) -> None:
    """Make a stream whose reader has ended discard what is written to it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
