"""SQL of users in a process of its own, which can be ended where a query cannot be stopped.

DuckDB stops a query between two steps, and a step may be one function call that fills gigabytes. A process answers one
question after the other; starting it costs about a second, asking it again some milliseconds.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from embstore.errors import EmbstoreError, QueryError, QueryLimitError
from embstore.store.connection import QUERY_TIMEOUT_S, SqlParameters, stream, too_long
from embstore.store.store import Store
from embstore.store.tables import Tables

PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from embstore.store.query_process import serve; serve()"
)
ENDED_LATE = 75  # exit code of a process that ended itself because its query could not be stopped
IDLE_S = 600  # without a question, a process ends


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError as error:
        raise QueryError("the current folder was deleted; change to another one") from error


@dataclass(frozen=True)
class Question:
    """One SELECT, and where it is asked: folder and environment are those of the process that asks, as it asks."""

    tables: Tables
    sql: str
    parameters: SqlParameters
    timeout_s: float
    names: tuple[str, ...] | None  # of the only tables to be opened
    folder: str = field(default_factory=_folder)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))


class EndedIdleError(QueryLimitError):
    """The process ended for lack of questions just as one was sent; a new process can answer it."""


class QueryProcess:
    """A process that answers questions, one at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        line = [sys.executable, "-c", PROGRAM, json.dumps(sys.path)]
        self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    @property
    def is_usable(self) -> bool:
        """True if the process runs, and was started by this very process and not by one that this is a fork of."""
        return self.owner == os.getpid() and self._process.poll() is None

    def answer(self, question: Question) -> pa.Table | EmbstoreError:
        """Return the rows that a question gives, or the error that the process reports.

        Where the process ends, a QueryLimitError is raised; where this one is interrupted, the process is ended.
        """
        try:
            self._send(pickle.dumps(question))
            schema = self._receive()
            if isinstance(schema, EmbstoreError):
                return schema
            batches = []
            while isinstance(batch := self._receive(), pa.RecordBatch):
                batches.append(batch)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise self._why_it_ended(question.timeout_s) from error
        except BaseException:  # Ctrl-C among others: what it would still send belongs to no question
            self.end()
            raise
        return pa.Table.from_batches(batches, schema) if batch is None else batch

    def end(self) -> int:
        """End the process, whatever it is doing; return its exit code."""
        if self.owner != os.getpid():
            return 0
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what was not sent
                    pipe.close()
        return self._process.wait()

    def _why_it_ended(self, timeout_s: float) -> QueryLimitError:
        code = self._process.wait()
        self.end()
        if code == ENDED_LATE:
            return QueryLimitError(too_long(timeout_s))
        if code == 0:
            return EndedIdleError("the process that answers SQL ended without an answer; ask again")
        line = f"the process that answers SQL ended with {code}, perhaps for lack of memory; narrow the query"
        return QueryLimitError(line)

    def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None  # it was asked for as a pipe
        self._process.stdin.write(message)
        self._process.stdin.flush()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)


_idle: list[QueryProcess] = []


def select_in_process(
    store: Store,
    sql: str,
    parameters: SqlParameters = None,
    *,
    timeout_s: float = QUERY_TIMEOUT_S,
    tables: Sequence[str] | None = None,
) -> pa.Table:
    """Return what one SELECT gives (see `select`), computed in a process that waits for questions, or in a new one."""
    question = Question(store._tables, sql, parameters, timeout_s, None if tables is None else tuple(tables))
    process = _take()
    try:
        answer = process.answer(question)
    except EndedIdleError:
        process = QueryProcess()
        answer = process.answer(question)
    _idle.append(process)
    if isinstance(answer, EmbstoreError):
        raise answer
    return answer


def _take() -> QueryProcess:
    while _idle:
        process = _idle.pop()
        if process.is_usable:
            return process
        process.end()
    return QueryProcess()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


# -- in the process --------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer the questions on stdin until they end."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
        while select.select([sys.stdin], [], [], IDLE_S)[0]:
            try:
                question: Question = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            _answer(question, answers)
            answers.flush()


def _answer(question: Question, answers: Any) -> None:
    """Write the schema, the batches and None, or the error that ends them."""
    try:
        os.chdir(question.folder)
        os.environ.clear()
        os.environ.update(question.environment)
        with stream(
            Store(question.tables),
            question.sql,
            question.parameters,
            timeout_s=question.timeout_s,
            tables=question.names,
            overdue=lambda _: os._exit(ENDED_LATE),
        ) as batches:
            pickle.dump(batches.schema, answers)
            for batch in batches:
                pickle.dump(batch, answers)
    except EmbstoreError as error:
        pickle.dump(error, answers)
    except Exception as error:  # noqa: BLE001  # whatever it is, the process that asked reports it
        pickle.dump(QueryError(" ".join(str(error).split()) or type(error).__name__), answers)
    else:
        pickle.dump(None, answers)
