"""The log of a command: what embstore did, line by line, to stderr or to a file."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore_cli.render import say

LOG_LINE = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
LOG_TIME = "%Y-%m-%d %H:%M:%S"


class _Stderr(logging.Handler):
    """Writes to stderr like every other message: above a progress bar, without control characters."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


class _OneLine(logging.Formatter):
    """One line for each record, whatever a file's name contains."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


@contextmanager
def logged(*, verbose: bool, file: Path | None) -> Iterator[None]:
    """Log what the library and the command do in this block, to stderr if `verbose`, and to the end of a file."""
    log = logging.getLogger("embstore")
    handlers = [*([_Stderr()] if verbose else []), *([_opened(file)] if file else [])]
    if not handlers:
        yield
        return
    before = log.level
    log.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(_OneLine(LOG_LINE, LOG_TIME))
        log.addHandler(handler)
    log.info("command: %s", shlex.join(["embstore", *sys.argv[1:]]))
    try:
        yield
    except EmbstoreError as error:
        if file:  # stderr gets it in any case
            log.error("%s", error)  # noqa: TRY400  # a line for people: a traceback would add nothing
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(before)


def _opened(file: Path) -> logging.Handler:
    try:
        return logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        line = f"cannot write the log {file}: {error.strerror}; name another file with --log"
        raise EmbstoreError(line) from error
