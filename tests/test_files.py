"""A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.files import FileState, content, hashed, touched, whole_file


def test_a_file_appears_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    """Until the last byte is written, the old content is visible; then the new one, and no temporary file."""
    path = tmp_path / "record.toml"
    path.write_text("old")
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_of_the_new_one(tmp_path: Path) -> None:
    """Also where the failure came before the first byte."""
    path = tmp_path / "record.toml"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as unfinished:
        unfinished.write_text("half of it")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), whole_file(path):
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_writers_that_replace_nothing_the_first_stays(tmp_path: Path) -> None:
    """The second is dropped without an error: it reads what the first has written."""
    path = tmp_path / "note.json"
    with whole_file(path, replaces=False) as unfinished:
        unfinished.write_text("second")
        path.write_text("first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_known_by_path_size_time_and_content(tmp_path: Path) -> None:
    """The digest of an image is over the contents of its files, wherever they lie and whenever they were written."""
    (tmp_path / "a.tif").write_bytes(b"pixels")
    (state,) = known = hashed(tmp_path, ["a.tif"])
    assert set(state) == set(FileState.__annotations__)
    assert (state["path"], state["size"]) == ("a.tif", 6)
    assert not touched(tmp_path, ["a.tif"], known)
    assert touched(tmp_path, ["b.tif"], known)
    (tmp_path / "a.tif").write_bytes(b"others!")
    assert touched(tmp_path, ["a.tif"], known)
    assert content(hashed(tmp_path, ["a.tif"])) != content(known)
