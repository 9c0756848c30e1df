"""`timm:NAME`: any vision transformer that timm publishes, as a record made from timm's own."""

from __future__ import annotations

from embstore.backbones.record import Backbone
from embstore.errors import EmbstoreError, choices
from embstore.space import TIMM

RGB_SLOTS = ("microtubules", "protein", "nucleus")  # the order in which the Human Protein Atlas draws red, green, blue
CROP_UM = 25.0  # a whole HEK293T, A-431 or U-2 OS cell with a little of its neighbours


def timm_record(name: str) -> Backbone:
    """Return the record of one of timm's vision transformers: its own mean, sd and input size, RGB slots.

    Raises EmbstoreError for a name that timm does not have, and for a network that is no plain vision transformer.
    """
    import timm
    import torch

    if not timm.is_model(name) or not timm.models.is_model_in_modules(name, ["vision_transformer"]):
        raise EmbstoreError(choices(name, "vision transformer", timm.list_models("vit_*", pretrained=True), "in timm"))
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        raise EmbstoreError(f"timm publishes no weights for {name}; name a tag such as {name}.augreg_in21k")
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False, num_classes=0)
    return Backbone(
        name=TIMM + name,
        revision=1,
        kind="vit",
        architecture=name,
        slots=RGB_SLOTS,
        input_px=published.input_size[-1],
        crop_um=CROP_UM,
        normalisation="fixed",
        mean=tuple(published.mean),
        std=tuple(published.std),
        pooling="cls" if network.cls_token is not None else "mean",
        dim=network.num_features,
        licence=published.license or "see the file's page",
        source=f"https://huggingface.co/{published.hf_hub_id}",
        note=published.description or "by timm",
        weights_format="timm",
        hub=published.hf_hub_id,
        file=published.hf_hub_filename or "model.safetensors",
        citation=published.paper_ids if isinstance(published.paper_ids, str) else "",
        origin="timm",
    )
