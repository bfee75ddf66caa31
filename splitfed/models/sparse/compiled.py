"""What the compiled loops share: numba and its options.

Codes of a sample are laid out channels-last there, so that all that one coefficient touches is a few contiguous rows.
All arrays are flat; a sample never looks at another, and no loop holds the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

from splitfed.errors import UserError
from splitfed.files import cache_dir

_Function = TypeVar("_Function", bound=Callable[..., Any])

Array = np.ndarray[Any, Any]

index = np.uintp
"""Unsigned indices need no check for negative ones, which would keep loops from being vectorized."""

LANES = 16
"""Numbers that the vector operations take at a time; rows are filled up to a multiple of it."""

_SAMPLES_PER_TASK = 2


@cache
def available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def compiled(function: _Function) -> _Function:
    """The function as machine code, compiled when first called, and kept on disk where there is a place for it.

    No operation is reordered. The compiler optimizes a function anew in each caller, and which copy runs depends on
    what came from the disk: with license to reorder, the first run on a machine would not round as all later ones do.
    """
    import numba

    make = numba.njit(nogil=True, error_model="numpy", cache=_kept_on_disk())
    return cast("_Function", make(function))


@cache
def _kept_on_disk() -> bool:
    """Whether machine code can be kept, in a folder that numba chooses or, where it finds none, in our own cache.

    numba asks when a function is decorated: it takes NUMBA_CACHE_DIR, the package's folder or one under the user's
    home, whichever can be written first. Of a user without a home it would make a folder named "~" where it stands,
    so there ours comes first. Each process finds the same answer by itself.
    """
    import numba

    config: Any = numba.config  # its settings are made when it is imported
    has_home = not os.path.expanduser("~").startswith("~")  # noqa: PTH111  Path.home() raises where there is none
    if (has_home or config.CACHE_DIR) and _numba_finds_a_folder():
        return True
    named = config.CACHE_DIR
    try:
        config.CACHE_DIR = str(cache_dir() / "numba")
        if _numba_finds_a_folder():
            return True
    except UserError:  # no cache of our own either: each process compiles for itself
        pass
    config.CACHE_DIR = named
    return False


def _numba_finds_a_folder() -> bool:
    """Whether numba would keep what is compiled from the functions of this folder."""
    import numba

    try:
        numba.njit(cache=True)(_numba_finds_a_folder)  # nothing is compiled before the first call
    except (RuntimeError, OSError):  # "no locator available for file ..."
        return False
    return True


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

    threads = min(torch.get_num_threads(), len(tasks))
    if threads <= 1:
        drain()
    elif openmp() is not None:
        _in_openmp_team(drain, threads)
    else:
        _in_pool(drain, threads)


_Region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def openmp() -> Any:
    """The entry of GNU's OpenMP runtime, if PyTorch runs on it: it calls a function in every thread of a team."""
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # another runtime, or a platform without it
        return None
    parallel.argtypes, parallel.restype = (_Region, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return parallel


def _in_openmp_team(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` in the threads that PyTorch's own operations run in.

    They wait for work without sleeping, each on its core; a thread that has to be woken starts milliseconds late, and
    at first on the core of the one that woke it.
    """
    errors: list[BaseException] = []

    def region(_: int | None) -> None:
        try:
            work()
        except BaseException as error:  # nothing can be raised through the runtime
            errors.append(error)

    openmp()(_Region(region), None, threads, 0)
    if errors:
        raise errors[0]


def _in_pool(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` here and in threads of ours."""
    helping = [_helpers().submit(work) for _ in range(threads - 1)]
    try:
        work()
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
