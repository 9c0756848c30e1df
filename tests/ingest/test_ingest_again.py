"""Ingesting again with more knowledge, other folders or odd files: nothing is lost, mixed up or passed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_fields import draw_field, save_tiff, write_hpa, write_labels, write_opencell

from embstore.errors import EmbstoreError
from embstore.ids import protein_id, protein_ids
from embstore.ingest import Report, ingest
from embstore.search import similar_proteins
from embstore.sources.channels import Reading
from embstore.sources.hpa import read_hpa
from embstore.store import Store, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def take(store: Store | str, source: Path, **choices: Any) -> Report:
    return ingest(store, source, **{"layout": "opencell", "backbones": ["pixel-stats"]} | choices)


def flat(folder: Path, name: str, seed: int) -> Path:
    """Write a field whose name contains no protein."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tiff(folder / name, draw_field(seed))
    return folder / name


def test_labels_that_come_later_name_the_proteins_of_images_that_are_in(store: Store, tmp_path: Path) -> None:
    """A second run with labels gives images their proteins without new cells; a third without labels keeps them."""
    source = tmp_path / "in"
    flat(source, "a.tif", 1)
    take(store, source)
    assert rows(store, "SELECT DISTINCT gene FROM cells") == [{"gene": ""}]
    cells = store.read("cells")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,target_name,ensg_id,grade_3,grade_2,grade_1\nin/a.tif,ACTB,ENSG00000075624,er,,\n")
    again = take(store, source, labels=labels)
    assert (again.images_in, again.done_before, again.renewed) == (0, 1, 1)
    assert rows(store, "SELECT DISTINCT gene, group_id FROM cells") == [
        {"gene": "ACTB", "group_id": "ensembl:ENSG00000075624"}
    ]
    assert store.read("cells").equals(cells)
    assert take(store, source).renewed == 0
    assert rows(store, "SELECT DISTINCT gene FROM cells") == [{"gene": "ACTB"}]


def test_two_folders_do_not_take_over_each_others_images(store: Store, tmp_path: Path) -> None:
    """A file of the same key from another folder is a failure while the first one lies there unchanged."""
    flat(tmp_path / "one", "field.tif", 1)
    flat(tmp_path / "two", "field.tif", 2)
    take(store, tmp_path / "one")
    before = rows(store, "SELECT cell_id FROM cells ORDER BY cell_id")
    second = take(store, tmp_path / "two")
    assert second.images_in == 0
    assert "in the store under the same key" in second.failures[0].error
    assert "--dataset" in second.failures[0].todo
    assert rows(store, "SELECT cell_id FROM cells ORDER BY cell_id") == before
    assert take(store, tmp_path / "two", dataset="two").images_in == 1


def test_a_changed_file_is_reported_as_changed(store: Store, tmp_path: Path) -> None:
    """New content under an old key is a new revision, and the report counts it."""
    flat(tmp_path / "in", "field.tif", 1)
    assert take(store, tmp_path / "in").images_changed == 0
    flat(tmp_path / "in", "field.tif", 2)
    assert take(store, tmp_path / "in").images_changed == 1


def test_hpa_channels_of_different_folders_are_different_fields(tmp_path: Path) -> None:
    """Names that HPA did not give are keyed by folder; those that it gave, lying in two folders, are a failure."""
    write_hpa(tmp_path / "p1", "A1_1", 1, ["blue"])
    write_hpa(tmp_path / "p2", "A1_1", 1, ["blue", "green"])
    result = read_hpa(tmp_path, Reading())
    assert {image.key: image.roles for image in result.images} == {
        "p1/A1_1": ("nucleus",),
        "p2/A1_1": ("nucleus", "protein"),
    }
    write_hpa(tmp_path / "q1", "57_F11_1", 1, ["blue"])
    write_hpa(tmp_path / "q2", "57_F11_1", 1, ["green"])
    result = read_hpa(tmp_path, Reading())
    assert [failure.error for failure in result.failures] == [
        "q1/57_F11_1_blue.png and q2/57_F11_1_green.png are both of field 57_F11_1"
    ]


def test_rows_that_contradict_each_other_label_nothing(tmp_path: Path) -> None:
    """An image of two different rows keeps neither, and is a failure; the same row twice is no contradiction."""
    for key in ("1_A1_1", "1_A2_1"):
        write_hpa(tmp_path / "in", key, 1, ["blue", "green"])
    labels = tmp_path / "labels.csv"
    labels.write_text("ID,Label_idx,Gene\n1_A1_1,Cytosol,A\n1_A1_1,Nucleoli,B\n1_A2_1,Cytosol,C\n1_A2_1,Cytosol,C\n")
    result = read_hpa(tmp_path / "in", Reading(labels))
    assert {image.key: image.genes for image in result.images} == {"1_A1_1": (), "1_A2_1": ("C",)}
    assert {label.subject for label in result.labels} == {"1_A2_1"}
    assert ["several different rows of 1_A1_1" in failure.error for failure in result.failures] == [True]


def test_enormous_intensities_are_no_reason_to_stop(store: Store, tmp_path: Path) -> None:
    """A float32 image near the largest number is ingested like its small copy, and so is its neighbour."""
    source = tmp_path / "in"
    source.mkdir()
    field = draw_field(1).astype(np.float32)
    save_tiff(source / "a.tif", field * np.float32(1e34))
    save_tiff(source / "b.tif", field)
    report = take(store, source)
    assert report.failures == []
    counted = rows(store, "SELECT image_id, count(*) AS n FROM cells GROUP BY image_id ORDER BY image_id")
    assert counted[0]["n"] == counted[1]["n"] > 0


def test_a_missing_link_and_a_name_that_is_no_text_are_failures(store: Store, tmp_path: Path) -> None:
    """A dangling link and a file name that is not UTF-8 are reported; the good file is ingested."""
    source = tmp_path / "in"
    flat(source, "good.tif", 1)
    (source / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    Path(os.fsdecode(os.fsencode(source / "bad") + b"\xff.tif")).write_bytes((source / "good.tif").read_bytes())
    report = take(store, source)
    assert report.images_in == 1
    assert sorted(Path(failure.source.strip("'")).name for failure in report.failures) == ["bad\\udcff.tif", "gone.tif"]


def test_a_dry_run_makes_no_store(tmp_path: Path) -> None:
    """A dry run without a store reports what would be ingested and leaves nothing."""
    write_opencell(tmp_path / "in", [1, 2])
    report = take(str(tmp_path / "store"), tmp_path / "in", dry_run=True)
    assert report.images_in == 2
    assert not (tmp_path / "store").exists()


def test_what_was_finished_goes_in_when_the_rest_is_stopped(store: Store, tmp_path: Path) -> None:
    """Ctrl-C after two images leaves those two in the store."""
    write_opencell(tmp_path / "in", [1, 2, 3, 4, 5, 6])

    def stop(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("images", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take(store, tmp_path / "in", progress=stop)
    assert store.read("images").num_rows == 2
    assert take(store, tmp_path / "in").done_before == 2


def test_identifiers_of_another_kind_give_way_to_the_gene() -> None:
    """RefSeq and lower-case ids do not split one gene into two groups."""
    assert protein_id("NP_001093.1", "ACTN1") == "gene:ACTN1"
    assert protein_id("ensg00000072110", "ACTN1") == "ensembl:ENSG00000072110"
    assert protein_id("NP_001093.1") == "gene:NP_001093.1"
    assert protein_ids("NP_1;ENSG00000072110", "A;B") == ["gene:A", "ensembl:ENSG00000072110"]


def test_a_missing_dataset_is_reported(store: Store, tmp_path: Path) -> None:
    """Searching a dataset that the space does not contain lists those that it does."""
    write_opencell(tmp_path / "in", [1, 2])
    take(store, tmp_path / "in", labels=write_labels(tmp_path / "labels.csv", {1: {"er": 3}, 2: {"golgi": 3}}))
    gene = rows(store, "SELECT min(gene) AS gene FROM cells")[0]["gene"]
    with pytest.raises(EmbstoreError, match="no dataset 'nope' in this space; choose from: opencell"):
        similar_proteins(store, gene, dataset="nope")


def test_rehash_finds_what_size_and_time_hide(store: Store, tmp_path: Path) -> None:
    """A file of the same size and time with other pixels passes unseen; with `rehash` it is a new revision."""
    path = flat(tmp_path / "in", "a.tif", 1)
    take(store, tmp_path / "in")
    stat = path.stat()
    flat(tmp_path / "in", "a.tif", 2)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert take(store, tmp_path / "in").done_before == 1
    assert take(store, tmp_path / "in", rehash=True).images_changed == 1
    assert take(store, tmp_path / "in", rehash=True).done_before == 1
