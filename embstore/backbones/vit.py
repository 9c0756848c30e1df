"""Vision transformers by timm, under the two channel strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embstore.backbones.encoder import Crops, check_crops
from embstore.backbones.record import Backbone, Choices, Space, space_of

if TYPE_CHECKING:
    import torch

BATCH = 16  # 4 to 16 is fastest on two cores (measured); a GPU is held up by cutting crops, not by this


@dataclass(frozen=True)
class ViT:
    """A loaded transformer with the way it is shown channels; calling it embeds crops."""

    backbone: Backbone
    space: Space
    network: torch.nn.Module
    device: str

    @property
    def dim(self) -> int:
        """Return the length of a vector: replication concatenates one pass per role."""
        return self.backbone.dim * (len(self.space.roles) if self.space.strategy == "replication" else 1)

    def __call__(self, crops: Crops) -> npt.NDArray[np.float32]:
        """Return float32 (n, dim), in the order of the crops."""
        check_crops(crops, self.backbone.input_px, self.space.roles, self.backbone.name)
        starts = range(0, len(crops), BATCH)
        vectors = [self._embed(crops.pixels[i : i + BATCH], crops.roles) for i in starts]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.dim), np.float32)

    def _embed(self, pixels: npt.NDArray[np.float32], roles: tuple[str, ...]) -> npt.NDArray[np.float32]:
        if self.space.strategy == "mapping":
            return self._forward(map_roles(pixels, roles, self.backbone, self.space.fill))
        views = [replicate_role(pixels, roles, role, self.backbone, self.space.fill) for role in self.space.roles]
        return np.concatenate([self._forward(view) for view in views], axis=1)

    def _forward(self, shown: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the pooled output (n, dim of the backbone) for what the network is shown (n, slots, y, x)."""
        import torch

        # cuDNN's convolutions round to 10 bits of mantissa by default; the space promises float32
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pooled = self.network(torch.from_numpy(shown).to(self.device))
        vectors: npt.NDArray[np.float32] = pooled.float().cpu().numpy()
        return vectors


def map_roles(
    pixels: npt.NDArray[np.float32], roles: tuple[str, ...], backbone: Backbone, fill: float
) -> npt.NDArray[np.float32]:
    """Return what the network is shown, float32 (n, slots, y, x): each role in its slot, normalised by that slot.

    A slot whose role is absent holds `fill` everywhere, after normalisation.
    """
    shown = _filled(pixels, len(backbone.slots), fill)
    for slot, role in enumerate(backbone.slots):
        if role in roles:
            shown[:, slot] = _normalised(pixels[:, roles.index(role)], backbone, slot)
    return shown


def replicate_role(
    pixels: npt.NDArray[np.float32], roles: tuple[str, ...], role: str, backbone: Backbone, fill: float
) -> npt.NDArray[np.float32]:
    """Return one role alone in all slots, float32 (n, slots, y, x), each slot normalised its own way.

    An absent role is `fill` in every slot, after normalisation.
    """
    shown = _filled(pixels, len(backbone.slots), fill)
    if role in roles:
        for slot in range(len(backbone.slots)):
            shown[:, slot] = _normalised(pixels[:, roles.index(role)], backbone, slot)
    return shown


def _filled(pixels: npt.NDArray[np.float32], slots: int, fill: float) -> npt.NDArray[np.float32]:
    return np.full((len(pixels), slots, *pixels.shape[2:]), fill, np.float32)


def _normalised(plane: npt.NDArray[np.float32], backbone: Backbone, slot: int) -> npt.NDArray[np.float32]:
    return (plane - np.float32(backbone.mean[slot])) / np.float32(backbone.std[slot])


def load_vit(backbone: Backbone, choices: Choices) -> ViT:
    """Return the loaded network on the GPU if torch sees one, else on the CPU.

    Raises WeightsError where the weights are not here or not the recorded ones.
    """
    import torch

    from embstore.backbones.network import load_network

    network, found = load_network(backbone)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return ViT(backbone, space_of(backbone, choices, found), network.to(device), device)
