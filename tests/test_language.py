"""Code, docs and messages are in plain English: one word per thing, nouns as names (see the lists below).

Files that are not clean yet are listed in `not_yet_plain.txt`; a file that has become clean must leave the list.
`python tests/test_language.py` prints what is wrong, file by file; with `--update`, it takes clean files off the list.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_YET_PLAIN = Path(__file__).with_name("not_yet_plain.txt")
FOLDERS = ("embstore", "cli", "benchmarks", "tests", "docs")
SUFFIXES = (".py", ".md", ".sql", ".toml")
TOP_FILES = ("README.md", "Makefile", "pyproject.toml")
# a released version of the simulator keeps its code, names and comments
FROZEN = ("embstore/phantom/v1/",)

# word in prose -> what to write
WORDS = {
    r"brought": "external, imported",
    r"dyed|dyes? a": "stained",
    r"floors?": "baseline (of scores), layer (of packages)",
    r"laws?": "simulator version",
    r"doors?": "reader, only module that",
    r"mend(s|ed|ing)?": "repair",
    r"recut": "re-segmented",
    r"parted|parts? (?=them|ids|names|words|fields)": "separated by, splits",
    r"(tell|tells|told|telling) (\w+ )?apart": "distinguish",
    r"tells? whether": "True if",
    r"(say|says|said|saying)": "report, state, mean",
    r"(hold|holds|holding)": "contain, keep, have",
    r"(is|are|was|were) not there": "is missing",
    r"(is|are|was|were) there(?= already| before| no more|[.,;:)]|$)": "exists, is present",
    r"no more(?= (in|there|of))": "no longer",
    r"goes (in|into|in front|before|on)": "is added, takes precedence over, continues",
    r"went (in|into)": "was ingested",
    r"without a word": "without warning",
    r"stands? (in|beside|below|above|here|there|first|alone|under|after|before|between|at|on)": "is",
    r"for ever": "forever",
    r"thereof|therein|whereof|wherein": "of it, in it",
}
PROSE = [
    (re.compile(rf"(?<![\w`.-])({word})(?![\w`-])", re.IGNORECASE), word, better) for word, better in WORDS.items()
]

# a variable, argument or function with such a name says nothing about its value
NAMES = ("found", "some", "held", "said", "there", "of", "its")
PARTS = ("brought", "dyed", "marker", "floor", "law", "door", "mend", "mended", "parted", "recut", "told", "said")

# text that is exempt, and why; each is taken out before words are looked for
EXEMPT_TEXT = {
    r"`[^`\n]*`|``.*?``": "code in prose, such as a column's name",
    r"\"\w+\"|\bSELECT\b[^\n]*": "values and SQL, such as columns of a store",
    r"```.*?```": "code blocks",
    r"\bas brought\b": "recorded in the spaces of external embeddings",
    r"dealt by rarest location, ties by md5\(seed:group\), mended by chi-square moves": "part of stored splits",
    r"\bthe law of large numbers\b": "its name",
    r"\b(holds?|holding) (a|the|this|its|no) (\w+ )?(lock|semaphore|GIL)\b": "the usual verb for locks",
    r"\b(hold|holds|held) (\w+ )?(open|back|still|up)\b": "the usual verbs",
    r"\b(floors?|ceilings?) (of|at) \d": "numbers",
    r"\bsays? so\b": "an idiom",
}
EXEMPTIONS = re.compile("|".join(EXEMPT_TEXT), re.DOTALL)

# names that are exempt, and why
EXEMPT_NAMES = {
    "floor": "`entries.floor` is a column of every store, and NumPy's and math's function",
    "floor_divide": "NumPy's function",
    "found": "`ImageError.found`: what was found, the first part of their messages",
    "law": "the frozen module `phantom/v1/law.py`",
    "marker": "pytest's and XML's word",
    "markers": "pytest's word",
}
# where these are exempt: as a field, an attribute or a keyword argument, not as a variable
ONLY_AS_PART_OF_ANOTHER = ("found", "floor", "law", "floor_divide")


def files() -> list[Path]:
    """Return the files whose language is checked, in order of path."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    paths = [*below, *(ROOT / name for name in TOP_FILES)]
    return sorted(path for path in paths if not name_of(path).startswith(FROZEN) and path != Path(__file__))


def name_of(path: Path) -> str:
    """Return a path relative to the repository, as the list spells it."""
    return path.relative_to(ROOT).as_posix()


def problems(path: Path) -> list[str]:
    """Return what is wrong with the language of a file, one line each."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return [*_in_prose(_python_prose(text)), *_in_names(text)]
    if path.suffix == ".md":
        return list(_in_prose([(1, text)]))
    comment = "--" if path.suffix == ".sql" else "#"
    lines = [(n, line.partition(comment)[2]) for n, line in enumerate(text.splitlines(), 1) if comment in line]
    if path.name == "tables.toml":  # its values are the text of docs/tables.md
        return list(_in_prose([(1, text)]))
    return list(_in_prose(lines))


def _python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment, and of each string that has a blank and so is not a key or a name."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT" or (kind in ("STRING", "FSTRING_MIDDLE") and re.search(r"\s", token.string)):
            yield token.start[0], token.string


def _in_prose(parts: Iterator[tuple[int, str]] | list[tuple[int, str]]) -> Iterator[str]:
    for line, text in parts:
        plain = EXEMPTIONS.sub(lambda match: "\n" * match[0].count("\n"), text)
        for pattern, _, better in PROSE:
            for match in pattern.finditer(plain):
                yield f"{line + plain.count(chr(10), 0, match.start())}: {match[0]!r} (write: {better})"


def _in_names(text: str) -> Iterator[str]:
    for line, name, as_part in _names(ast.parse(text)):
        exempt = name in EXEMPT_NAMES and (as_part or name not in ONLY_AS_PART_OF_ANOTHER)
        if not exempt and (name in NAMES or set(PARTS).intersection(name.lower().split("_"))):
            yield f"{line}: the name {name}"


def _names(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Yield line and name of whatever a module names, and whether it is a field, an attribute or a keyword."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {id(line.target) for node in classes for line in node.body if isinstance(line, ast.AnnAssign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id, id(node) in fields
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, False
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name, False
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr, True
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg, True


def not_yet_plain() -> list[str]:
    """Return the names of the files that are known not to be clean."""
    lines = NOT_YET_PLAIN.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def dirty() -> dict[str, list[str]]:
    """What is wrong with the language of each file that is not clean."""
    return {name_of(path): lines for path in files() if (lines := problems(path))}


def test_files_are_in_plain_english(dirty: dict[str, list[str]]) -> None:
    """No file has any of the words and names above, except those that are listed."""
    assert {name: lines for name, lines in dirty.items() if name not in not_yet_plain()} == {}


def test_the_list_only_gets_shorter(dirty: dict[str, list[str]]) -> None:
    """A file that has become clean has left the list (`python tests/test_language.py --update` removes it)."""
    assert [name for name in not_yet_plain() if name not in dirty] == []


def test_every_listed_file_exists() -> None:
    """The list names no file that was moved or deleted."""
    assert [name for name in not_yet_plain() if not (ROOT / name).is_file()] == []


def test_words_are_found_where_they_are() -> None:
    """Comments, strings, docstrings and names are searched; code in backticks and exempt names are not."""
    assert len(problems_of('def f():\n    """Tell whether it is."""\n    found = 1  # it says more')) == 3
    assert problems_of('x = {"floor": 1, "a": np.floor(2)}  # `entries.floor`') == []
    assert problems_of("found = error.found") == ["1: the name found"]
    assert problems_of('raise ValueError(f"{n} rows went in")')[0].startswith("1: 'went in'")


def problems_of(text: str) -> list[str]:
    """Return what is wrong with the language of a piece of Python."""
    return [*_in_prose(_python_prose(text)), *_in_names(text)]


if __name__ == "__main__":
    listed = not_yet_plain()
    dirty = {name_of(path): lines for path in files() if (lines := problems(path))}
    if "--update" in sys.argv:
        head = [line for line in NOT_YET_PLAIN.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        kept = [name for name in listed if name in dirty]
        NOT_YET_PLAIN.write_text("\n".join([*head, *kept]) + "\n", encoding="utf-8")
    for name, lines in dirty.items():
        if not sys.argv[1:] or any(name.startswith(start) for start in sys.argv[1:]):
            print(*(f"{name}:{line}" for line in lines), sep="\n")
