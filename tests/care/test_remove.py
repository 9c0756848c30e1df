"""remove takes out images with all that hangs on them, however often it is killed; ingest brings them back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embstore.care.remove import remove
from embstore.care.tags import create_tag
from embstore.care.verify import verify
from embstore.errors import QueryError, StoreError
from embstore.ingest import import_embeddings, ingest
from embstore.store import PENDING, Store, rows

from .conftest import contents

GENE = "gene = 'PHN002'"
COLUMNS = {"embeddings": "f*", "id_column": "id", "gene_column": "gene"}


def again(store: Store, phantom: Path) -> Any:
    labels = phantom / "labels.csv"
    return ingest(store, phantom / "images", layout="opencell", backbones=["pixel-stats"], labels=labels)


def test_an_image_goes_with_all_that_hangs_on_it_and_comes_back(store: Store, phantom: Path) -> None:
    """Cells, vectors, completion records and labels of cells go; ingesting again gives the same store."""
    (image,) = rows(store, f"SELECT DISTINCT image_id FROM cells WHERE {GENE}")
    cell = rows(store, f"SELECT min(cell_id) AS c FROM cells WHERE {GENE}")[0]["c"]
    store.upsert("labels", [{"label_set": "a/b", "level": "cell", "subject_id": cell, "location": "er"}])
    before = contents(store)
    removed = remove(store, GENE)
    n = len([row for row in before["cells"] if image["image_id"] in row])
    assert (removed.images, removed.cells, removed.vectors, removed.labels) == (1, n, n, 1)
    after = contents(store)
    for table, kept in before.items():
        gone = [] if table == "proteins" else [row for row in kept if image["image_id"] in row]
        assert after[table] == [row for row in kept if row not in gone], table
    assert verify(store).wrong == ()
    assert verify(store).notes == ()
    assert list(store.tags()) == ["before-removal-1"]
    assert again(store, phantom).images_in == 1
    assert contents(store) == before | {"labels": after["labels"]}


def test_a_dry_run_counts_and_writes_nothing(store: Store) -> None:
    """What would go is counted as it then goes; a condition that picks nothing takes nothing out."""
    create_tag(store, "paper")
    versions = store.versions()
    planned = remove(store, GENE, dry_run=True, purge=True)
    assert planned.tags == ("paper",)
    assert remove(store, "false").images == 0
    assert store.versions() == versions
    done = remove(store, GENE)
    assert (done.images, done.cells, done.vectors) == (planned.images, planned.cells, planned.vectors)


@pytest.mark.parametrize(
    "where",
    [
        "true)) UNION ALL (SELECT image_id, 'none' FROM image_current WHERE (true",
        "true) OR (true",
        "true) --",
        "true LIMIT 1",
        "true GROUP BY ALL",
        "true UNION SELECT 1",
        "true; SELECT 1",
        "SELECT true",
        "true, false",
        "true /*",
        "'",
        "",
    ],
)
def test_a_condition_cannot_leave_its_brackets(store: Store, where: str) -> None:
    """What is no condition by itself is refused in one line, before `dataset` could be forgotten."""
    with pytest.raises(QueryError, match="is not a SQL condition by itself") as error:
        remove(store, where, dataset="none", dry_run=True)
    assert "\n" not in str(error.value)


def test_a_condition_may_contain_brackets_comments_and_questions(store: Store) -> None:
    """Brackets and quotes of its own, a comment at its end, and a SELECT are part of a condition."""
    where = "(gene = 'PHN002' OR gene IN (SELECT gene FROM proteins WHERE gene = ') OR (true')) -- one gene"
    assert remove(store, where, dry_run=True).images == 1
    assert remove(store, where, dataset="none", dry_run=True).images == 0


class Killed(BaseException):
    """A kill: nothing catches it."""


def killed_at(store: Store, monkeypatch: pytest.MonkeyPatch, write: int, run: Any) -> bool:
    """Run until the store's n-th write is about to happen; returns whether it came to that."""
    count = 0
    with monkeypatch.context() as patched:
        real = Store._open_to_write

        def counting(self: Store, name: str) -> Any:
            nonlocal count
            count += 1
            if count > write:
                raise Killed
            return real(self, name)

        patched.setattr(Store, "_open_to_write", counting)
        try:
            run()
        except Killed:
            return True
    return False


@pytest.mark.slow
def test_killed_at_any_write_it_is_finished_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before any of its writes, the same removal, run again, ends in the store of an undisturbed one."""
    pristine = tmp_path / "pristine"
    shutil.copytree(store.uri, pristine)
    remove(store, GENE)
    wanted = contents(store)
    n_writes, stopped = 0, True
    while stopped:
        folder = tmp_path / f"killed-{n_writes}"
        shutil.copytree(pristine, folder)
        victim = Store.open(folder)
        stopped = killed_at(victim, monkeypatch, n_writes, lambda victim=victim: remove(victim, GENE))
        reopened = Store.open(folder)
        if PENDING in reopened.tags() and n_writes % 3 == 0:
            assert ("removal", "images") in {(f.check, f.table) for f in verify(reopened).wrong}
        remove(reopened, GENE)
        assert contents(reopened) == wanted, n_writes
        (tagged,) = reopened.tags().values()
        assert tagged.keys() == set(reopened.table_names())
        shutil.rmtree(folder)
        n_writes += 1
    assert n_writes > 8, "fewer writes than a removal has"


def test_an_ingest_between_a_kill_and_the_next_removal_loses_nothing(
    store: Store, phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that was removed, left half swept by a kill, and ingested again is whole, whatever removal follows."""
    before = contents(store)
    assert killed_at(store, monkeypatch, 4 + len(store.table_names()), lambda: remove(store, GENE))
    assert PENDING in store.tags()
    again(store, phantom)
    assert remove(store, "false").images == 0
    assert contents(store) == before
    assert verify(store).wrong == ()


def test_purge_leaves_no_byte_and_says_what_it_gave_up(store: Store, phantom: Path) -> None:
    """Tags that contain what is purged are deleted, others stay; no data file contains the removed cells' ids any
    more.
    """
    (image,) = rows(store, f"SELECT DISTINCT image_id FROM cells WHERE {GENE}")
    create_tag(store, "with")
    store.upsert("entries", [{"entry": "e", "tag": "with"}])
    remove(store, GENE)
    assert len(rows(Store.open(store.uri, at="with"), f"SELECT * FROM cells WHERE {GENE}")) > 0
    store.tag("without", {"proteins": store.versions()["proteins"]})
    removed = remove(store, GENE, purge=True)
    assert (removed.images, removed.tags, removed.entries, removed.still_on_disk) == (
        0,
        ("before-removal-1", "with"),
        1,
        (),
    )
    assert list(store.tags()) == ["without"]
    kept = [f for f in Path(store.uri).rglob("*.lance") if f.is_file() and image["image_id"].encode() in f.read_bytes()]
    assert kept == []
    assert verify(store).wrong == ()
    assert [note.found for note in verify(store).notes] == ["1 entries whose tag is missing, such as e"]
    assert again(store, phantom).images_in == 1


def test_a_tag_made_after_the_removal_is_reported(store: Store) -> None:
    """A later tag does not show what was removed, yet keeps its files: purge says so instead of giving it up."""
    remove(store, GENE)
    create_tag(store, "later")
    removed = remove(store, GENE, purge=True)
    assert (removed.tags, removed.still_on_disk) == (("before-removal-1",), ("later",))


def test_what_was_removed_is_read_under_a_tag(store: Store) -> None:
    """A removal tags the state before it, unless a tag names it already; a dry run reports which; a purge makes
    none.
    """
    before = contents(store)
    planned = remove(store, GENE, dry_run=True)
    assert (planned.tag, store.tags()) == ("before-removal-1", {})
    assert remove(store, GENE) == planned
    then = Store.open(store.uri, at=planned.tag)
    assert then.read("images").num_rows == store.read("images").num_rows + planned.images
    assert remove(store, GENE).tag == ""  # nothing to remove, and no tag
    assert list(store.tags()) == ["before-removal-1"]
    create_tag(store, "mine")
    assert remove(store, "gene = 'PHN001'").tag == "mine"
    assert remove(store, "gene = 'PHN003'", purge=True).tag == ""
    assert store.tags() == {}
    assert before.keys() == contents(store).keys()


def test_external_profiles_are_removed_with_their_vectors(store: Store, tmp_path: Path) -> None:
    """A condition on the columns of profiles removes external vectors, and `dataset` restricts any condition."""
    file = tmp_path / "v.csv"
    file.write_text("id,gene,f1,f2\nENSG00000000001,A,1,0\nENSG00000000002,B,0,1\n")
    import_embeddings(store, file, dataset="mine", backbone="theirs", **COLUMNS)
    before = contents(store)
    assert remove(store, "true", dataset="none").images == 0
    assert contents(store) == before
    one = remove(store, "list_contains(genes, 'A')", dataset="mine")
    assert (one.images, one.profiles, one.vectors) == (0, 1, 1)
    rest = remove(store, "true", dataset="mine")
    assert (rest.images, rest.profiles, rest.vectors) == (0, 1, 1)
    assert contents(store)["cells"] == before["cells"]
    assert verify(store).wrong == ()


def test_a_wrong_condition_is_one_line(store: Store) -> None:
    """An unknown column names those there are; a store at a tag is not touched."""
    with pytest.raises(QueryError, match='"gen" not found in FROM clause! Candidate bindings: "gene"') as error:
        remove(store, "gen = 'x'")
    assert "\n" not in str(error.value)
    with pytest.raises(QueryError):
        remove(store, "gene = ")
    create_tag(store, "paper")
    with pytest.raises(StoreError, match="can only be read"):
        remove(Store.open(store.uri, at="paper"), GENE)


def test_many_ids_go_in_chunks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More ids than one condition can list are removed too."""
    monkeypatch.setattr("embstore.store.removal.IDS_PER_CONDITION", 2)
    n_cells = store.read("cells").num_rows
    removed = remove(store, "true")
    assert (removed.images, removed.cells) == (3, n_cells)
    assert np.sum([row["rows"] for row in store.status() if row["name"] in ("cells", "images", "ingested")]) == 0
    assert verify(store).wrong == ()
