"""What is scored: every space with every head, and the baselines, with vectors read only when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.ids import digest
from embstore.store import SpaceRow, Store, embeddings_name
from embstore_bench.baselines import baseline_vectors, baselines
from embstore_bench.heads.recipe import Head, Matrix
from embstore_bench.tasks import Task


@dataclass(frozen=True)
class Contestant:
    """One future entry: a space (or a baseline, named in `backbone`) and a head.

    `content_digest` covers ids, groups, classes, labels and vectors; `vectors()` reads them, float32 (n, dim), at the
    version that was digested.
    """

    backbone: str
    strategy: str
    space: str
    head: Head
    baseline: bool
    content_digest: str
    vectors: Callable[[], Matrix]

    @property
    def name(self) -> str:
        """Return the space (or baseline) and the head, such as `hpa:mapping, linear`."""
        strategy = "" if self.strategy in ("", "brought") else f":{self.strategy}"
        return f"{self.backbone}{strategy}, {self.head.name}"


def contestants(
    store: Store, spaces: Sequence[SpaceRow], heads: Sequence[Head], task: Task, versions: Mapping[str, int]
) -> Iterator[Contestant]:
    """Yield the spaces with each head, then the baselines."""
    asked = _asked_digest(task)
    for space in spaces:
        version = versions[embeddings_name(space["digest"])]
        vectors = partial(store.matrix, space["digest"], task.ids, version=version)
        content = digest([asked, _sha256(vectors())])
        for head in heads:
            yield Contestant(space["backbone"], space["strategy"], space["digest"], head, False, content, vectors)
    for baseline in baselines(heads):
        vectors = partial(baseline_vectors, baseline, task)
        yield Contestant(baseline.name, "", "", baseline.head, True, asked, vectors)


def _asked_digest(task: Task) -> str:
    """Return the digest of the question: the units, their groups, the classes, and which unit has which class."""
    groups = [task.groups[i] for i in task.group_index]
    return digest([task.ids, groups, task.classes, _sha256(task.actual)])


def _sha256(array: npt.NDArray[Any]) -> str:
    """Return the sha256 of an array's bytes in C order, without a second copy of them."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()
