"""From a store's cells to a trained network: cut crops, train, monitor, and keep checkpoints to continue from."""

from __future__ import annotations

import csv
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from embstore.arrays import Float32s
from embstore.errors import in_any_case
from embstore.pretrain import dino
from embstore.pretrain.crops import CropSet, cut_crops
from embstore.pretrain.knn import Watched, knn_macro_f1, watched_cells
from embstore.pretrain.log import LOG_COLUMNS, LogRow, TrainingState
from embstore.pretrain.recipe import Recipe, check_recipe
from embstore.progress import Progress, tell
from embstore.store import Store
from embstore.tabular import Tabular, arrow_table

_log = logging.getLogger(__name__)

CHECKPOINT_S = 60.0  # at most this much is lost if the process is killed


@dataclass(frozen=True, repr=False)
class Pretrained(Tabular):
    """A finished training: the teacher's tensors by timm's names, its data, and a log row for each epoch."""

    recipe: Recipe
    tensors: dict[str, Float32s]
    cells: int
    images: int
    data_digest: str
    watched: str | None
    resumed_at: int  # the step from which it continued, 0 if it began anew
    failures: tuple[str, ...]
    log: list[LogRow] = field(default_factory=list)

    def to_arrow(self) -> pa.Table:
        """Return the log: one row for each epoch."""
        return arrow_table(self.log, LogRow)

    @property
    def headline(self) -> str:
        """Return what was trained, and on how much."""
        network = f"vit_{self.recipe.size}_patch{self.recipe.patch_px}"
        return f"{network} trained on {self.cells:,} cells of {self.images:,} images"


def pretrain(
    store: Store,
    recipe: Recipe,
    *,
    work: str | Path,
    dataset: str | None = None,
    watch: str | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Pretrained:
    """Train a vision transformer on the cells of a dataset (default: all) without labels, or continue a training.

    `work` contains crops, the checkpoint (of each epoch, and of the last minute) and `log.csv`; the same recipe on the
    same cells continues there, another one is refused. `watch` names the label set of the log's k-NN score. Only reads
    the store. Raises EmbstoreError for settings that cannot be trained with. Calls `progress(stage, done, total)`.
    """
    check_recipe(recipe)
    work = Path(work)
    crops = cut_crops(store, dataset, recipe, work / "crops", progress)
    watched = watched_cells(store, crops.cell_ids, dataset, watch)
    run = _Run(dino.begin(recipe, device), crops, watched, work)
    resumed_at = run.resume()
    run.finish(progress)
    return Pretrained(
        recipe,
        {name: tensor.float().cpu().numpy() for name, tensor in run.training.teacher.state_dict().items()},
        len(crops),
        len(np.unique(crops.image)),
        crops.digest,
        watched.label_set if watched else None,
        resumed_at,
        tuple(f"{failure.source}: {failure.error}" for failure in crops.failures),
        run.log,
    )


class _Run:
    """A training in progress: what it has logged, and the folder from which it can continue."""

    def __init__(self, training: dino.Training, crops: CropSet, watched: Watched | None, work: Path) -> None:
        self.training, self.crops, self.watched, self.work = training, crops, watched, work
        self.log: list[LogRow] = []
        self.measures: list[dict[str, float]] = []  # of the epoch's steps so far
        self.seconds = 0.0
        self._saved = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        return self.work / "checkpoint.pt"

    @property
    def _identity(self) -> dict[str, str]:
        return {"recipe": self.training.recipe.digest, "data": self.crops.digest}

    def resume(self) -> int:
        """Load the folder's checkpoint, if there is one; returns its step."""
        if not self.checkpoint.exists():
            return 0
        kept = dino.resume(self.training, self.checkpoint, self._identity)
        self.log, self.measures, self.seconds = kept["log"], kept["measures"], kept["seconds"]
        return self.training.step

    def finish(self, progress: Progress | None) -> None:
        """Train to the end; if it is stopped, everything up to the last complete step is kept."""
        total = dino.steps_in_all(self.training.recipe, len(self.crops))
        if not self.log:
            self._end_epoch()
        with in_any_case(self.save):
            started = time.monotonic()
            for measures in dino.train(self.training, self.crops):
                self.measures.append(measures)
                self.seconds += time.monotonic() - started
                if self.training.step % (total // self.training.recipe.epochs) == 0:
                    self._end_epoch()
                elif time.monotonic() - self._saved > CHECKPOINT_S:
                    self.save()
                tell(progress, "steps", self.training.step, total)
                started = time.monotonic()

    def _end_epoch(self) -> None:
        mean = {name: float(np.mean([m[name] for m in self.measures])) for name in ("loss", "entropy") if self.measures}
        score = None
        if self.watched is not None:
            score = round(
                knn_macro_f1(dino.cls_tokens(self.training, self.crops, self.watched.positions), self.watched), 4
            )
        self.log.append(
            {
                "epoch": len(self.log),
                "step": self.training.step,
                "loss": mean.get("loss"),
                "entropy": mean.get("entropy"),
                "knn_macro_f1": score,
                "seconds": round(self.seconds, 1),
            }
        )
        _log.info("epoch %(epoch)d: step %(step)d, loss %(loss)s, k-NN macro F1 %(knn_macro_f1)s", self.log[-1])
        self.measures.clear()
        self.save()

    def save(self) -> None:
        """Write the checkpoint, and the log for people to read."""
        kept: TrainingState = {"log": self.log, "measures": self.measures, "seconds": self.seconds}
        dino.save_checkpoint(self.training, self.checkpoint, kept, self._identity)
        with (self.work / "log.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, LOG_COLUMNS)
            writer.writeheader()
            writer.writerows(self.log)
        self._saved = time.monotonic()
