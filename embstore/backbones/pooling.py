"""Pool a transformer's tokens into one vector."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embstore.errors import EmbstoreError

# pooling -> vector from the prefix tokens (CLS first, then registers) and the patch tokens, each (n, tokens, width)
PARTS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": lambda prefix, _: prefix[:, 0],
    "mean": lambda _, patches: patches.mean(dim=1),
    "std": lambda _, patches: patches.std(dim=1, correction=0),  # a single patch has a spread of 0, not NaN
    "max": lambda _, patches: patches.amax(dim=1),
}


def check_pooling(pooling: str, n_prefix: int, name: str) -> None:
    """Raise EmbstoreError for a pooling that needs the CLS token of a network that has none."""
    if n_prefix == 0 and "cls" in pooling.split("+"):
        raise EmbstoreError(f"{name} has no CLS token, which pooling={pooling} asks for; write {name}:pooling=mean")


def pool_tokens(tokens: torch.Tensor, n_prefix: int, pooling: str) -> torch.Tensor:
    """Return float32 (n, parts × width) from tokens (n, n_prefix + patches, width) after the last norm.

    `cls` is the first token; mean, std (of the population) and max are taken over the patch tokens only, without CLS
    and registers.
    """
    prefix, patches = tokens[:, :n_prefix].float(), tokens[:, n_prefix:].float()
    return torch.cat([PARTS[part](prefix, patches) for part in pooling.split("+")], dim=1)
