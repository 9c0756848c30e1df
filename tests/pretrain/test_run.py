"""A training on a real store: after a kill it continues unchanged, and it refuses to continue another one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from killing import kill_after

from embstore.errors import EmbstoreError
from embstore.pretrain.crops import cut_crops
from embstore.pretrain.recipe import Recipe, backbone_of, check_recipe, parse_arch
from embstore.pretrain.run import Pretrained, pretrain
from embstore.store import Store

TINY = Recipe(
    size="micro", patch_px=8, input_px=16, global_px=16, local_px=8, epochs=4, batch=8, head=(32, 16, 64), seed=5
)
TRAIN = """
from pathlib import Path
from embstore.pretrain.recipe import Recipe
from embstore.pretrain.run import pretrain
from embstore.store import Store
import embstore.pretrain.run
embstore.pretrain.run.CHECKPOINT_S = 0.0  # more moments to be killed at
recipe = Recipe(size="micro", patch_px=8, input_px=16, global_px=16, local_px=8, epochs=4, batch=8, head=(32, 16, 64),
                seed=5)
go()
pretrain(Store.open(sys.argv[1]), recipe, work=Path(sys.argv[2]), progress=lambda *at: print(at, flush=True))
"""


@pytest.fixture(scope="module")
def undisturbed(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pretrained, Path]:
    """A whole training, and the folder that it worked in."""
    work = tmp_path_factory.mktemp("pretraining")
    return pretrain(Store.open(phantom_store), TINY, work=work), work


def test_the_log_has_a_row_an_epoch_and_the_untrained_network_first(undisturbed: tuple[Pretrained, Path]) -> None:
    """The log starts with the network as it was drawn; three proteins share no location that k-NN could be asked of."""
    trained, work = undisturbed
    assert [row["epoch"] for row in trained.log] == [0, 1, 2, 3, 4]
    assert trained.log[0]["loss"] is None
    assert all(np.isfinite([row["loss"], row["entropy"]]).all() for row in trained.log[1:])
    assert trained.watched is None
    assert len((work / "log.csv").read_text().splitlines()) == 6
    assert all(np.isfinite(tensor).all() for tensor in trained.tensors.values())


def test_training_changes_the_teacher(undisturbed: tuple[Pretrained, Path]) -> None:
    """What is kept is not the network as it was drawn."""
    import torch

    from embstore.backbones.network import build

    torch.manual_seed(TINY.seed)
    drawn = build(backbone_of(TINY, "tiny")).state_dict()
    trained = undisturbed[0].tensors
    assert set(drawn) == set(trained)
    assert np.abs(drawn["blocks.0.attn.qkv.weight"].numpy() - trained["blocks.0.attn.qkv.weight"]).max() > 1e-5


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(
    undisturbed: tuple[Pretrained, Path], phantom_store: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle, and the same call gives the weights that an undisturbed training gives."""
    assert kill_after(12, 0.05, phantom_store, tmp_path, TRAIN)
    again = pretrain(Store.open(phantom_store), TINY, work=tmp_path)
    assert again.resumed_at > 0
    assert again.data_digest == undisturbed[0].data_digest
    for name, tensor in undisturbed[0].tensors.items():
        np.testing.assert_allclose(again.tensors[name], tensor, atol=2e-4, err_msg=name)
    assert [row["step"] for row in again.log] == [row["step"] for row in undisturbed[0].log]


def test_a_finished_training_is_not_done_again(
    undisturbed: tuple[Pretrained, Path], phantom_store: Path, tmp_path: Path
) -> None:
    """The same call on a finished folder takes no step and gives the same weights."""
    work = shutil.copytree(undisturbed[1], tmp_path / "work")
    again = pretrain(Store.open(phantom_store), TINY, work=work)
    assert again.resumed_at == again.log[-1]["step"]
    assert all((again.tensors[name] == tensor).all() for name, tensor in undisturbed[0].tensors.items())


def test_another_recipe_does_not_go_on_from_a_checkpoint(
    undisturbed: tuple[Pretrained, Path], phantom_store: Path, tmp_path: Path
) -> None:
    """Weights of two recipes do not mix: the second is refused in one line that states what to do."""
    work = shutil.copytree(undisturbed[1], tmp_path / "work")
    with pytest.raises(EmbstoreError, match=r"another recipe; delete .* --work"):
        pretrain(Store.open(phantom_store), replace(TINY, learning_rate=1e-4), work=work)


def test_a_broken_checkpoint_is_refused(
    undisturbed: tuple[Pretrained, Path], phantom_store: Path, tmp_path: Path
) -> None:
    """A checkpoint that was cut short is a clear error, not a training that starts over on its own."""
    work = shutil.copytree(undisturbed[1], tmp_path / "work")
    path = work / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(EmbstoreError, match="cannot be read"):
        pretrain(Store.open(phantom_store), TINY, work=work)


def test_partners_are_other_cells_of_the_same_field(phantom_store: Path, tmp_path: Path) -> None:
    """A cell's partner is of its own field, and another cell wherever there is one."""
    crops = cut_crops(Store.open(phantom_store), None, TINY, tmp_path)
    random = np.random.default_rng(0)
    images = np.array([cell.rsplit(":", 2)[0] for cell in crops.cell_ids.tolist()])
    assert len(np.unique(images)) == 3
    for position in range(len(crops)):
        partner = crops.neighbour(position, random)
        assert images[partner] == images[position]
        assert partner != position or (images == images[position]).sum() == 1


def test_crops_are_those_of_the_store_at_the_asked_positions(phantom_store: Path, tmp_path: Path) -> None:
    """take keeps the order asked for and repeats, across shards."""
    crops = cut_crops(Store.open(phantom_store), None, TINY, tmp_path)
    all_of_them = np.concatenate(crops.shards)
    chosen = np.array([5, 0, 5, len(crops) - 1])
    assert (crops.take(chosen) == all_of_them[chosen]).all()
    assert all_of_them.shape[1:] == (2, 20, 20)
    assert all_of_them.max() > 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": "protein"}, "there is no source of views"),
        ({"input_px": 20}, "patches of 8 px do not fill"),
        ({"batch": 1}, "batch is 1"),
        ({"roles": ()}, "the roles are none"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(changes: dict[str, object], message: str) -> None:
    """Each wrong setting is named."""
    with pytest.raises(EmbstoreError, match=message):
        check_recipe(replace(TINY, **changes))  # type: ignore[arg-type]


def test_architectures_are_named_by_size_and_patch() -> None:
    """vit_small_patch8 is read; what is not known lists what is."""
    assert parse_arch("vit_small_patch8") == ("small", 8)
    with pytest.raises(EmbstoreError, match="vit_base_patch16"):
        parse_arch("resnet50")


def test_too_few_cells_say_so(phantom_store: Path, tmp_path: Path) -> None:
    """A batch as large as the dataset is refused before anything is trained."""
    with pytest.raises(EmbstoreError, match="wanted at least two batches"):
        pretrain(Store.open(phantom_store), replace(TINY, batch=500), work=tmp_path)
