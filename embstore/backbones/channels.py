"""Channels into a network's slots: mapping and replication, masks, fills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.crops import Crops
from embstore.backbones.normalise import normalise
from embstore.backbones.record import Backbone
from embstore.space import Space


def views_of(crops: Crops, backbone: Backbone, space: Space) -> list[Float32s]:
    """Return what the network is shown of crops, float32 (n, slots, y, x): one for mapping, one a role for replication.

    Mapping shows each role in the slot that the backbone learned it in; replication shows one role alone in all slots,
    in the order of `space.roles`. Where the space is masked, pixels outside the cell are 0 before normalisation.
    """
    pixels = np.where(crops.cell[:, None], crops.pixels, np.float32(0)) if space.masked else crops.pixels
    if space.strategy == "mapping":
        return [_view(pixels, crops.roles, backbone.slots, backbone, space)]
    return [_view(pixels, crops.roles, [role] * len(backbone.slots), backbone, space) for role in space.roles]


def _view(pixels: Float32s, roles: Sequence[str], wanted: Sequence[str], backbone: Backbone, space: Space) -> Float32s:
    """Return (n, slots, y, x) with `wanted[slot]` in each slot, normalised as that slot is; absent roles are filled."""
    present = [slot for slot, role in enumerate(wanted) if role in roles]
    view = np.full((len(pixels), len(wanted), *pixels.shape[2:]), space.fill, np.float32)
    if present:
        mean, std = ([numbers[slot] for slot in present if numbers] for numbers in (backbone.mean, backbone.std))
        planes = pixels[:, [roles.index(wanted[slot]) for slot in present]]
        view[:, present] = normalise(planes, backbone.normalisation, mean, std)
        _fill(view, present, wanted, space.filling)
    return view


def _fill(view: Float32s, present: Sequence[int], wanted: Sequence[str], filling: str) -> None:
    """Fill the slots that are not `present`: with the mean of those that are, or with a copy of the protein's."""
    absent = [slot for slot in range(len(wanted)) if slot not in present]
    if absent and filling == "mean":
        view[:, absent] = view[:, present].mean(axis=1, keepdims=True)
    elif absent and filling == "copy":
        copied = next((slot for slot in present if wanted[slot] == "protein"), present[0])
        view[:, absent] = view[:, [copied]]
