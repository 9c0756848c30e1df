"""Every SELECT that feeds Python states the order of its rows (STYLE, rule 2): found by reading the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from embstore.store import SQL_VIEWS

ROOT = Path(__file__).parents[1]
ROOMS = ("embstore", "cli", "benchmarks")
# read by other SQL, which orders what it returns: views, and parts that a file takes in as {name}
PARTS = {*SQL_VIEWS, "shown", "unit_labels"}
PARTS_IN_CODE = {'SELECT id FROM "x"'}  # of care/relations.py
COMMENT = re.compile(r"--[^\n]*")
STATEMENT = re.compile(r"\s*(SELECT|WITH|FROM)\b.*\b(FROM|SELECT)\b", re.DOTALL)


def is_ordered(sql: str) -> bool:
    """True if the outermost SELECT has an ORDER BY, or is an aggregate without groups: one row."""
    outer, shorter = "", COMMENT.sub("", sql)
    while shorter != outer:
        outer, shorter = shorter, re.sub(r"\([^()]*\)", "", shorter)
    one_row = re.search(r"\bSELECT\s+(count|sum|min|max)\b(?!.*GROUP BY)", outer, re.DOTALL)
    return "ORDER BY" in outer or bool(one_row)


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string; an f-string is one, with x in place of what it takes in."""
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.lineno, node.value


def statements() -> Iterator[tuple[str, str]]:
    """Yield where each SELECT of the source stands, and its text."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for line, text in literals(ast.parse(path.read_text(encoding="utf-8"))):
                if STATEMENT.match(COMMENT.sub("", text)) and text not in PARTS_IN_CODE:
                    yield f"{path.relative_to(ROOT)}:{line}", text
        for path in sorted((ROOT / room).rglob("*.sql")):
            if path.stem not in PARTS and not path.stem.startswith("verify_"):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_every_select_that_feeds_python_is_ordered() -> None:
    """Rows without an order come in another one on another day, and are then paired with the wrong vectors."""
    by_place = dict(statements())
    assert len(by_place) > 40
    assert [place for place, sql in by_place.items() if not is_ordered(sql)] == []


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT list(a ORDER BY a) FROM t GROUP BY b", False),
        ("SELECT count(*) AS n FROM t", True),
        ("SELECT count(*) AS n FROM t GROUP BY b", False),
        ("-- ORDER BY\nSELECT a FROM t", False),
    ],
)
def test_only_the_outermost_order_counts(sql: str, ordered: bool) -> None:
    assert is_ordered(sql) == ordered
