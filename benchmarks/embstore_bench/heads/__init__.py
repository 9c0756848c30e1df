"""Heads: recipes that turn frozen vectors into a classifier."""

from __future__ import annotations

from embstore_bench.heads.linear import HEAD_LINEAR
from embstore_bench.heads.mlp import HEAD_MLP
from embstore_bench.heads.neighbours import HEAD_KNN
from embstore_bench.heads.prototype import HEAD_PROTOTYPE
from embstore_bench.heads.recipe import Head

__all__ = ["HEADS"]

HEADS: dict[str, Head] = {head.name: head for head in (HEAD_LINEAR, HEAD_MLP, HEAD_KNN, HEAD_PROTOTYPE)}
