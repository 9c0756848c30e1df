"""The training itself: student and teacher, multi-crop views, centring and schedules, built from lightly's parts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError
from embstore.files import whole_file
from embstore.pretrain.log import TrainingState
from embstore.pretrain.recipe import VIT_SIZES, Recipe, backbone_of
from embstore.pretrain.views import bright_log, random_views

if TYPE_CHECKING:
    import torch

    from embstore.pretrain.crops import CropSet


@dataclass
class Training:
    """The state of a training: two networks with their projection heads, the loss with its centre, the optimiser."""

    recipe: Recipe
    student: torch.nn.Module
    teacher: torch.nn.Module
    student_head: Any
    teacher_head: Any
    loss: Any
    koleo: Any
    optimiser: torch.optim.Optimizer
    device: str
    step: int = 0

    @property
    def parts(self) -> dict[str, Any]:
        """Return what a checkpoint stores, by name."""
        return {
            "student": self.student,
            "teacher": self.teacher,
            "student_head": self.student_head,
            "teacher_head": self.teacher_head,
            "loss": self.loss,
            "optimiser": self.optimiser,
        }


def begin(recipe: Recipe, device: str = "cpu") -> Training:
    """Return a training before its first step; the same seed gives the same weights.

    Raises EmbstoreError if lightly is not installed.
    """
    import torch

    from embstore.backbones.network import build

    try:
        from lightly.loss import DINOLoss, KoLeoLoss
        from lightly.models.modules import DINOProjectionHead
    except ImportError as error:
        raise EmbstoreError(
            f"pretraining needs the package lightly ({error}); install it: pip install 'embstore[pretrain]'"
        ) from error
    torch.manual_seed(recipe.seed)
    backbone = backbone_of(recipe, "being trained")
    student, teacher = build(backbone), build(backbone)  # when called, they return the CLS token after the last norm
    hidden, bottleneck, prototypes = recipe.head
    width = VIT_SIZES[recipe.size][0]
    with warnings.catch_warnings():  # lightly still makes its last layer with torch's older weight norm
        warnings.simplefilter("ignore", FutureWarning)
        heads = [DINOProjectionHead(width, hidden, bottleneck, prototypes, norm_last_layer=True) for _ in range(2)]
    teacher.load_state_dict(student.state_dict())
    heads[1].load_state_dict(heads[0].state_dict())
    for module in (teacher, heads[1]):
        module.requires_grad_(False)
    loss = DINOLoss(prototypes, teacher_temp=recipe.teacher_temperature, student_temp=recipe.student_temperature)
    for module in (student, teacher, *heads, loss):
        module.to(device)
    optimiser = _optimiser(recipe, student, heads[0])
    return Training(recipe, student, teacher, heads[0], heads[1], loss, KoLeoLoss(), optimiser, device)


def _optimiser(recipe: Recipe, student: torch.nn.Module, head: torch.nn.Module) -> torch.optim.Optimizer:
    """Return AdamW; biases and norms are not decayed, as published."""
    import torch

    parameters = [p for module in (student, head) for p in module.parameters() if p.requires_grad]
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) is wide] for wide in (True, False))
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay[0])


def steps_in_all(recipe: Recipe, cells: int) -> int:
    """Return how many steps the recipe takes for so many cells; the last, smaller batch of an epoch is dropped."""
    return recipe.epochs * (cells // recipe.batch)


def train(training: Training, crops: CropSet, until: int | None = None) -> Iterator[dict[str, float]]:
    """Continue from the training's step; yields the measures of each step, and changes the training.

    Order and views depend only on the recipe's seed and the step, so that a resumed training continues unchanged.
    """
    recipe, total = training.recipe, steps_in_all(training.recipe, len(crops))
    per_epoch = len(crops) // recipe.batch
    while training.step < (total if until is None else until):
        epoch, place = divmod(training.step, per_epoch)
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(crops))
        for start in range(place * recipe.batch, per_epoch * recipe.batch, recipe.batch):
            yield _stepped(training, crops, order[start : start + recipe.batch], total)
            if training.step == until:
                return


def _stepped(training: Training, crops: CropSet, chosen: npt.NDArray[np.int64], total: int) -> dict[str, float]:
    import torch
    from lightly.models.utils import update_momentum
    from lightly.utils.scheduler import cosine_schedule

    recipe, step = training.recipe, training.step
    _schedule(training, total)
    first, second = (torch.from_numpy(pixels) for pixels in _partners(crops, chosen, recipe, step))
    views = _views(first.to(training.device), second.to(training.device), recipe, step)
    with torch.autocast(training.device, torch.bfloat16, enabled=_autocasts(training.device)):
        with torch.no_grad():
            teacher_out = list(training.teacher_head(training.teacher(torch.cat(views[:2]))).float().chunk(2))
        tokens, student_out = _projected(training, views)
    loss = training.loss(teacher_out, student_out)
    if recipe.spread:
        loss = loss + recipe.spread * sum(training.koleo(t.float()) for t in tokens[:2])
    if not torch.isfinite(loss):  # checked before it changes anything
        raise EmbstoreError(f"the loss is {float(loss)} at step {step}; try a smaller --learning-rate")
    training.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if step < recipe.frozen_last_layer * total:
        for parameter in training.student_head.last_layer.parameters():
            parameter.grad = None
    torch.nn.utils.clip_grad_norm_(training.student.parameters(), recipe.clip)
    torch.nn.utils.clip_grad_norm_(training.student_head.parameters(), recipe.clip)
    training.optimiser.step()
    momentum = cosine_schedule(step, total, *recipe.momentum)
    update_momentum(training.student, training.teacher, momentum)
    update_momentum(training.student_head, training.teacher_head, momentum)
    training.step += 1
    return {"loss": float(loss.detach()), "entropy": _entropy(training, teacher_out)}


def _autocasts(device: str) -> bool:
    """True if rounding to bfloat16 makes products faster: on a GPU that supports it; CPUs without AMX become slower."""
    import torch

    return device == "cuda" and torch.cuda.is_bf16_supported()


def _schedule(training: Training, total: int) -> None:
    """Set the learning rate (linear warm-up, then a cosine to a thousandth) and the weight decay of this step."""
    from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule

    recipe, step = training.recipe, training.step
    rate = cosine_warmup_schedule(
        step,
        total,
        start_value=recipe.learning_rate,
        end_value=recipe.learning_rate / 1000,
        warmup_steps=int(recipe.warm_up * total),
        warmup_start_value=0.0,
    )
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.param_groups[0]["weight_decay"] = cosine_schedule(step, total, *recipe.weight_decay)


def _partners(
    crops: CropSet, chosen: npt.NDArray[np.int64], recipe: Recipe, step: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the crops of the selected cells and of their partners: themselves, or another cell of each one's field."""
    first = crops.take(chosen)
    if recipe.views == "cell":
        return first, first
    random = np.random.default_rng([recipe.seed, step, 1])
    return first, crops.take(np.array([crops.neighbour(int(i), random) for i in chosen]))


def _views(first: torch.Tensor, second: torch.Tensor, recipe: Recipe, step: int) -> list[torch.Tensor]:
    """Return the views, the two large ones first; they are taken in turn from the selected cells and their partners."""
    import torch

    random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    large = [random_views(c, recipe, recipe.global_scale, recipe.global_px, random) for c in (first, second)]
    turns = [(first, second)[i % 2] for i in range(recipe.local_views)]
    return large + [random_views(c, recipe, recipe.local_scale, recipe.local_px, random) for c in turns]


def _projected(training: Training, views: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the student's CLS tokens and outputs for every view; views of one size are computed together."""
    import torch

    tokens = [training.student(torch.cat(views[:2]))]
    if len(views) > 2:
        tokens.append(training.student(torch.cat(views[2:])))
    flat = torch.cat(tokens)
    return list(flat.chunk(len(views))), list(training.student_head(flat).float().chunk(len(views)))


def _entropy(training: Training, teacher_out: list[torch.Tensor]) -> float:
    """Return the entropy (nats) of the teacher's mean assignment; 0 if all cells are assigned alike, a collapse."""
    import torch

    with torch.no_grad():
        shares = ((torch.cat(teacher_out) - training.loss.center[0]) / training.recipe.teacher_temperature).softmax(1)
        mean = shares.mean(0)
        return float(-(mean * mean.clamp_min(1e-12).log()).sum())


def cls_tokens(training: Training, crops: CropSet, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the teacher's CLS tokens of the crops at these positions, float32 (n, width), in central views."""
    import torch

    margin, side = (crops.shards[0].shape[-1] - training.recipe.input_px) // 2, training.recipe.input_px
    tokens = []
    training.teacher.eval()
    with torch.inference_mode():
        for start in range(0, len(positions), 64):
            batch = crops.take(positions[start : start + 64])[..., margin : margin + side, margin : margin + side]
            shown = bright_log(torch.from_numpy(batch).to(training.device).float() / 255)
            tokens.append(training.teacher(shown).float().cpu().numpy())
    training.teacher.train()
    return np.concatenate(tokens)


def save_checkpoint(training: Training, path: Path, kept: TrainingState, identity: dict[str, str]) -> None:
    """Write the state of a training; if this is interrupted, the previous checkpoint stays intact.

    `identity` states which training may continue from it; `kept` is returned then.
    """
    import torch

    state = {name: part.state_dict() for name, part in training.parts.items()}
    with whole_file(path) as unfinished:
        torch.save({"step": training.step, "identity": identity, "kept": kept, **state}, unfinished)


def resume(training: Training, path: Path, identity: dict[str, str]) -> TrainingState:
    """Load a checkpoint's state into the training; returns what was stored with it.

    Raises EmbstoreError if it is from another recipe or other cells, or cannot be read.
    """
    import pickle

    import torch

    again = f"delete {path.parent} to begin again, or name another folder with --work"
    try:
        state = torch.load(path, map_location=training.device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise EmbstoreError(f"{path} cannot be read ({str(error).splitlines()[0]}); {again}") from error
    for what, digest in identity.items():
        if state["identity"][what] != digest:
            raise EmbstoreError(f"{path} is from a training with another {what}; {again}")
    for name, part in training.parts.items():
        part.load_state_dict(state[name])
    training.step = state["step"]
    kept: TrainingState = state["kept"]
    return kept
