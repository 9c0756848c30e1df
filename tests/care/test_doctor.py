"""doctor reports what a machine lacks, and changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from embstore.care.doctor import doctor, file_system
from embstore.store import Store

MOUNTS = """proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
lab:/export /mnt/lab nfs4 rw 0 0
/dev/sdb1 /mnt/lab/scratch xfs rw 0 0
sshfs#x /media/my\\040disk fuse.sshfs rw 0 0
tmpfs /mnt/twice tmpfs rw 0 0
other:/x /mnt/twice nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/store", "ext4"),
        ("/mnt/lab", "nfs4"),
        ("/mnt/lab/a/b", "nfs4"),
        ("/mnt/lab/scratch/s", "xfs"),
        ("/mnt/laboratory", "ext4"),
        ("/media/my disk/s", "fuse.sshfs"),
        ("/mnt/twice", "nfs"),
    ],
)
def test_the_file_system_is_that_of_the_deepest_mount(folder: str, kind: str) -> None:
    """The mount that contains a folder decides, the last of several at one place, blanks in its name included."""
    assert file_system(Path(folder), MOUNTS) == kind


def test_nfs_and_a_full_disk_are_reported(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system is a warning with what to do, a full disk a failure; a sound machine has neither."""
    before = {check.check: check for check in doctor(store.uri)}
    assert before["store"].found.startswith("format 2, written by embstore")
    assert before["disk"].result == "ok"
    assert before["weights"].found.startswith("ready: pixel-stats, vit-random")
    assert before["weights"].todo == "`embstore backbones list` shows how to get the others"
    assert "lancedb" in before["engines"].found
    mounts = tmp_path / "mounts"
    mounts.write_text("lab:/export / nfs4 rw 0 0\n")
    monkeypatch.setattr("embstore.care.doctor.MOUNTS", mounts)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    after = {check.check: check for check in doctor(store.uri)}
    assert (after["file system"].result, after["file system"].found) == ("warn", "nfs4")
    assert "s3://" in after["file system"].todo
    assert after["disk"].result == "fail"


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """An absent and an empty folder are both ready for a new store; one that contains something else fails."""
    checks = {check.check: check for check in doctor(str(tmp_path / "a" / "b"))}
    assert (checks["store"].result, checks["disk"].result) == ("ok", "ok")
    (tmp_path / "c").mkdir()
    empty = {check.check: check for check in doctor(str(tmp_path / "c"))}["store"]
    assert (empty.result, empty.todo) == (checks["store"].result, checks["store"].todo)
    (tmp_path / "c" / "photo.tif").touch()
    assert {check.check: check.result for check in doctor(str(tmp_path / "c"))}["store"] == "fail"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c", "photo.tif"]
