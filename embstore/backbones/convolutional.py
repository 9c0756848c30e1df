"""timm's convolutional networks: built by timm, loaded strictly, pooled over the whole map as timm does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from embstore.arrays import Float32s
from embstore.backbones.checkpoints import check_claims, float_arrays
from embstore.backbones.device import autocast, choose_device, precision_on
from embstore.backbones.hub import find_or_download
from embstore.backbones.pooled import PooledEncoder
from embstore.backbones.record import Backbone, Choices, space_of
from embstore.backbones.weight_files import read_file
from embstore.backbones.weights import Tensors, again, check_weights, weights_sha256
from embstore.errors import WeightsError, advised

# how many batches a normalisation has seen in training: nothing reads it afterwards, and older files lack it
BATCH_COUNTER = "num_batches_tracked"


def load_convolutional(backbone: Backbone, choices: Choices, device: str = "auto") -> PooledEncoder:
    """Return the encoder of one of timm's convolutional networks; see `encoder.load`.

    The vector is what timm gives without a classifier: the last map of features, pooled over all places as the network
    was trained (mostly their mean), and in some architectures normalised or projected after that.
    """
    where = choose_device(device)
    path = find_or_download(backbone)
    with advised(again(backbone)):
        tensors = convolutional_tensors(backbone, path)
        network = fitting_convolutional(backbone, tensors, str(path)).to(where)
    space = precision_on(where, space_of(backbone, choices, weights_sha256(tensors)))

    def vectors_of(view: Float32s) -> Float32s:
        with torch.inference_mode(), autocast(where):
            pooled = network(torch.from_numpy(view).to(where))
        vectors: Float32s = pooled.float().cpu().numpy()
        return vectors

    return PooledEncoder(backbone, space, vectors_of, backbone.dim, where)


def build_convolutional(architecture: str, slots: int, arguments: dict[str, Any], device: str = "cpu") -> Any:
    """Return timm's network without a classifier, with random weights; WeightsError where timm cannot build it."""
    try:
        with torch.device(device):
            network = timm.create_model(architecture, pretrained=False, num_classes=0, in_chans=slots, **arguments)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise WeightsError(f"timm cannot build {architecture} with {arguments} ({error})") from error
    return network.eval()


def convolutional_tensors(backbone: Backbone, path: Path) -> Tensors:
    """Return the tensors of a file in timm's format, without the classifier and the counters of batches."""
    classifier = timm.get_pretrained_cfg(backbone.architecture).classifier
    dropped = tuple(f"{name}." for name in ((classifier,) if isinstance(classifier, str) else classifier or ()))
    state = {
        name: tensor
        for name, tensor in read_file(path).items()
        if not (str(name).startswith(dropped) or str(name).endswith(BATCH_COUNTER))
    }
    check_claims(state, path)
    return float_arrays(state, path)


def fitting_convolutional(backbone: Backbone, tensors: Tensors, where: str) -> Any:
    """Return the backbone's network filled with exactly these tensors; `where` they are from is named in errors.

    Raises WeightsError that names the first tensor which is missing, too many, misshaped or not finite.
    """
    network = build_convolutional(backbone.architecture, len(backbone.slots), backbone.architecture_args)
    own = network.state_dict()
    check_weights(tensors, {name: tuple(t.shape) for name, t in own.items() if not name.endswith(BATCH_COUNTER)}, where)
    counters = {name: tensor for name, tensor in own.items() if name.endswith(BATCH_COUNTER)}
    network.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()} | counters, strict=True)
    return network
