"""A task that asks something else is a new one beside the old, whose entries stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from conftest import QUICK, Filler

from embstore.errors import EmbstoreError
from embstore.store import SpaceRow, Store, query
from embstore_bench import (
    BenchReport,
    bench,
    leaderboard,
    leaderboard_sql,
    list_splits,
    list_splits_sql,
    per_class,
    per_class_sql,
)
from embstore_bench.questions import TASKS, TaskRecord, find_question
from embstore_bench.splits import Split
from embstore_bench.tasks import Task, TaskQuestion, load_task


def without_er(store: Store, question: TaskQuestion, spaces: Sequence[SpaceRow], splits: Sequence[Split]) -> Task:
    """Return the task's units with one class fewer."""
    task = load_task(store, question, spaces, splits)
    return replace(task, classes=task.classes[1:], actual=task.actual[:, 1:])


@pytest.fixture
def corrected(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register `localization.v2`, which replaces `localization`; return its name."""
    record = TaskRecord("localization.v2", version=2, supersedes="localization", load=without_er)
    monkeypatch.setitem(TASKS, record.name, record)
    return record.name


def column(answer: Any, name: str) -> list[Any]:
    return [row[name] for row in answer.to_pylist()]


@pytest.mark.slow
def test_a_corrected_task_is_scored_as_it_defines_beside_the_old(
    benched: Filler, first_report: BenchReport, corrected: str
) -> None:
    """Its entries carry its name and version, its own units and classes, on the same splits."""
    report = bench(benched.store, backbones=["good"], task=corrected, **QUICK)
    assert (report.made, report.reused) == (5, 0)
    assert {row.task for row in report.entries} == {"localization.v2:grade3"}
    assert {row.location for row in report.per_class} == {"golgi, cis", "nucleus"}
    assert report.entries[0].split == first_report.entries[0].split
    sql = "SELECT DISTINCT task_version FROM entries WHERE task = 'localization.v2:grade3'"
    assert column(query(benched.store, sql), "task_version") == [2]


def test_entries_of_a_superseded_task_are_shown_only_when_asked_for(
    benched: Filler, first_report: BenchReport, corrected: str
) -> None:
    """The leaderboard leaves them out unless they, their task, or all are asked for, and names what replaced them."""
    store = benched.store
    old = {row.entry for row in first_report.entries}
    new = {row.entry for row in bench(store, backbones=["good"], task=corrected, **QUICK).entries}
    assert set(column(leaderboard(store), "entry")) == new
    assert set(column(per_class(store), "entry")) == new
    assert set(column(leaderboard(store, superseded=True), "entry")) == old | new
    for asked in ({"task": "localization"}, {"task": "localization:grade3"}, {"entries": sorted(old)}):
        rows = leaderboard(store, **asked).to_pylist()
        assert {row["entry"] for row in rows} == old
        assert {row["superseded_by"] for row in rows} == {corrected}
    assert set(column(leaderboard(store, task=corrected), "superseded_by")) == {None}


def test_a_superseded_task_can_be_asked_again_and_is_the_same(
    benched: Filler, first_report: BenchReport, corrected: str
) -> None:
    """The old name means what it meant: nothing is fitted, the entries are those recorded, and a note names the new."""
    versions = benched.store.versions()
    again = bench(benched.store, backbones=["good", "noise"], task="localization", **QUICK)
    assert (again.made, again.reused) == (0, 6)
    assert [(row.entry, row.mean) for row in again.entries] == [(row.entry, row.mean) for row in first_report.entries]
    assert again.notes[-1] == "task localization is superseded by localization.v2; `--task localization.v2` asks it"
    assert benched.store.versions() == versions


def test_an_unknown_task_lists_those_registered(atlas: Filler, corrected: str) -> None:
    """The error names every task, and how a scheme is added."""
    with pytest.raises(EmbstoreError, match=r"localization, localization.v2, localization.v2:SCHEME, localization:SC"):
        find_question(atlas.store, "morphology")
    assert find_question(atlas.store, corrected) == TaskQuestion("localization.v2:grade3", "toy", "toy/grade3", 2)


def test_each_ready_made_question_gives_its_sql(benched: Filler) -> None:
    """`query` with the SQL and parameters of a question returns what the question returns."""
    store = benched.store
    for answer, question in (
        (leaderboard(store, metric="micro_f1", level="protein"), leaderboard_sql(metric="micro_f1", level="protein")),
        (per_class(store, dataset="toy"), per_class_sql(dataset="toy")),
        (list_splits(store), list_splits_sql()),
    ):
        assert len(answer) > 0
        assert query(store, *question).to_arrow() == answer.to_arrow()


def test_a_report_prints_its_headline_rows(first_report: BenchReport) -> None:
    """A few lines: what was scored, then the best entries with their macro F1."""
    lines = repr(first_report).splitlines()
    made = "6 entries made, 0 reused"
    assert lines[0].startswith(f"macro F1, localization:grade3, 96 cells of 24 proteins, {made}, split toy/grade3/")
    assert lines[1].split()[:5] == ["backbone", "strategy", "head", "mean", "sd"]
    assert lines[2].startswith("good")
    assert len(lines) == 8
    assert "<table>" in first_report._repr_html_()
    assert first_report.to_arrow()["entry"].to_pylist() == [row.entry for row in first_report.entries]
