"""What the compiled loops share: numba and its options.

Codes of a sample are laid out channels-last there, so that all that one coefficient touches is a few contiguous rows.
All arrays are flat; a sample never looks at another, and no loop holds the interpreter's lock.
"""

from __future__ import annotations

import importlib.util
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])

Array = np.ndarray[Any, Any]

index = np.uintp
"""Unsigned indices need no check for negative ones, which would keep loops from being vectorised."""

LANES = 16
"""Numbers that the vector operations take at a time; rows are filled up to a multiple of it."""

_SAMPLES_PER_TASK = 4


@cache
def available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def compiled(function: _Function) -> _Function:
    """The function as machine code, compiled when first called and kept on disk."""
    import numba

    return cast("_Function", numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)(function))


def over_samples(count: int, work: Callable[[int, int, int], None]) -> None:
    """Run ``work(task, first, last)`` on ranges of samples, in as many threads as PyTorch uses.

    The ranges are the same however many threads there are.
    """
    import torch

    tasks = deque(enumerate(task_ranges(count)))

    def drain() -> None:
        while tasks:
            try:
                task, (first, last) = tasks.popleft()
            except IndexError:  # another thread was faster
                return
            work(task, first, last)

    helpers = min(torch.get_num_threads(), len(tasks)) - 1
    helping = [_helpers().submit(drain) for _ in range(helpers)]
    try:
        drain()
    finally:
        for helper in helping:
            if not helper.cancel():
                helper.result()


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that are kept: to start one takes about as long as to code an image."""
    return ThreadPoolExecutor(os.cpu_count(), "sparse")


def task_ranges(count: int) -> list[tuple[int, int]]:
    """The ranges of samples of `over_samples`."""
    starts = range(0, count, _SAMPLES_PER_TASK)
    return [(first, min(first + _SAMPLES_PER_TASK, count)) for first in starts]
