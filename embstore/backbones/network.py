"""The networks themselves: built by timm, loaded strictly, checked against the weights that the record pins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch

from embstore.backbones.record import Backbone
from embstore.backbones.weights import find_or_download, missing_line, random_weights, read_weights, weights_sha256
from embstore.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, npt.NDArray[np.float32]]


def build(backbone: Backbone) -> Any:
    """Return timm's vision transformer without a classification head, one input channel a slot; weights are not set.

    `forward_features` takes float32 (n, slots, y, x) and returns the tokens after the last norm, (n, tokens, width):
    CLS and register tokens first (`num_prefix_tokens` of them), then patches row by row.
    """
    channels = len(backbone.slots)
    return timm.create_model(
        backbone.architecture, pretrained=False, num_classes=0, in_chans=channels, **backbone.architecture_args
    )


def load_network(backbone: Backbone) -> tuple[Any, str]:
    """Return the network with its weights, ready to be called on the CPU, and the sha256 of those weights.

    Raises WeightsError where the weights are not here, are not exactly the network's tensors, or are not the ones that
    the record pins.
    """
    network = build(backbone)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    tensors = READERS[backbone.weights_format](backbone, shapes)
    found = weights_sha256(tensors)
    if backbone.weights_sha256 not in (None, found):
        raise WeightsError(
            f"{backbone.name} revision {backbone.revision} has weights {found[:12]}, "
            f"its record pins {str(backbone.weights_sha256)[:12]}; use the embstore version that wrote the record"
        )
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, strict=True)
    return network.eval(), found


def _drawn(_: Backbone, shapes: Shapes) -> Tensors:
    return random_weights(shapes)


def _shipped(backbone: Backbone, shapes: Shapes) -> Tensors:
    name = f"{backbone.name.replace('-', '_')}.safetensors"
    with as_file(files("embstore.backbones").joinpath(name)) as path:
        return read_weights(path, shapes)


def _read(backbone: Backbone, shapes: Shapes) -> Tensors:
    return read_weights(find_or_download(backbone), shapes)


def _unreadable(backbone: Backbone, _: Shapes) -> Tensors:
    raise WeightsError(missing_line(backbone))


READERS: dict[str, Callable[[Backbone, Shapes], Tensors]] = {
    "drawn": _drawn,
    "shipped": _shipped,
    "timm": _read,
    "safetensors": _read,
    "dino": _unreadable,
    "subcell": _unreadable,
}
