"""An atlas in a store: every cell's own truth in SQL, the segmentation's score, and the leak by field effects."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import ingest
from embstore.phantom import write_phantom
from embstore.phantom.truth import TruthReport, add_truth
from embstore.phantom.truth_files import read_cell_truth, read_true_mask
from embstore.phantom.v1 import law
from embstore.pixels.crop import unpack_mask
from embstore.store import Store, rows
from embstore_bench import bench

pytestmark = pytest.mark.slow

PROTEINS = 48


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("truth") / "atlas"
    write_phantom(out, layout="opencell", proteins=PROTEINS, fields=2, seed=5, field_px=220)
    return out


@pytest.fixture(scope="module")
def labelled(atlas: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TruthReport]:
    """A store of the atlas under pixel-stats with its true labels, and the report."""
    folder = tmp_path_factory.mktemp("stores") / "told"
    store = Store.open(folder, create=True)
    ingest(store, atlas / "images", layout="opencell", backbones=["pixel-stats"], labels=atlas / "labels.csv")
    return folder, add_truth(store, atlas)


def test_most_nuclei_are_found(labelled: tuple[Path, TruthReport]) -> None:
    """The default segmentation finds the simulated nuclei (0.86 in fields of 600 px, see docs/phantom.md)."""
    _, report = labelled
    assert report.images == 2 * PROTEINS
    assert 0.75 < report.f1 < 0.97
    assert report.f1 == pytest.approx(2 * report.matched / (report.nuclei + report.found))
    assert 0.7 < report.iou < 0.95


def test_each_cell_has_its_own_true_locations_in_sql(labelled: tuple[Path, TruthReport], atlas: Path) -> None:
    """The labels of every cell are the grades of the shares of the one true nucleus that it covers by half."""
    store, report = Store.open(labelled[0]), labelled[1]
    assert report.label_set == "opencell/truth"
    labels: dict[str, dict[str, int]] = {}
    for row in rows(store, "SELECT * FROM labels WHERE label_set = 'opencell/truth' ORDER BY ALL"):
        assert row["level"] == "cell"
        labels.setdefault(row["subject_id"], {})[row["location"]] = row["grade"]
    assert len(labels) == report.labelled
    truth = read_cell_truth(atlas / "truth")
    for cell in rows(store, "SELECT cell_id, image_id, box, nucleus_mask FROM cells ORDER BY cell_id"):
        key = cell["image_id"].removeprefix("opencell/")
        true = read_true_mask(atlas / "truth", key, "nuclei")
        y0, x0, y1, x1 = cell["box"]
        mine = np.zeros(true.shape, bool)
        mine[y0:y1, x0:x1] = unpack_mask(cell["nucleus_mask"], (y1 - y0, x1 - x0))
        ious = {n: (mine & (true == n)).sum() / (mine | (true == n)).sum() for n in np.unique(true[mine]) if n}
        result = [int(n) for n, iou in ious.items() if iou >= 0.5]
        if not result:
            assert cell["cell_id"] not in labels
            continue
        shares = truth[key][result[0]]
        assert labels[cell["cell_id"]] == {o: g for o, s in shares.items() if (g := law.grade(s))}


def test_cells_of_one_protein_may_differ(labelled: tuple[Path, TruthReport]) -> None:
    """Unlike published labels, the truth of two cells of one protein is not always the same."""
    differing = rows(
        Store.open(labelled[0]),
        """
        WITH per_cell AS (
            SELECT subject_id, string_agg(location || grade, ' ' ORDER BY location) AS locations
            FROM labels WHERE label_set = 'opencell/truth' GROUP BY ALL
        )
        SELECT gene FROM cells JOIN per_cell ON subject_id = cell_id
        GROUP BY gene HAVING count(DISTINCT locations) > 1 ORDER BY gene
        """,
    )
    assert len(differing) > PROTEINS / 6


def test_adding_it_again_changes_nothing(labelled: tuple[Path, TruthReport], atlas: Path, tmp_path: Path) -> None:
    """A second call gives the same report and writes no version."""
    store = Store.open(shutil.copytree(labelled[0], tmp_path / "store"))
    before = store.versions()
    assert add_truth(store, atlas) == labelled[1]
    assert store.versions() == before


def test_a_folder_or_store_without_the_atlas_is_reported(
    labelled: tuple[Path, TruthReport], atlas: Path, tmp_path: Path
) -> None:
    """One line states what was found and what to do."""
    store = Store.open(labelled[0])
    with pytest.raises(EmbstoreError, match=r"has no phantom\.json; give the folder"):
        add_truth(store, tmp_path)
    with pytest.raises(EmbstoreError, match=r"there is no dataset 'mine'; choose from: opencell"):
        add_truth(store, atlas, dataset="mine")


def test_a_split_by_cell_leaks_the_protein_and_one_by_protein_does_not(
    labelled: tuple[Path, TruthReport], tmp_path: Path
) -> None:
    """Field, plate and protein effects give a protein away: nearest neighbours score far more where cells are dealt."""
    store = Store.open(shutil.copytree(labelled[0], tmp_path / "store"))

    def score(by: str) -> dict[str, float]:
        report = bench(
            store, backbones=["pixel-stats"], task="localization:grade3", heads=["knn"], folds=3, seeds=2, by=by
        )
        return {row.backbone: row.mean for row in report.entries}

    honest, leaking = score("protein"), score("cell")
    assert leaking["pixel-stats"] > honest["pixel-stats"] + 0.08
    assert leaking["random-per-protein"] > 0.9
    assert honest["random-per-protein"] < honest["pixel-stats"]


def test_the_atlas_of_another_request_is_refused(labelled: tuple[Path, TruthReport], tmp_path: Path) -> None:
    """Keys do not contain the size of a field: masks that do not fit the stored images change no label."""
    other = tmp_path / "other"
    write_phantom(other, layout="opencell", proteins=2, fields=1, seed=5, field_px=150)
    store = Store.open(labelled[0])
    before = store.versions()
    with pytest.raises(EmbstoreError, match=r"has \[220, 220\] pixels in the store and \[150, 150\] in .*other; give"):
        add_truth(store, other)
    assert store.versions() == before


def damaged(atlas: Path, folder: Path) -> Path:
    return Path(shutil.copytree(atlas, folder / "damaged"))


def test_damaged_truth_is_one_line_and_changes_no_label(
    labelled: tuple[Path, TruthReport], atlas: Path, tmp_path: Path
) -> None:
    """A cut row, a missing column or mask, a note that is not JSON: reported, and nothing is written."""
    store = Store.open(labelled[0])
    before = store.versions()
    cells = (atlas / "truth" / "cells.csv").read_text()
    mask = next((atlas / "truth" / "masks").glob("*_nuclei.png")).name
    for number, (name, content, message) in enumerate(
        (
            ("truth/cells.csv", cells[: cells.rindex(",0")], r"cells.csv has 21 columns, and line \d+ has \d+ fields"),
            ("truth/cells.csv", cells.replace("vesicles", "vacuoles", 1), "has no column vesicles"),
            ("truth/cells.csv", None, "there is no file"),
            (f"truth/masks/{mask}", None, "cannot be read"),
            ("phantom.json", "[1, 2]", "does not describe an atlas"),
            ("phantom.json", "garbage", "cannot be read"),
        )
    ):
        broken = damaged(atlas, tmp_path / str(number))
        (broken / name).unlink()
        if content is not None:
            (broken / name).write_text(content)
        with pytest.raises(EmbstoreError, match=message) as error:
            add_truth(store, broken)
        assert "write the atlas again with the same command" in str(error.value)
        assert "\n" not in str(error.value)
    assert store.versions() == before


def test_the_folder_of_an_atlas_is_not_taken_for_its_images(atlas: Path, tmp_path: Path) -> None:
    """Masks are images too: ingest names the folder that is meant."""
    with pytest.raises(EmbstoreError, match=r"is a phantom atlas, .*; ingest .*/images"):
        ingest(Store.open(tmp_path / "s", create=True), atlas, layout="opencell", backbones=["pixel-stats"])
