"""The documents as tests read them: their blocks, and their commands, typed unchanged."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from .conftest import run_embstore

ROOT = Path(__file__).parents[2]


class Typed(NamedTuple):
    """One command of a page, and what it printed."""

    command: str
    out: str
    err: str
    code: int


def page(name: str) -> str:
    """The text of a document, named by its path from the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The `embstore` commands of a page's bash blocks, in order, with continued lines joined."""
    lines = [line for block in blocks(text, "bash") for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return [line for line in lines if line.startswith("embstore ")]


def type_commands(lines: list[str], folder: Path, samples: Path) -> list[Typed]:
    """Type each command in a folder, as a reader would who has set EMBSTORE_SAMPLES."""
    typed = []
    for line in lines:
        words = shlex.split(line.replace("$EMBSTORE_SAMPLES", str(samples)), comments=True)[1:]
        done = run_embstore(*words, cwd=folder)
        typed.append(Typed(line, done.stdout, done.stderr, done.returncode))
    return typed


def assert_all_work(typed: list[Typed]) -> None:
    """Every command exits 0 and prints something."""
    for command, out, err, code in typed:
        assert code == 0, f"{command}\n{err}"
        assert out.strip(), command
