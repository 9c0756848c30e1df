"""A bench beside processes that write to the store, or clean it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from conftest import BOTH, QUICK, Filler

from embstore import maintain
from embstore.errors import EmbstoreError, StoreError
from embstore.store import Store, query
from embstore_bench import BenchReport, bench, runner


@contextmanager
def writing_beside(path: Path) -> Iterator[list[int]]:
    """Commit profiles, proteins and labels of another dataset one after the other; yield the number of commits."""
    store, stop, commits = Store.open(path), Event(), [0]

    def write() -> None:
        while not stop.is_set():
            number = commits[0]
            protein = f"ensembl:ENSG9{number:010d}"
            profile = {"profile_id": f"other/{number}", "dataset": "other", "protein_ids": [protein], "row": number}
            store.upsert("proteins", [{"protein_id": protein, "gene": f"G{number}", "group_id": protein}])
            store.upsert("profiles", [profile])
            label = {"label_set": "other/main", "level": "protein", "subject_id": protein, "location": "er"}
            store.upsert("labels", [label])
            commits[0] += 1

    thread = Thread(target=write)
    thread.start()
    try:
        yield commits
    finally:
        stop.set()
        thread.join()


def test_a_bench_beside_a_writer_scores_the_store_as_it_was(atlas: Filler, first_report: BenchReport) -> None:
    """It makes the entries of an undisturbed bench, at versions that its tag keeps, while tables change under it."""
    with writing_beside(Path(atlas.store.uri)) as commits:
        report = bench(atlas.store, backbones=BOTH, dataset="toy", **QUICK)
    assert commits[0] > 3
    assert sorted(entry.entry for entry in report.entries) == sorted(entry.entry for entry in first_report.entries)
    (tag,) = [tag for tag in atlas.store.tags() if tag.startswith("bench-")]
    asked = "SELECT count(*) AS n FROM profiles WHERE dataset = 'other'"
    before = query(Store.open(atlas.store.uri, at=tag), asked).to_pylist()[0]["n"]
    assert before < commits[0] == query(atlas.store, asked).to_pylist()[0]["n"]


@pytest.mark.parametrize("moment", ["find_question", "contestants"])
def test_a_bench_whose_versions_are_cleaned_says_run_it_again(
    atlas: Filler, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is damaged; the next run scores the store, and no tag is left of the one that ended."""
    store, real = atlas.store, getattr(runner, moment)

    def cleaned(*arguments: Any, **options: Any) -> Any:
        for table in ("labels", "proteins", "spaces", *(n for n in store.table_names() if n.startswith("emb_"))):
            ids = store.read(table)
            store.dataset(table).delete("true")
            store.upsert(table, ids)
        maintain(store, older_than_days=0)
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(runner, moment, cleaned)
        with pytest.raises(EmbstoreError, match=r"was cleaned while it was read.*run the same command again"):
            bench(store, backbones=BOTH, **QUICK)
    assert store.tags() == {}
    assert bench(store, backbones=BOTH, **QUICK).made == 6


def test_a_pinned_store_is_read_only_and_stays_as_it_was(atlas: Filler) -> None:
    """Rows and tables that come later are not seen, in SQL neither; writing is refused."""
    pinned = atlas.store.pinned()
    before = pinned.versions()
    atlas.proteins([["ensembl:ENSG00000099999"]])
    counts = [query(s, "SELECT count(*) AS n FROM proteins").to_pylist()[0]["n"] for s in (pinned, atlas.store)]
    assert counts[1] == counts[0] + 1
    assert pinned.versions() == before != atlas.store.versions()
    with pytest.raises(StoreError, match="open at pinned versions"):
        pinned.upsert("proteins", [{"protein_id": "x", "gene": "x", "group_id": "x"}])


def test_rows_of_a_version_that_is_cleaned_while_they_are_read(atlas: Filler) -> None:
    """`read` and SQL of a removed version ask to run again; a lost file of the newest one is damage."""
    store = atlas.store
    pinned = store.pinned()
    dataset = pinned.dataset("labels")
    rows = store.read("labels")
    store.dataset("labels").delete("true")
    store.upsert("labels", rows)
    maintain(store, older_than_days=0)
    pinned.dataset = lambda *_: dataset  # type: ignore[method-assign]  # opened before it was cleaned
    with pytest.raises(StoreError, match="labels was cleaned while it was read"):
        pinned.read("labels")
    shutil.rmtree(Path(store.dataset("labels").uri) / "data")
    with pytest.raises(StoreError, match=r"cannot read the table labels.*`embstore verify`"):
        Store.open(store.uri).read("labels")
