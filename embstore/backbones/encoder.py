"""Loading: from a backbone's record and choices to its encoder."""

from __future__ import annotations

from embstore.backbones.crops import CropEncoder
from embstore.backbones.record import Backbone, Choices, check_choices


def load(backbone: Backbone, choices: Choices, device: str = "auto") -> CropEncoder:
    """Return the encoder of a backbone, shown channels, crops and intensities as `choices` say.

    Mapping shows each role in the slot that the backbone learned it in, and the fill (after normalisation) in slots
    whose role is absent. Replication shows each of `choices.roles` alone in all slots and concatenates, in their order.
    `device` is auto, cpu or cuda; networks compute in half precision on a GPU, which is another space. Raises
    EmbstoreError for a choice that the backbone does not have or a device that is not here, and WeightsError where the
    weights are not here or not the recorded ones.
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
