"""Each kind of damage, its todo followed as it is printed, and the same ingest again: a store as it was before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embstore.care.findings import RECORD, REMOVE
from embstore.care.remove import remove
from embstore.care.repair import repair
from embstore.care.tags import create_tag
from embstore.care.verify import verify
from embstore.errors import StoreError
from embstore.ingest import import_embeddings, ingest
from embstore.store import LATER_TABLES, PENDING, TABLES, Store, rows

from .conftest import contents, vectors, write_raw

UNITS = ("cell", "image", "protein")
COLUMNS = {"embeddings": "f*", "id_column": "id", "gene_column": "gene"}


def again(store: Store, phantom: Path) -> None:
    """Run every command that made the rich store."""
    images, labels = phantom / "images", phantom / "labels.csv"
    ingest(store, images, layout="opencell", labels=labels, backbones=["pixel-stats"])
    ingest(store, images, layout="opencell", labels=labels, backbones=["phantom-dino:unit=image:input_px=64"])
    import_embeddings(store, phantom / "v.csv", dataset="mine", backbone="theirs", **COLUMNS)


@pytest.fixture(scope="module")
def sources(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's images and labels, and a file of vectors of somebody's own."""
    folder = shutil.copytree(phantom, tmp_path_factory.mktemp("sources") / "phantom")
    (folder / "v.csv").write_text("id,gene,f1,f2\nENSG00000000001,A,1,0\nENSG00000000002,B,0,1\n")
    return folder


@pytest.fixture(scope="module")
def rich_store(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of cells, of whole images and of proteins, and two fragments of cells; not to be changed."""
    folder = tmp_path_factory.mktemp("rich") / "store"
    store = Store.open(folder, create=True)
    again(store, sources)
    genes = rows(store, "SELECT min(gene) AS gene FROM cells")[0]["gene"]
    remove(store, f"gene = '{genes}'")
    again(store, sources)
    return folder


@pytest.fixture
def rich(rich_store: Path, tmp_path: Path) -> Store:
    return Store.open(shutil.copytree(rich_store, tmp_path / "store"))


def table_of(store: Store, unit: str) -> str:
    return "emb_" + rows(store, f"SELECT digest FROM spaces WHERE unit = '{unit}'")[0]["digest"][:12]


def data_files(store: Store, table: str) -> list[Path]:
    folder = Path(store.uri) / f"{table}.lance"
    return [folder / "data" / f.path for part in store.dataset(table).get_fragments() for f in part.data_files()]


# -- the damages ------------------------------------------------------------------------------------------------------


def no_table(table: str) -> Callable[[Store], Any]:
    return lambda store: shutil.rmtree(Path(store.uri) / f"{named(store, table)}.lance")


def no_file(table: str) -> Callable[[Store], Any]:
    return lambda store: data_files(store, named(store, table))[-1].unlink()


def short_file(table: str) -> Callable[[Store], Any]:
    def damage(store: Store) -> None:
        file = data_files(store, named(store, table))[0]
        file.write_bytes(file.read_bytes()[:100])

    return damage


def rot(table: str) -> Callable[[Store], Any]:
    def damage(store: Store) -> None:
        file = data_files(store, named(store, table))[0]
        file.write_bytes(file.read_bytes()[:-4] + b"ROT!")

    return damage


def short_manifest(table: str) -> Callable[[Store], Any]:
    def damage(store: Store) -> None:
        newest = min((Path(store.uri) / f"{named(store, table)}.lance" / "_versions").glob("*.manifest"))
        newest.write_bytes(newest.read_bytes()[:5])

    return damage


def no_manifest(table: str) -> Callable[[Store], Any]:
    return lambda store: shutil.rmtree(Path(store.uri) / f"{named(store, table)}.lance" / "_versions")


def repeat(table: str) -> Callable[[Store], Any]:
    return lambda store: write_raw(store, named(store, table), store.read(named(store, table)).slice(0, 2))


def no_rows(table: str, where: str = "true") -> Callable[[Store], Any]:
    return lambda store: store.delete(named(store, table), where)


def one_less(table: str, key: str) -> Callable[[Store], Any]:
    return lambda store: store.delete(table, f"{key} = '{store.read(named(store, table), [key])[key][0]}'")


def foreign(unit: str, number: float) -> Callable[[Store], Any]:
    return lambda store: write_raw(
        store, table_of(store, unit), vectors(store, table_of(store, unit), ["nobody"], number)
    )


def rotten_number(unit: str) -> Callable[[Store], Any]:
    def damage(store: Store) -> None:
        name = table_of(store, unit)
        key = store.read(name, ["id"])["id"][0].as_py()
        store.delete(name, f"id = '{key}'")
        write_raw(store, name, vectors(store, name, [key], np.nan))

    return damage


def other_space(**changed: Any) -> Callable[[Store], Any]:
    def damage(store: Store) -> None:
        space = next(space for space in store.read("spaces").to_pylist() if space["unit"] == "cell")
        store.upsert("spaces", [space | changed])

    return damage


def stopped_removal(store: Store) -> None:
    store.tag(PENDING, {name: store.versions()[name] for name in ("images", "profiles")})
    store.delete("images", f"image_id = '{store.read('images')['image_id'][0]}'")


def changed_split(store: Store) -> None:
    store.upsert("splits", [{"name": "s", "spec": '{"k": 3}', "digest": "0" * 64}])
    store.upsert("split_groups", [{"name": "s", "group_id": "g", "fold": 1}])


def tagged_file(store: Store) -> None:
    create_tag(store, "paper")
    file, kept = data_files(store, "proteins")[0], store.read("proteins")
    store.delete("proteins", "true")
    store.upsert("proteins", kept)
    file.unlink()


def named(store: Store, table: str) -> str:
    return table_of(store, table) if table in UNITS else table


DAMAGES: dict[str, tuple[Callable[[Store], Any], str]] = {
    **{f"no table {t}": (no_table(t), "table") for t in sorted(set(TABLES) - {"store_meta", *LATER_TABLES})},
    **{f"no vectors of {unit}": (no_table(unit), "spaces") for unit in UNITS},
    **{f"no file of {t}": (no_file(t), "files") for t in ("cells", "images", "ingested", "labels", "profiles", *UNITS)},
    **{f"short file of {t}": (short_file(t), "files") for t in ("cells", "images", "spaces", *UNITS)},
    **{f"rot in {t}": (rot(t), "fragments") for t in ("cells", "images", *UNITS)},
    **{f"short manifest of {t}": (short_manifest(t), "table") for t in ("cells", "images", "ingested", "cell")},
    **{f"no manifest of {t}": (no_manifest(t), "table") for t in ("cells", "images", "cell")},
    **{f"twice in {t}": (repeat(t), "keys") for t in ("cells", "images", "ingested", "labels", "spaces", *UNITS)},
    **{f"a stranger among {unit} vectors": (foreign(unit, 1.0), "orphans") for unit in UNITS},
    **{f"a stranger's NaN among {unit} vectors": (foreign(unit, np.nan), "vectors") for unit in UNITS},
    **{f"NaN of a {unit}": (rotten_number(unit), "vectors") for unit in UNITS},
    "an image is gone": (one_less("images", "image_id"), "orphans"),
    "a cell is gone": (one_less("cells", "cell_id"), "orphans"),
    "all images are gone": (no_rows("images"), "orphans"),
    "all profiles are gone": (no_rows("profiles"), "orphans"),
    "vectors of cells are gone": (no_rows("cell"), "completion records"),
    "vectors of images are gone": (no_rows("image"), "orphans"),
    "records of spaces are gone": (no_rows("spaces"), "spaces"),
    "another space": (other_space(crop_um=26.0), "spaces"),
    "another dim": (other_space(dim=91), "dim"),
    "a removal that was stopped": (stopped_removal, "removal"),
    "a changed split": (changed_split, "splits"),
    "a file that a tag needs": (tagged_file, "tagged files"),
}

# each kind of them, several at once; each alone in `make test-faults`
TOGETHER = (
    ("no table images",),
    ("no file of cells", "short file of image", "a changed split"),
    ("no vectors of cell", "no table labels", "NaN of a protein", "rot in images"),
    ("twice in cells", "a stranger among cell vectors", "a stranger's NaN among image vectors", "twice in protein"),
    ("a file that a tag needs", "a cell is gone", "vectors of images are gone", "short manifest of ingested"),
    ("records of spaces are gone", "a removal that was stopped"),
    ("another dim",),
)
ALONE = [pytest.param((name,), marks=pytest.mark.faults, id=f"{name} alone") for name in DAMAGES]
CASES = [*(pytest.param(names, id=" and ".join(names)) for names in TOGETHER), *ALONE]


@pytest.mark.slow
@pytest.mark.parametrize("names", CASES)
def test_what_verify_finds_is_repaired_as_it_says(rich: Store, sources: Path, names: tuple[str, ...]) -> None:
    """Damages are found with a todo; following it, and the same ingest again, give a sound store, as it was."""
    before = contents(rich)
    for name in names:
        DAMAGES[name][0](rich)
    store = Store.open(rich.uri)
    checks = {DAMAGES[name][1] for name in names}
    result = [finding for finding in verify(store).wrong if finding.check in checks]
    assert {finding.check for finding in result} == checks
    assert all("--repair" in finding.todo or finding.todo == REMOVE for finding in result)
    repair(store)
    left = verify(store).wrong
    assert all(finding.todo == RECORD for finding in left)
    again(store, sources)
    assert contents(store) == before
    assert verify(store).wrong == ()


def test_a_removal_that_was_stopped_is_finished_as_verify_says(rich: Store) -> None:
    """`embstore remove --where false` finishes it, and takes out nothing more."""
    stopped_removal(rich)
    assert [finding.todo for finding in verify(rich).wrong if finding.check == "removal"] == [REMOVE]
    assert remove(rich, "false").images == 0
    assert verify(rich).wrong == ()
    assert rich.read("images").num_rows == 2


def test_repairing_a_sound_store_writes_nothing(rich: Store) -> None:
    """Nothing is taken out of a store that is whole, tagged or not, and no version is made."""
    create_tag(rich, "paper")
    versions = rich.versions()
    assert list(repair(rich)) == []
    assert rich.versions() == versions
    with pytest.raises(StoreError, match="can only be read"):
        repair(Store.open(rich.uri, at="paper"))


def test_only_what_is_damaged_goes(rich: Store) -> None:
    """Of two fragments of cells one is lost: its image goes with all that is its own, the others stay as they were."""
    lost = rich.dataset("cells").get_fragments()[-1].to_table(columns=["image_id"])["image_id"].unique().to_pylist()
    before = contents(rich)
    data_files(rich, "cells")[-1].unlink()
    message = {(done.table, done.change): done.rows for done in repair(rich)}
    assert message[("images", "images that may have lost cells were removed")] == len(lost) == 1
    after = contents(rich)
    for table in ("cells", "images", "ingested", table_of(rich, "cell"), table_of(rich, "image")):
        assert after[table] == [row for row in before[table] if f"{lost[0]}'" not in row and f"{lost[0]}:" not in row]
    assert after[table_of(rich, "protein")] == before[table_of(rich, "protein")]


@pytest.mark.slow
def test_vectors_outlive_the_loss_of_their_records(rich: Store, sources: Path) -> None:
    """Where records of spaces are lost, repairing keeps their vectors, and the next ingest records them again."""
    name = table_of(rich, "cell")
    version = rich.versions()[name]
    shutil.rmtree(Path(rich.uri) / "spaces.lance")
    store = Store.open(rich.uri)
    assert [done.change for done in repair(store)] == ["made again, empty"]
    again(store, sources)
    assert store.versions()[name] == version
    assert verify(store).wrong == ()


class Killed(BaseException):
    """A kill: nothing catches it."""


@pytest.mark.faults
def test_killed_at_any_step_it_is_finished_by_the_next(
    rich: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before any of its writes, a repair, run again, ends in the store of an undisturbed one."""
    data_files(rich, "cells")[-1].unlink()
    repeat("labels")(rich)
    pristine = shutil.copytree(rich.uri, tmp_path / "pristine")
    repair(rich)
    wanted, writes, stopped = contents(rich), 0, True
    while stopped:
        victim = Store.open(shutil.copytree(pristine, tmp_path / f"killed-{writes}"))
        stopped = _killed(victim, monkeypatch, writes)
        repair(Store.open(victim.uri))
        assert contents(victim) == wanted, writes
        writes += 1
    assert writes > 4, "fewer writes than this repair has"
    assert verify(rich).wrong == ()


def _killed(store: Store, monkeypatch: pytest.MonkeyPatch, writes: int) -> bool:
    """Repair until the store's n-th write is about to happen; return whether it came to that."""
    left = iter(range(writes))
    real = Store._ready_to_write

    def counting(self: Store) -> None:
        if next(left, None) is None:
            raise Killed
        real(self)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_ready_to_write", counting)
        try:
            repair(store)
        except Killed:
            return True
    return False


def test_what_may_be_no_damage_is_left_alone(rich: Store) -> None:
    """A table whose newest manifest is whole and that cannot be opened all the same is named, not made anew."""
    newest = min((Path(rich.uri) / "labels.lance" / "_versions").glob("*.manifest"))
    newest.write_bytes(b"\xff" * 64 + newest.read_bytes()[-16:])
    with pytest.raises(StoreError, match=r"move .*labels.lance away, and `embstore verify --repair` makes it "):
        repair(Store.open(rich.uri))
    shutil.move(Path(rich.uri) / "labels.lance", Path(rich.uri).parent / "kept")
    store = Store.open(rich.uri)
    repair(store)
    assert verify(store).wrong == ()


def test_the_store_s_own_record_is_made_anew_as_the_error_says(rich: Store, sources: Path) -> None:
    """A store whose `store_meta` is damaged cannot be opened; moved away, the next ingest makes it again."""
    short_file("store_meta")(rich)
    with pytest.raises(StoreError, match=r"move .*/store_meta.lance away and the next `embstore ingest`"):
        Store.open(rich.uri)
    shutil.move(Path(rich.uri) / "store_meta.lance", Path(rich.uri).parent / "kept")
    again(store := Store.open(rich.uri, create=True), sources)
    assert verify(store).wrong == ()
