"""Find the spaces of backbones without loading a network: by digest, among those that the store records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from embstore.backbones.device import DEVICES
from embstore.backbones.record import Backbone, Choices, space_of
from embstore.backbones.weights import local_file, weights_origin
from embstore.space import Space
from embstore.store import SpaceRow, Store, list_spaces

GPU_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))  # NVIDIA's, AMD's, and a GPU under Windows
GPU_PRECISIONS = ("float16-stored/bfloat16-autocast", "float16-stored/float16-autocast")


def known_spaces(store: Store, named: Sequence[tuple[Backbone, Choices]], device: str) -> tuple[Space, ...] | None:
    """Return the space of each backbone, as `load` would make it; None unless all are recorded and can be determined.

    Neither torch nor any tensor is read: the weights are those that the record pins, that the file's header names, or
    that the space was made with, if the file is older than the space.
    """
    rows = list_spaces(store)
    spaces = [_known(rows, backbone, choices, device) for backbone, choices in named]
    known = [space for space in spaces if space is not None]
    return tuple({space.digest: space for space in known}.values()) if len(known) == len(spaces) else None


def _known(rows: Sequence[SpaceRow], backbone: Backbone, choices: Choices, device: str) -> Space | None:
    for row in rows:
        if (row["backbone"], row["revision"]) != (backbone.name, backbone.revision):
            continue
        space = space_of(backbone, choices, _weights(backbone, row))
        for precision in _precisions(backbone, space.precision, device):
            made = replace(space, precision=precision)
            if made.digest == row["digest"]:
                return made
    return None


def _weights(backbone: Backbone, row: SpaceRow) -> str | None:
    """Return the sha256 of the backbone's weights; None if it cannot be determined without reading them."""
    if backbone.weights_sha256:
        return backbone.weights_sha256
    file = local_file(backbone)
    if file is None:
        return None
    named = weights_origin(file).get("weights_sha256")
    is_older = datetime.fromtimestamp(file.stat().st_mtime, UTC) < row["created"]
    return named or (row["weights_sha256"] if is_older else None)


def _precisions(backbone: Backbone, on_cpu: str, device: str) -> tuple[str, ...]:
    """Return the precisions in which the device would compute the vectors, as a space spells them."""
    if backbone.kind in {"hand-made", "encoder"} or device == "cpu":
        return (on_cpu,)
    if device not in DEVICES:
        return ()  # `load` reports it
    if any(driver.exists() for driver in GPU_DRIVERS):
        return GPU_PRECISIONS
    return (on_cpu,) if device == "auto" else ()
