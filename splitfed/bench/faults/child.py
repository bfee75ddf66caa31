"""Processes of the suite: they start at once, from a process that has imported what they need."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from splitfed.experiment.threads import one_thread
from splitfed.runners.child import safe_path

IMPORTED = ["splitfed.bench.faults.stages", "sklearn.datasets", "torch._dynamo", "sympy"]
"""The last three are what the digits and PyTorch's optimizers import late."""
END_S = 10.0
"""How long a process may take to end by itself."""
Process = multiprocessing.context.ForkServerProcess


@cache
def context() -> ForkServerContext:
    """Where they come from."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(IMPORTED)
    return made


def start(work: Callable[..., None], *args: object) -> tuple[Process, Connection]:
    """A process that does this with a pipe to it, and the other end of the pipe. It ends with this one."""
    ours, theirs = context().Pipe()
    process = context().Process(target=_begin, args=(work, theirs, args), daemon=True)
    with safe_path():
        process.start()
    theirs.close()
    return process, ours


@cache
def warm_up() -> None:
    """Have the process ready that they come from: it imports for seconds."""
    process, pipe = start(_say_so)
    with pipe:
        pipe.recv()
    process.join()


def _say_so(pipe: Connection) -> None:
    pipe.send("ready")


def end(process: Process) -> int:
    """Kill it; how it ended, negative where by a signal."""
    process.kill()
    process.join()
    code = process.exitcode
    assert code is not None
    return code


def _begin(work: Callable[..., None], pipe: Connection, args: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends it
    with one_thread():
        work(pipe, *args)
