"""Compare the store's cells with an atlas's truth: how well they were segmented, and what each really shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embstore.errors import EmbstoreError
from embstore.ingest import set_labels
from embstore.phantom.truth_files import read_cell_truth, read_field_keys, read_request, read_true_mask
from embstore.pixels.crop import unpack_mask
from embstore.progress import Progress, tracked
from embstore.sources.record import Label
from embstore.store import CellRow, Store, require_dataset, rows, select_columns
from embstore.tabular import Tabular, arrow_table

TRUTH_SCHEME = "truth"  # the label set is `<dataset>/truth`, at level cell
MATCH_IOU = 0.5  # of the nuclei: the usual bar of segmentation scores
SLIVER_UM2 = 10.0  # a nucleus of which the border leaves less than this is not counted


@dataclass(frozen=True, repr=False)
class TruthReport(Tabular):
    """How well an atlas's nuclei were segmented, and how many cells of the store now have their true locations.

    `f1` is 2 tp / (2 tp + fp + fn) at IoU 0.5 of nuclei, `iou` the mean over matched nuclei; slivers at the border
    below 10 µm² are not counted.
    """

    label_set: str
    images: int
    nuclei: int  # in the truth
    found: int
    matched: int
    f1: float
    iou: float
    labelled: int

    def to_arrow(self) -> pa.Table:
        """Return one row with a column for each of the report's values."""
        return arrow_table([self], TruthReport)

    @property
    def headline(self) -> str:
        """Return how well the nuclei were segmented, and how many cells were labelled."""
        return f"{self.label_set}: {self.labelled} cells labelled; F1 of the nuclei {self.f1:.3f}, IoU {self.iou:.3f}"


def add_truth(
    store: Store, atlas: str | Path, *, dataset: str | None = None, progress: Progress | None = None
) -> TruthReport:
    """Label the store's cells of a phantom atlas with their true locations, as `<dataset>/truth` at level cell.

    Each current cell gets the label of the true nucleus that it overlaps with an IoU above 0.5; the grade (3, 2, 1) is
    computed from its own mixture, so that cells of one protein may differ. Cells without a match get no label. Writes
    `labels`; a second call changes nothing. `progress(stage, done, total)` is called after every image. Raises
    EmbstoreError if folder or store do not contain such an atlas, or its fields have other sizes.
    """
    from embstore.phantom.v1.law import LAYOUTS

    atlas = Path(atlas)
    layout = read_request(atlas)["layout"]
    dataset, um = layout if dataset is None else dataset, LAYOUTS[layout].pixel_size_um
    truth = read_cell_truth(atlas / "truth")
    cells = _cells(store, dataset, atlas)
    shapes = _shapes(store, dataset)
    labels: list[Label] = []
    asked: list[tuple[str, str, str]] = []
    nuclei = n_segmented = 0
    overlaps: list[float] = []
    for key, mine in tracked(list(cells.items()), "images", progress):
        true = read_true_mask(atlas / "truth", key, "nuclei")
        if list(true.shape) != shapes[key]:
            mismatch = f"{key} has {shapes[key]} pixels in the store and {list(true.shape)} in {atlas}"
            raise EmbstoreError(f"{mismatch}; give the atlas that was ingested")
        matches = _matched(true, mine, um)
        nuclei, n_segmented = nuclei + matches.nuclei, n_segmented + matches.found
        overlaps += matches.overlaps
        asked += [(TRUTH_SCHEME, "cell", _subject(cell, dataset)) for cell in mine]
        labels += _labels(matches.pairs, truth.get(key, {}), dataset)
    set_labels(store, dataset, labels, asked)
    tp = len(overlaps)
    return TruthReport(
        label_set=f"{dataset}/{TRUTH_SCHEME}",
        images=len(cells),
        nuclei=nuclei,
        found=n_segmented,
        matched=tp,
        f1=2 * tp / max(nuclei + n_segmented, 1),
        iou=float(np.mean(overlaps)) if overlaps else 0.0,
        labelled=len({label.subject for label in labels}),
    )


@dataclass(frozen=True)
class _Matches:
    pairs: list[tuple[CellRow, int]]  # a cell of the store, and the label of its true nucleus
    overlaps: list[float]
    nuclei: int
    found: int


def _cells(store: Store, dataset: str, atlas: Path) -> dict[str, list[CellRow]]:
    """Return the store's current cells of each image of the atlas, by image key, in order of label."""
    known = set(read_field_keys(atlas / "truth"))
    stored = rows(
        store, "SELECT DISTINCT image_id FROM images WHERE dataset = $dataset ORDER BY 1", {"dataset": dataset}
    )
    keys = [row["image_id"].removeprefix(f"{dataset}/") for row in stored]
    ours = {key: list[CellRow]() for key in keys if key in known}
    if not ours:
        require_dataset(store, dataset)
        raise EmbstoreError(
            f"the store's dataset {dataset!r} has {len(keys)} images, none of them of {atlas}; "
            f"embstore ingest {atlas}/images first, or name the dataset that contains it with --dataset"
        )
    sql = "SELECT cell_id, image_id, box, nucleus_mask FROM cells WHERE dataset = $dataset ORDER BY image_id, label"
    cells: list[CellRow] = select_columns(store, sql, {"dataset": dataset}).to_pylist()
    for cell in cells:
        key = cell["image_id"].removeprefix(f"{dataset}/")
        if key in ours:
            ours[key].append(cell)
    return ours


def _shapes(store: Store, dataset: str) -> dict[str, list[int]]:
    """Return image key -> [height, width] of a dataset's images."""
    sql = "SELECT image_id, shape FROM images WHERE dataset = $dataset ORDER BY image_id, revision"
    return {r["image_id"].removeprefix(f"{dataset}/"): r["shape"][1:] for r in rows(store, sql, {"dataset": dataset})}


def _matched(true: npt.NDArray[np.int32], cells: Sequence[CellRow], um: float) -> _Matches:
    """Match the nuclei of one image; with an IoU above 0.5, no two cells can match the same nucleus."""
    sizes = np.bincount(true.ravel())
    counted = sizes * um**2 >= SLIVER_UM2
    counted[0] = False
    pairs, overlaps, n_segmented = [], [], 0
    for cell in cells:
        y0, x0, y1, x1 = cell["box"]
        mask = unpack_mask(cell["nucleus_mask"], (y1 - y0, x1 - x0))
        under = np.bincount(true[y0:y1, x0:x1][mask], minlength=1)
        under[0] = 0
        best = int(under.argmax())
        iou = float(under[best]) / float(mask.sum() + sizes[best] - under[best])
        if under[best] and iou > MATCH_IOU:
            pairs.append((cell, best))
            if not counted[best]:
                continue
            overlaps.append(iou)
        elif mask.sum() * um**2 < SLIVER_UM2:
            continue
        n_segmented += 1
    return _Matches(pairs, overlaps, int(counted.sum()), n_segmented)


def _labels(pairs: Sequence[tuple[CellRow, int]], truth: dict[int, dict[str, float]], dataset: str) -> Iterator[Label]:
    from embstore.phantom.v1.law import grade

    for cell, label in pairs:
        for location, share in truth[label].items():
            if level := grade(share):
                yield Label(TRUTH_SCHEME, "cell", _subject(cell, dataset), location, level, "phantom")


def _subject(cell: CellRow, dataset: str) -> str:
    return cell["cell_id"].removeprefix(f"{dataset}/")
