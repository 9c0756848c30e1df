"""verify finds each kind of damage in its place, and nothing in a sound store."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from embstore.care.findings import Finding
from embstore.care.relations import PART_ROWS
from embstore.care.remove import remove
from embstore.care.verify import Verdict, verify
from embstore.ingest import import_embeddings
from embstore.store import Store, add_space, drop_table

from .conftest import vectors, write_raw


def found_by_verify(store: Store) -> set[tuple[str, str]]:
    return {(finding.check, finding.table) for finding in verify(store).wrong}


def data_file(store: Store, table: str) -> Path:
    return min((Path(store.uri) / f"{table}.lance" / "data").glob("*.lance"))


def test_a_sound_store_has_nothing_wrong_and_is_not_written(store: Store) -> None:
    """Of a fresh store every row is read, nothing is wrong, nothing is noted, and no version is made."""
    versions, stages = store.versions(), []
    verdict = verify(store, progress=lambda *stage: stages.append(stage))
    assert (verdict.wrong, verdict.notes) == ((), ())
    assert verdict.tables == len(versions)
    assert verdict.rows == sum(row["rows"] for row in store.status())
    assert store.versions() == versions
    assert stages[-1] == ("tables", len(versions), len(versions))


def test_a_golden_store_is_whole(tmp_path: Path) -> None:
    """The store of the first release has nothing wrong; a proteinless label in it is at most a note."""
    with zipfile.ZipFile(Path(__file__).parents[1] / "golden" / "store-v1.zip") as packed:
        packed.extractall(tmp_path)
    assert verify(Store.open(tmp_path / "store-v1")).wrong == ()


def test_rows_of_one_key_are_counted(store: Store, space_table: str) -> None:
    """Two rows of one key are found, by one column (cells, vectors) and by several (labels)."""
    cell = store.read("cells").slice(0, 1)
    label = store.read("labels").slice(0, 1)
    write_raw(store, "cells", cell)
    write_raw(store, "labels", label)
    write_raw(store, space_table, vectors(store, space_table, [cell["cell_id"][0].as_py()], 1.0))
    wrong = {f.table: f for f in verify(store).wrong if f.check == "keys"}
    assert set(wrong) == {"cells", "labels", space_table}
    assert wrong["cells"].found == f"1 keys have several rows, such as {cell['cell_id'][0].as_py()}"
    assert wrong["labels"].found.endswith(" ".join(str(label[c][0]) for c in label.column_names[:4]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_found(store: Store, space_table: str, bad: float) -> None:
    """A single NaN or infinity in one vector is found under its id."""
    table = vectors(store, space_table, ["phantom/x:00000000:1"], 1.0)
    numbers = table["vector"].combine_chunks().flatten().to_numpy().copy()
    numbers[-1] = bad
    write_raw(store, space_table, vectors(store, space_table, ["phantom/x:00000000:1"], numbers[None]))
    (finding,) = (f for f in verify(store).wrong if f.check == "vectors")
    assert finding.found == "1 vectors contain NaN or infinity, such as phantom/x:00000000:1"


def test_what_belongs_to_nothing_is_found(store: Store, space_table: str) -> None:
    """Cells and completion records of no image, vectors of no cell, records of no space are wrong; labels a note."""
    (image, *_), (space, *_) = store.read("images").to_pylist(), store.read("spaces").to_pylist()
    store.delete("images", f"image_id = '{image['image_id']}'")
    write_raw(store, space_table, vectors(store, space_table, ["nobody"], 1.0))
    record = {"revision": 1, "segmentation": "0" * 8, "n_cells": 0}
    store.upsert("ingested", [record | {"image_id": "x/y", "space": "none"}])
    store.upsert("labels", [{"label_set": "a/b", "level": "cell", "subject_id": "x", "location": "er"}])
    store.upsert("runs", [{"entry": "e", "seed": 0, "fold": 0}])
    verdict = verify(store)
    assert {(f.check, f.table) for f in verdict.wrong} == {
        ("orphans", "cells"),
        ("orphans", "ingested"),
        ("orphans", space_table),
    }
    assert sum(f.table == "ingested" for f in verdict.wrong) == 2
    assert {f.table for f in verdict.notes} == {"labels", "runs"}
    assert any(image["image_id"] in f.found for f in verdict.wrong)
    assert space["unit"] == "cell"


def test_profiles_without_a_vector_are_a_note(store: Store, tmp_path: Path) -> None:
    """What a killed import leaves is counted, without any space of profiles too; a vector in one is enough."""
    store.upsert("profiles", [{"profile_id": "mine/x", "dataset": "mine"}])
    (note,) = verify(store).notes
    assert (note.table, note.found) == ("profiles", "1 profiles have no vector in any space, such as mine/x")
    for backbone, genes in (("first", ["A", "B"]), ("second", ["A"])):
        np.savez(tmp_path / f"{backbone}.npz", X=np.eye(2)[: len(genes)], gene=np.array(genes))
        named = {"dataset": "mine", "backbone": backbone, "gene_column": "gene"}
        import_embeddings(store, tmp_path / f"{backbone}.npz", **named, replace=True)
    verdict = verify(store)
    assert (verdict.wrong, [note.found for note in verdict.notes]) == ((), [note.found])
    assert "the same import again" in note.todo


def test_a_removal_that_is_running_is_reported_as_that(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, with its process, and nothing that it has half taken out; once it is stopped, as stopped."""
    verdicts: list[Verdict] = []

    def verified(at: Store, *_: object) -> None:
        verdicts.append(verify(Store.open(at.uri)))
        if len(verdicts) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("embstore.store.removal._delete_dependants", verified)
    with pytest.raises(KeyboardInterrupt):
        remove(store, "gene = 'PHN002'")
    (finding,) = verdicts[0].wrong
    assert finding.found.startswith(f"a removal is running (process {os.getpid()} of ")
    assert finding.todo.startswith("wait until it has ended")
    (stopped, *others) = verify(store).wrong
    assert stopped.found == "a removal was interrupted"
    assert {finding.check for finding in others} == {"orphans"}
    run = store.read("ingests").to_pylist()[0] | {"run": "r", "kind": "remove", "status": "running"}
    store.upsert("ingests", [run | {"who": "me@elsewhere"}])
    assert "or is running on another machine (process" in verify(store).wrong[0].found
    monkeypatch.undo()
    remove(store, "gene = 'PHN003'")
    assert verify(store).wrong == ()
    assert {row["kind"] for row in store.read("ingests").to_pylist()} == {"ingest"}


def test_a_completion_record_that_counts_wrong_is_found(store: Store, space_table: str) -> None:
    """A cell or a vector that is gone contradicts its image's completion record."""
    cells = store.read("cells", ["cell_id", "image_id"]).to_pylist()
    store.delete(space_table, f"id = '{cells[0]['cell_id']}'")
    (finding,) = verify(store).wrong
    n = sum(cell["image_id"] == cells[0]["image_id"] for cell in cells)
    assert finding.found.endswith(f"{cells[0]['image_id']} (completion record {n}, cells {n}, vectors {n - 1})")
    store.delete("cells", f"cell_id = '{cells[0]['cell_id']}'")
    assert [f.found[-41:] for f in verify(store).wrong] == [
        f"(completion record {n}, cells {n - 1}, vectors {n - 1})"[-41:]
    ]


def test_records_are_held_to_their_digests(store: Store, space_table: str) -> None:
    """A changed space record, another length, a space without a table, vectors without a record, a changed split."""
    (space,) = store.read("spaces").to_pylist()
    store.upsert("spaces", [space | {"crop_um": 26.0, "dim": 91}])
    store.upsert("splits", [{"name": "s", "spec": '{"k": 3}', "digest": "0" * 64}])
    add_space(store, space | {"digest": "ab" * 32}, 2, half=False)
    drop_table(store, "emb_" + "ab" * 6)
    assert found_by_verify(store) == {("spaces", "spaces"), ("dim", space_table), ("splits", "splits")}
    message = " | ".join(f.found for f in verify(store).wrong)
    assert f"the record of {space['digest'][:12]} now has the digest" in message
    assert "the space abababababab has no table emb_abababababab" in message
    assert "vectors of 90 numbers, but spaces has 91" in message
    store.delete("spaces", "true")
    assert ("spaces", space_table) in found_by_verify(store)


@pytest.mark.parametrize("damage", ["missing", "cut short", "empty"])
def test_a_data_file_that_is_damaged_is_named(store: Store, damage: str) -> None:
    """A data file missing, cut short or empty is named with its bytes; what can still be checked is checked."""
    file = data_file(store, "cells")
    size = file.stat().st_size
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: size // 2 if damage == "cut short" else 0])
    store.upsert("splits", [{"name": "s", "spec": "{}", "digest": "0"}])
    verdict = verify(store)
    assert {(f.check, f.table) for f in verdict.wrong} == {("files", "cells"), ("splits", "splits")}
    lying = {"missing": "missing", "cut short": str(size // 2), "empty": "0"}[damage]
    assert f"data/{file.name} ({lying}, wanted {size} bytes)" in verdict.wrong[0].found


def test_bytes_that_rotted_are_found_by_reading(store: Store) -> None:
    """A file of the right size whose bytes make no rows is an unreadable fragment."""
    file = data_file(store, "images")
    file.write_bytes(file.read_bytes()[:-4] + b"ROT!")
    (finding,) = (f for f in verify(store).wrong if f.check == "fragments")
    assert finding.found.startswith("1 fragments cannot be read: ")
    assert ".rs:" not in finding.found


def test_a_table_that_cannot_be_opened_is_named(store: Store) -> None:
    """A manifest cut short, and a table that is gone, are each one finding."""
    newest = min((Path(store.uri) / "proteins.lance" / "_versions").glob("*.manifest"))
    newest.write_bytes(newest.read_bytes()[:5])
    drop_table(store, "profiles")
    assert found_by_verify(store) == {("table", "proteins"), ("table", "profiles")}


def test_files_that_only_a_tag_needs_are_looked_for(store: Store) -> None:
    """A data file that only a tagged version names is missed too."""
    store.tag("paper", store.versions())
    file = data_file(store, "proteins")
    store.delete("proteins", "true")
    file.unlink()
    assert ("tagged files", "proteins") in found_by_verify(store)


@pytest.mark.slow
def test_parts_give_the_same_answer(store: Store, space_table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions asked over many parts of a key, as a large store needs, find what one part finds."""
    write_raw(store, "cells", store.read("cells").slice(0, 3))
    lost = store.read(space_table, ["id"])["id"][0].as_py()
    store.delete(space_table, f"id = '{lost}'")
    write_raw(store, space_table, vectors(store, space_table, ["a", "b", "c"], 1.0))
    whole = verify(store).wrong
    assert PART_ROWS >= 100_000
    monkeypatch.setattr("embstore.care.relations.PART_ROWS", 2)

    def plain(findings: tuple[Finding, ...]) -> set[tuple[str, str, str]]:
        return {(f.check, f.table, f.found.split(", such as")[0]) for f in findings}

    assert plain(verify(store).wrong) == plain(whole)
    assert {f.check for f in whole} == {"keys", "orphans", "completion records"}
