"""Choose how many crops a network processes at once, and with how many threads: measured once per process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch

# tokens in a forward pass: 16 crops of a ViT-S/16 at 224 px, or 1 field of a ViT-B/8 at 512 px. More is no faster on
# two cores (measured, batches of 4 to 16 crops are equally fast), and each token takes some 30 kB in a ViT-B.
CPU_TOKENS = 16 * 197
FEW_TOKENS = CPU_TOKENS // 4
GPU_TOKENS = 64 * 1025
MUCH_TOKENS = 4 * CPU_TOKENS  # less work than this is finished before a measurement would pay
PROBE_S = 0.8
MOST_WORKERS = 8  # each has a batch's activations in memory, some 100 MB in a ViT-B

R = TypeVar("R")


@dataclass
class Pace:
    """What this process has computed so far, and what it measured: tokens per forward pass, torch's threads.

    None means as many threads as torch has.
    """

    seen: int = 0
    probed: bool = False
    tokens: int = CPU_TOKENS
    threads: int | None = None


HERE = Pace()


def batches(network: Any, device: str, tokens: int, n: int, pace: Pace = HERE) -> list[slice]:
    """Return how `n` views of `tokens` tokens each are divided into batches: slices in order, none empty.

    On the CPU, the first call with much work to do times one block of the network, for less than a second; batches that
    are computed in parallel (see `embedded`) are equally many for each thread. The results do not depend on the
    batches.
    """
    if device != "cpu":
        return _split(n, max(1, GPU_TOKENS // tokens), 1)
    pace.seen += n * tokens
    if not pace.probed and pace.seen >= MUCH_TOKENS:
        pace.probed = True
        _probe(network, min(tokens, FEW_TOKENS), pace)
    return _split(n, max(1, pace.tokens // tokens), _workers(device, tokens))


def _split(n: int, most: int, workers: int) -> list[slice]:
    count = min(n, math.ceil(n / (most * workers)) * workers)
    bounds = [n * i // count for i in range(count + 1)] if n else []
    return [slice(*pair) for pair in pairwise(bounds)]


def _workers(device: str, tokens: int) -> int:
    """Return how many batches are computed at once: on a CPU, one per thread, unless a view is as large as one."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device == "cpu" and tokens <= CPU_TOKENS else 1


def embedded(function: Callable[[slice], R], parts: Sequence[slice], device: str, tokens: int) -> list[R]:
    """Return `function(part)` of each part, in order: on a CPU in parallel, each with its share of the threads.

    Threads that share each matrix product wait for each other at every product, and for other work on their core, such
    as the thread that cuts the next crops. With one thread per batch, they wait once, at the end.
    """
    threads, workers = torch.get_num_threads(), min(_workers(device, tokens), len(parts))
    if workers < 2:
        with at_pace():
            return [function(part) for part in parts]
    share = max(1, threads // workers)
    with ThreadPoolExecutor(workers, "embstore-encode", torch.set_num_threads, (share,)) as pool:
        return list(pool.map(function, parts))


@contextmanager
def at_pace(pace: Pace = HERE) -> Iterator[None]:
    """Compute with the number of threads that was found fastest, and restore torch's own number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(pace.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _probe(network: Any, tokens: int, pace: Pace) -> None:
    """Set the number of threads that is fastest on a small batch, then the faster of a small and a large batch."""
    until, most = time.perf_counter() + PROBE_S, torch.get_num_threads()
    small, large = FEW_TOKENS // tokens, CPU_TOKENS // tokens
    _seconds(network, tokens, small, most)  # the first pass also allocates memory and loads code
    by_threads = {n: _seconds(network, tokens, small, n) for n in sorted({1, (most + 1) // 2, most})}
    pace.threads = min(by_threads, key=lambda n: by_threads[n])
    a_view = {small: by_threads[pace.threads] / small}
    if time.perf_counter() + large * a_view[small] < until:
        a_view[large] = _seconds(network, tokens, large, pace.threads) / large
    pace.tokens = min(a_view, key=lambda size: a_view[size]) * tokens


def _seconds(network: Any, tokens: int, n: int, threads: int) -> float:
    block, width = network.blocks[0], network.embed_dim
    started = time.perf_counter()
    with torch.inference_mode(), at_pace(Pace(threads=threads)):
        block(torch.zeros(n, tokens, width))
    return time.perf_counter() - started
