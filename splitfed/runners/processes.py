"""Cells in processes of their own, several at a time.

A cell depends on the scenario and its seed alone, so the weights that it trains do not depend on what runs beside it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from splitfed.config.scenario import Cell
from splitfed.errors import UserError
from splitfed.records.events import Event
from splitfed.records.results import CellResult
from splitfed.runners.child import safe_path
from splitfed.runners.unfinished import CellFailure, Outcome, attempt

Say = Callable[[Event], None]
RunCell = Callable[[Cell, Say], CellResult]
"""Runs a cell; must be picklable, since it runs in a new process."""

UNGUARDED = 86
"""The exit code of a new process whose main script started a run of its own instead of waiting for its cell."""
UNGUARDED_MESSAGE = """\
several cells at a time run in new processes, each of which first runs your script anew. Put what it does under a guard:

    if __name__ == "__main__":
        scenario = splitfed.load("medmnist_split")
        run = splitfed.run(scenario, jobs=2)"""
STOP_S = 10.0
"""How long a process that was told to stop may take before it is killed."""


@dataclass(frozen=True)
class _Worker:
    """One cell under way."""

    cell: Cell
    process: SpawnProcess
    pipe: Connection


def leave_if_unguarded() -> None:
    """Called where a run starts: a process that is only just being started, for a cell, must not start runs.

    Python itself refuses to start processes from there, but later, with a message about freezing executables.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # what `multiprocessing` asks of itself
        raise SystemExit(UNGUARDED)


def run_cells(
    cells: Sequence[Cell],
    run_cell: RunCell,
    *,
    jobs: int,
    on_event: Say,
    on_outcome: Callable[[Cell, Outcome], None],
) -> None:
    """Run all cells, at most `jobs` at a time, in their order. One that fails does not keep the others from running.

    Args:
        cells: to be run.
        run_cell: see `RunCell`.
        jobs: processes at a time, from 1.
        on_event: gets the events of all cells, in this thread.
        on_outcome: gets each cell's result, or why there is none, in this thread.

    Raises:
        UserError: the main script has no guard, see `leave_if_unguarded`.
    """
    waiting = deque(cells)
    workers: dict[Connection, _Worker] = {}
    try:
        while waiting or workers:
            while waiting and len(workers) < jobs:
                worker = _start(waiting.popleft(), run_cell)
                workers[worker.pipe] = worker
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)
                worker = workers[pipe]
                said = _hear(worker)
                if isinstance(said, Event):
                    on_event(said)
                    continue
                del workers[pipe]
                _join(worker)
                on_outcome(worker.cell, said)
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            _join(worker)


def _start(cell: Cell, run_cell: RunCell) -> _Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_work, args=(cell, run_cell, theirs), name=f"cell {cell.name}")
    with safe_path():
        process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(cell, process, ours)


def _hear(worker: _Worker) -> Event | Outcome:
    """The next event, or what became of the cell."""
    try:
        said: Event | Outcome = worker.pipe.recv()
    except (EOFError, OSError):  # the latter where it was killed in the midst of a message
        worker.process.join(STOP_S)
        if worker.process.exitcode == UNGUARDED:
            raise UserError(UNGUARDED_MESSAGE) from None
        return CellFailure(
            f"its process ended with exit code {worker.process.exitcode}; where it was killed for want of memory, run "
            "fewer cells at a time with --jobs"
        )
    return said


def _join(worker: _Worker) -> None:
    worker.process.join(STOP_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()


def _work(cell: Cell, run_cell: RunCell, pipe: Connection) -> None:
    """What the new process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    signal.signal(signal.SIGTERM, _leave)
    _end_with_parent()
    lock = threading.Lock()

    def say(message: object) -> None:
        with lock:
            pipe.send(message)

    say(attempt(lambda: run_cell(cell, say)))


def _leave(*_: object) -> None:
    raise SystemExit(143)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
