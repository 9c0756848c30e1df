"""Where heads are fitted: several at once on the cores, or one after the other on a GPU if there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

FITS_AT_ONCE = 8  # each copies its vectors a few times
VECTORS_AT_ONCE = 2**29  # bytes of vectors that all fits at once may have


def fit_device() -> str:
    """Return torch's name of the device on which linear and MLP heads are fitted: `cuda` or `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def fits_side_by_side(n_bytes: int, *, with_torch: bool) -> Iterator[ThreadPoolExecutor]:
    """Give a pool whose fits share the cores: many small products on one core each, not each on all of them.

    Threads that wait for each other in every small product take longer than one thread alone, on busy cores minutes
    instead of seconds. `n_bytes` is the size of the vectors; the variable OMP_NUM_THREADS limits the cores.
    """
    from threadpoolctl import threadpool_limits

    cores = _cores()
    workers = max(1, min(cores, FITS_AT_ONCE, VECTORS_AT_ONCE // max(n_bytes, 1)))
    threads = max(1, cores // workers)
    with threadpool_limits(threads, user_api="blas"):
        if not with_torch:
            with ThreadPoolExecutor(workers, "embstore-fit") as pool:
                yield pool
            return
        import torch

        before = torch.get_num_threads()
        if fit_device() != "cpu":
            workers, threads = 1, before
        with ThreadPoolExecutor(workers, "embstore-fit", torch.set_num_threads, (threads,)) as pool:
            yield pool
        torch.set_num_threads(before)  # the setting is the process's, not the thread's


def _cores() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(limit)) if limit.isdecimal() and int(limit) else available
