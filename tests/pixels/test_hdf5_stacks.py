"""Images that are datasets of HDF5 files, which a manifest names `FILE.h5::DATASET`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from drawn_fields import draw_field

from embstore import hdf5
from embstore.errors import ImageError
from embstore.hdf5 import refuse_crashing
from embstore.ingest import embed, ingest
from embstore.pixels.decode import read_header, read_planes
from embstore.store import Store, rows

FIELD = draw_field(1)  # (c, y, x)


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=array, compression="gzip")
    return path


def test_a_dataset_is_read_by_its_name(tmp_path: Path) -> None:
    """Channels first or last, of any dtype, in any group."""
    deep = FIELD.astype(np.float64)
    path = write(tmp_path / "a.h5", raw__first=FIELD, raw__last=FIELD.transpose(1, 2, 0), deep=deep)
    for name in ("raw/first", "/raw/last", "deep"):
        np.testing.assert_array_equal(read_planes(f"{path}::{name}", 2).pixels, FIELD)
        assert read_header(f"{path}::{name}", 2).shape == FIELD.shape


def test_names_that_are_no_dataset_list_those_that_are(tmp_path: Path) -> None:
    """A file without a name, a wrong name, a group, and links that lead out of the file."""
    path = write(tmp_path / "a.h5", raw__f1=FIELD, raw__f2=FIELD)
    write(tmp_path / "other.h5", f3=FIELD)
    with h5py.File(path, "a") as file:
        file["away"] = h5py.ExternalLink("other.h5", "f3")
        file["text"] = "words"
    for name in (path, *(Path(f"{path}::{n}") for n in ("raw", "raw/f9", "away"))):
        with pytest.raises(ImageError, match=r"a\.h5 is HDF5 and has no .*, wanted one of: raw/f1, raw/f2, text") as e:
            read_planes(name, 2)
        assert e.value.todo == "name it as a.h5::raw/f1"
    with pytest.raises(ImageError, match="has object pixels"):
        read_planes(f"{path}::text", 2)
    with pytest.raises(ImageError, match="does not exist"):
        read_planes(f"{tmp_path}/none.h5::raw", 2)


def test_a_dataset_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """A dataset of which nothing is stored claims any size."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("huge", (2, 90_000, 90_000), "u2", chunks=(1, 100, 100))
    with pytest.raises(ImageError, match=r"claims 32\.4 GB"):
        read_planes(f"{tmp_path}/a.h5::huge", 2)


def test_a_manifest_of_datasets_goes_in_and_is_read_again(tmp_path: Path) -> None:
    """Rows of one file are images of their own; a rerun finds nothing to do; embed reads them; missing ones fail."""
    write(tmp_path / "fields.h5", raw__f1=FIELD, raw__f2=draw_field(2), dapi=FIELD[0], gfp=FIELD[1])
    (tmp_path / "manifest.csv").write_text(
        "file,channels\nfields.h5::raw/f1,nucleus;protein\nfields.h5::raw/f2,nucleus;protein\n"
        "fields.h5::raw/f3,nucleus;protein\nnone.h5::raw/f1,nucleus;protein\n"
    )
    choices = {"layout": "manifest", "dataset": "d", "backbones": ["pixel-stats"]}
    report = ingest(str(tmp_path / "store"), tmp_path / "manifest.csv", **choices)
    assert report.images_in == 2
    assert sorted(failure.error for failure in report.failures) == [
        "fields.h5 is HDF5 and has no dataset 'raw/f3' of its own, wanted one of: dapi, gfp, raw/f1, raw/f2",
        "none.h5::raw/f1 does not exist",
    ]
    store = Store.open(tmp_path / "store")
    images = rows(store, "SELECT image_id, sha256 FROM images ORDER BY image_id")
    assert [image["image_id"] for image in images] == ["d/fields/raw/f1", "d/fields/raw/f2"]
    assert images[0]["sha256"] != images[1]["sha256"]
    assert ingest(store, tmp_path / "manifest.csv", **choices).done_before == 2
    again = embed(store, backbones=["pixel-stats:crop_um=20"])
    assert (again.images_in, again.failures) == (2, [])
    (tmp_path / "by_role.csv").write_text("image_id,nucleus,protein\nf,fields.h5::dapi,fields.h5::gfp\n")
    report = ingest(store, tmp_path / "by_role.csv", **{**choices, "dataset": "e"})
    assert (report.images_in, report.failures) == (1, [])


def test_files_are_tried_in_one_process_that_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process reads one file after the other; where it does not end one, a new one tells whose fault it is."""
    path = write(tmp_path / "a.h5", x=np.arange(9))
    refuse_crashing(path, ["/"])
    (trial,) = hdf5._idle
    refuse_crashing(path, ["/", "absent"])
    assert hdf5._idle == [trial]
    monkeypatch.setattr(hdf5, "LEAST_SECONDS", 5)
    os.kill(trial._process.pid, signal.SIGSTOP)
    refuse_crashing(path, ["/"])
    (second,) = hdf5._idle
    assert second is not trial
    second._process.kill()
    second._process.wait()
    refuse_crashing(path, ["/"])
    (third,) = hdf5._idle
    assert third is not second
