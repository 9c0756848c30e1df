"""SQL of users is answered by a process of its own, which ends where its query cannot be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from time import monotonic

import pytest

from embstore.care.remove import remove
from embstore.errors import QueryError, QueryLimitError
from embstore.store import Store, query, query_process, select, select_in_process

# one call of a function that would fill two gigabytes, in a second or many
ENDLESS = "lpad('x', 2000000000, 'y')"

COMMAND_LINE = """
import sys
from embstore.store import Store, stream
from embstore_cli.render import emit_table, end_process, Format
with stream(Store.open(sys.argv[1]), sys.argv[2], timeout_s=0.1, overdue=end_process) as answer:
    emit_table(answer, Format.csv)
"""


@pytest.fixture(scope="module")
def store(phantom_store: Path) -> Store:
    """The phantom store, read only."""
    return Store.open(phantom_store)


def test_a_call_that_outlives_the_limit_is_ended(store: Store) -> None:
    """DuckDB cannot interrupt it: its process ends, this one gets a line, and the next query works."""
    began = monotonic()
    with pytest.raises(QueryError, match=r"longer than 0\.1 s and was stopped; narrow it"):
        query(store, f"SELECT sum(length({ENDLESS} || range)) FROM range(100)", timeout_s=0.1)
    assert monotonic() - began < 60
    assert query(store, "SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_the_command_line_ends_itself(phantom_store: Path) -> None:
    """`embstore sql` prints the line and exits with 1."""
    statement = f"SELECT sum(length({ENDLESS} || range)) FROM range(100)"
    line = [sys.executable, "-c", COMMAND_LINE, phantom_store, statement]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: the query ran longer than 0.1 s and was stopped; narrow it\n"


def test_answers_are_those_of_this_process(store: Store) -> None:
    """Types, nulls, empty answers, parameters, views and the tables that are opened; one process serves them all."""
    query(store, "SELECT 1 AS one")
    (process,) = query_process._idle
    for name in store.table_names():
        sql = f'SELECT * FROM "{name}" ORDER BY ALL'
        assert query(store, sql).to_arrow().equals(select(store, sql)), name
    assert (
        query(store, "SELECT gene FROM cells WHERE false").to_arrow().schema
        == select(store, "SELECT gene FROM cells WHERE false").schema
    )
    assert query(store, "SELECT $a AS a", {"a": [1, None]}).to_pylist() == [{"a": [1, None]}]
    with pytest.raises(QueryError, match="labels"):
        select_in_process(store, "SELECT * FROM labels", tables=["images"])
    assert query_process._idle == [process]


def test_a_process_that_was_killed_is_replaced(store: Store) -> None:
    """One that waits for a question ends without a trace; one that answers one, with a line."""
    query(store, "SELECT 1 AS one")
    (waiting,) = query_process._idle
    os.kill(waiting._process.pid, signal.SIGKILL)
    waiting._process.wait()
    assert len(query(store, "SELECT 1 AS one")) == 1
    (answering,) = query_process._idle
    Timer(0.3, os.kill, [answering._process.pid, signal.SIGKILL]).start()
    with pytest.raises(QueryError, match="the process that answers SQL ended with -9, perhaps for lack of memory"):
        query(store, "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range % 7 = 3")
    assert len(query(store, "SELECT 1 AS one")) == 1


def test_a_process_has_the_folder_of_the_question(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is named by a relative path is found from where the question is asked."""
    monkeypatch.chdir(phantom_store.parent)
    store = Store.open(phantom_store.name)
    assert len(query(store, "SELECT cell_id FROM cells LIMIT 1")) == 1
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError, match="has no table"):
        query(store, "SELECT cell_id FROM cells LIMIT 1")


def test_a_folder_that_cannot_be_used_is_reported_as_such(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of the process that are not about the query have their own text, and it answers the next question."""
    query(store, "SELECT 1 AS one")
    (process,) = query_process._idle
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "getcwd", lambda: str(tmp_path / "missing"))
        with pytest.raises(QueryError, match=r"^\[Errno 2\] No such file or directory: .*missing'$"):
            query(store, "SELECT 1 AS one")
    assert query(store, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
    assert query_process._idle == [process]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(QueryError, match="the current folder was deleted; change to another one"):
        query(store, "SELECT 1 AS one")


def test_a_process_that_ends_as_it_is_asked_is_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited too long for a question; a new one answers, and one that ends too is an error."""
    with monkeypatch.context() as idle:
        idle.setattr(query_process, "PROGRAM", "pass")
        ended = [query_process.QueryProcess() for _ in range(2)]
    for process in ended:
        process._process.wait()
    monkeypatch.setattr(query_process, "_take", ended.pop)
    assert query(store, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
    monkeypatch.setattr(query_process, "PROGRAM", "pass")
    with pytest.raises(QueryError, match="ended without an answer; ask again"):
        query(store, "SELECT 1 AS one")


def test_a_condition_that_outlives_the_limit_is_ended(phantom_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`remove --where` is answered by such a process too, and does nothing with half an answer."""
    limited = select_in_process
    monkeypatch.setattr("embstore.care.remove.select_in_process", lambda *a, **k: limited(*a, **k | {"timeout_s": 0.1}))
    with pytest.raises(QueryLimitError, match="longer than"):
        remove(Store.open(phantom_copy), f"length({ENDLESS} || dataset) = 1", dry_run=True)
