"""`timm:NAME`: networks that timm publishes, or has in repositories of the Hub, as records made from timm's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embstore.backbones.hub import download_file
from embstore.backbones.record import Backbone
from embstore.backbones.weight_files import IN_PYTHON
from embstore.backbones.weights import cached_file
from embstore.errors import EmbstoreError, choices
from embstore.space import HF_HUB, TIMM

RGB_SLOTS = ("microtubules", "protein", "nucleus")  # the order in which the Human Protein Atlas draws red, green, blue
CROP_UM = 25.0  # a whole HEK293T, A-431 or U-2 OS cell with a little of its neighbours
HUB_NAME = r"[\w.-]+/[\w.-]+"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # what timm writes, the newer first
VIT_MODULE = "vision_transformer"


@dataclass(frozen=True)
class PublishedNetwork:
    """What timm publishes about weights: the architecture and its arguments, and how images are shown to it."""

    name: str  # in a backbone spec, without timm:
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    input_size: tuple[int, ...] = (3, 224, 224)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fixed_size: bool = False
    licence: str = ""
    description: str = ""
    citation: str = ""
    hub: str = ""
    file: str = ""


def timm_record(name: str) -> Backbone:
    """Return the record of a network by timm's own name: its own mean, sd and input size, RGB slots.

    `hf-hub:USER/NAME` is a repository that timm wrote, whose config.json is read (from the Hub's cache, else from the
    Hub). Raises EmbstoreError for a name that timm does not have, and for a network that is neither a plain vision
    transformer nor a convolutional one.
    """
    published = _of_repository(name.removeprefix(HF_HUB)) if name.startswith(HF_HUB) else _of_timm(name)
    kind, pooling, dim = _described(published)
    return Backbone(
        name=TIMM + published.name,
        revision=1,
        kind=kind,
        architecture=published.architecture,
        architecture_args=published.arguments,
        slots=RGB_SLOTS,
        input_px=published.input_size[-1],
        crop_um=CROP_UM,
        normalisation="fixed",
        mean=published.mean,
        std=published.std,
        pooling=pooling,
        dim=dim,
        licence=published.licence or "see the file's page",
        source=f"https://huggingface.co/{published.hub}",
        note=published.description or "by timm",
        weights_format="timm",
        hub=published.hub,
        file=published.file,
        citation=published.citation,
        origin="timm",
    )


def _of_timm(name: str) -> PublishedNetwork:
    import timm

    if not timm.is_model(name):
        raise EmbstoreError(choices(name, "network", timm.list_models(pretrained=True), "in timm"))
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        raise EmbstoreError(f"timm publishes no weights for {name}; name a tag such as {name}.augreg_in21k")
    return PublishedNetwork(
        name=name,
        architecture=name,
        input_size=tuple(published.input_size),
        mean=tuple(published.mean),
        std=tuple(published.std),
        fixed_size=bool(published.fixed_input_size),
        licence=published.license or "",
        description=published.description or "",
        citation=published.paper_ids if isinstance(published.paper_ids, str) else "",
        hub=published.hf_hub_id,
        file=published.hf_hub_filename or HUB_FILES[0],
    )


def _of_repository(repository: str) -> PublishedNetwork:
    """Return what the config.json of a repository states that timm wrote (timm.models.push_to_hf_hub)."""
    import timm

    if not re.fullmatch(HUB_NAME, repository):
        raise EmbstoreError(f"{repository!r} is no repository of the Hub; wanted {TIMM}{HF_HUB}USER/NAME")
    path = cached_file(repository, "config.json") or download_file(repository, "config.json")
    config = _config(path, repository)
    own = config.get("pretrained_cfg", config)
    architecture = config.get("architecture")
    if not isinstance(architecture, str) or not timm.is_model(architecture) or not isinstance(own, dict):
        raise EmbstoreError(
            f"the config.json of {repository} names the architecture {architecture!r}, which timm does not have; "
            "name a repository that timm wrote"
        )
    default = timm.get_pretrained_cfg(architecture)
    return PublishedNetwork(
        name=HF_HUB + repository,
        architecture=architecture,
        arguments={k: v for k, v in config.get("model_args", {}).items() if k not in {"num_classes", "in_chans"}},
        input_size=tuple(own.get("input_size", default.input_size)),
        mean=tuple(own.get("mean", default.mean)),
        std=tuple(own.get("std", default.std)),
        fixed_size=bool(own.get("fixed_input_size", default.fixed_input_size)),
        licence=str(own.get("license") or ""),
        description=f"{architecture} of {repository}",
        hub=repository,
        file=next((file for file in HUB_FILES if cached_file(repository, file)), HUB_FILES[0]),
    )


def _config(path: Path, repository: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EmbstoreError(f"the config.json of {repository} cannot be read ({error}); get it again") from error
    if not isinstance(config, dict):
        raise EmbstoreError(f"the config.json of {repository} is no object; name a repository that timm wrote")
    return config


def _described(published: PublishedNetwork) -> tuple[str, str, int]:
    """Return the kind, the pooling and the length of a vector of a network that is built without memory."""
    import torch

    from embstore.backbones.convolutional import build_convolutional

    channels = published.input_size[0]
    if channels != len(RGB_SLOTS):
        raise EmbstoreError(
            f"{published.name} takes {channels} channels, and what each shows is not stated; download its file and add "
            "it with `embstore backbones add FILE --roles A,B`"
        )
    network = build_convolutional(published.architecture, channels, published.arguments, "meta")
    if _is_vit(published.architecture):
        return "vit", "cls" if network.cls_token is not None else "mean", int(network.num_features)
    with torch.device("meta"):
        shown = torch.zeros(1, *published.input_size)
        features, pooled = network.forward_features(shown), network(shown)
    is_map = isinstance(features, torch.Tensor) and features.ndim == 4 and features.shape[1] == network.num_features
    if not is_map or published.fixed_size:
        raise EmbstoreError(
            f"{published.name} is neither a plain vision transformer nor a convolutional network; {IN_PYTHON}"
        )
    return "convolutional", "global", int(pooled.shape[1])


def _is_vit(architecture: str) -> bool:
    import timm

    return bool(timm.models.is_model_in_modules(architecture, [VIT_MODULE]))
