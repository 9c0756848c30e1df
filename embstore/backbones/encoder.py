"""Load an encoder from a backbone's record and the choices of a spec."""

from __future__ import annotations

from embstore.backbones.crops import CropEncoder
from embstore.backbones.record import Backbone, Choices, check_choices


def load(backbone: Backbone, choices: Choices, device: str = "auto") -> CropEncoder:
    """Return the encoder of a backbone, with channels, crops and intensities as `choices` state.

    Mapping puts each role into the slot that the backbone learned it in, and the fill (after normalisation) into slots
    whose role is absent. Replication puts each of `choices.roles` alone into all slots and concatenates the vectors, in
    order. `device` is auto, cpu or cuda; networks compute in half precision on a GPU, which is another space. Raises
    EmbstoreError for a choice that the backbone does not have or a missing device, and WeightsError if the weights are
    missing or not the recorded ones.
    """
    check_choices(backbone, choices)
    if backbone.kind == "hand-made":
        from embstore.backbones.pixel_stats import PixelStats

        return PixelStats(backbone, choices)
    if backbone.kind == "convolutional":
        from embstore.backbones.convolutional import load_convolutional

        return load_convolutional(backbone, choices, device)
    if backbone.kind == "encoder":
        from embstore.backbones.packages import load_registered

        return load_registered(backbone, choices, device)
    from embstore.backbones.vit import load_vit

    return load_vit(backbone, choices, device)
