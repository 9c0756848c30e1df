"""The cells to train on, cut out once and kept on disk: shards of uint8 crops, memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError, ImageError
from embstore.files import whole_file
from embstore.ids import digest
from embstore.ingest import Prepared, Work, crops_of, prepared_images, stored_cells, stored_plan
from embstore.pixels.intensity import intensity_spec
from embstore.pretrain.recipe import CUT_WIDER, Recipe
from embstore.progress import Progress, tell
from embstore.sources.record import Failure
from embstore.store import Store

SHARD_IMAGES = 64


@dataclass(frozen=True)
class CropSet:
    """Crops of cells, uint8 (n, roles, y, x) in several shards; `image` is the index of each cell's field."""

    shards: tuple[npt.NDArray[np.uint8], ...]
    cell_ids: npt.NDArray[np.str_]  # (n,)
    image: npt.NDArray[np.int64]  # (n,) ascending
    digest: str
    failures: tuple[Failure, ...] = ()

    def __len__(self) -> int:
        return len(self.cell_ids)

    def take(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the crops at these positions, in this order, uint8 (n, roles, y, x)."""
        ends = np.cumsum([len(shard) for shard in self.shards])
        shard = np.searchsorted(ends, chosen, side="right")
        starts = np.concatenate([[0], ends])[shard]
        return np.stack([self.shards[s][i] for s, i in zip(shard, chosen - starts, strict=True)])

    def neighbour(self, position: int, random: np.random.Generator) -> int:
        """Return the position of another cell of the same field, or of the cell itself if it is the only one."""
        first, end = np.searchsorted(self.image, [self.image[position], self.image[position] + 1])
        if end - first < 2:
            return position
        other = int(random.integers(first, end - 1))
        return other + (other >= position)


def cut_crops(
    store: Store, dataset: str | None, recipe: Recipe, folder: Path, progress: Progress | None = None
) -> CropSet:
    """Return the crops of a dataset's current cells; those that `folder` lacks are cut from the images again.

    Crops are CUT_WIDER times `crop_um` wide, at the recipe's pixels per µm; a channel that an image lacks is black.
    Writes shards of 64 images each into the folder, so that an interrupted run continues. Images that cannot be read
    are listed in `failures`. Raises EmbstoreError if no image can be read, or if there are fewer cells than two
    batches.
    """
    plan = stored_plan(store, dataset, ["pretraining"], None)
    if not plan.work:
        first = plan.failures[0]
        raise EmbstoreError(f"no image can be read ({first.source}: {first.error}); {first.todo}")
    folder.mkdir(parents=True, exist_ok=True)
    works, failures, shards = plan.work, list(plan.failures), []
    for start in range(0, len(works), SHARD_IMAGES):
        batch = works[start : start + SHARD_IMAGES]
        shards.append(_shard(store, batch, recipe, folder, failures))
        tell(progress, "crops", min(start + SHARD_IMAGES, len(works)), len(works), failures=len(failures))
    ids = [np.load(path.with_suffix(".ids.npy")) for path in shards]
    cells = np.concatenate(ids)
    if len(cells) < 2 * recipe.batch:
        raise EmbstoreError(
            f"{len(cells)} cells to train on, wanted at least two batches of {recipe.batch}; "
            "ingest more images, or choose a smaller batch with --batch"
        )
    fields = np.array([cell.rsplit(":", 2)[0] for cell in cells.tolist()])
    image = np.cumsum(np.concatenate([[False], fields[1:] != fields[:-1]]))  # the cells of one field are adjacent
    pixels = tuple(np.load(path, mmap_mode="r") for path, shard_ids in zip(shards, ids, strict=True) if len(shard_ids))
    what = [(work.image_id, work.sha256) for work in works]
    return CropSet(pixels, cells, image, digest([_spec(recipe), what, cells.tolist()]), tuple(failures))


def _spec(recipe: Recipe) -> list[object]:
    shown = [recipe.crop_um * CUT_WIDER, cut_px(recipe), intensity_spec(recipe.intensity)]
    return [list(recipe.roles), *shown]


def cut_px(recipe: Recipe) -> int:
    """Return the side of a stored crop in pixels."""
    return round(recipe.input_px * CUT_WIDER)


def _shard(store: Store, works: Sequence[Work], recipe: Recipe, folder: Path, failures: list[Failure]) -> Path:
    """Return the file with the crops of some images, cutting them if it is missing; its content names it."""
    name = digest([_spec(recipe), [(w.image_id, w.revision, w.segmentation, w.sha256) for w in works]])[:16]
    path = folder / f"{name}.npy"
    if path.exists():
        return path
    ids: list[str] = []
    cuts: list[npt.NDArray[np.uint8]] = []
    for image in prepared_images(works, partial(stored_cells, store), intensity_spec(recipe.intensity)):
        cut = _cut(image, recipe) if isinstance(image, Prepared) else image
        if isinstance(cut, Failure):
            failures.append(cut)
        elif len(cut):
            ids += [cell["cell_id"] for cell in image.cells]  # type: ignore[union-attr]
            cuts.append(cut)
    side = cut_px(recipe)
    pixels = np.concatenate(cuts) if cuts else np.zeros((0, len(recipe.roles), side, side), np.uint8)
    _write(path.with_suffix(".ids.npy"), np.array(ids, np.str_))
    _write(path, pixels)
    return path


def _cut(image: Prepared, recipe: Recipe) -> npt.NDArray[np.uint8] | Failure:
    side = cut_px(recipe)
    shown = np.zeros((len(image.cells), len(recipe.roles), side, side), np.uint8)
    if not image.cells or image.pixel_size_um is None:
        return shown[:0]
    try:
        crops = crops_of(image.cells, image.scaled, image.roles, recipe.crop_um * CUT_WIDER / image.pixel_size_um, side)
    except ImageError as error:  # a crop wider than any field: the image's pixel size is wrong
        return Failure(image.work.image_id, "pretrain", error.found, error.todo)
    for channel, role in enumerate(recipe.roles):
        if role in image.roles:
            shown[:, channel] = np.round(crops.pixels[:, image.roles.index(role)] * 255)
    return shown


def _write(path: Path, values: np.ndarray) -> None:
    with whole_file(path) as unfinished, unfinished.open("wb") as handle:
        np.save(handle, values)
