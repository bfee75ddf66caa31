"""Cells on a Ray cluster: the same work as in `processes`, on whatever machines the cluster has.

The run directory and the data must lie where all machines see them. Ray is the engine that Flower's own simulations
use; it is an optional extra, imported here alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from splitfed.config.scenario import Cell
from splitfed.errors import UserError
from splitfed.runners.processes import RunCell, Say
from splitfed.runners.ray_package import load_ray, start
from splitfed.runners.unfinished import CellFailure, Outcome, attempt

CORES_PER_CELL = 2
"""Clients and server train on one, the attacker learns on another."""
PATIENCE_S = 0.2
"""Between two looks at what the cells say."""


def run_cells(
    cells: Sequence[Cell],
    run_cell: RunCell,
    *,
    jobs: int,
    on_event: Say,
    on_outcome: Callable[[Cell, Outcome], None],
) -> None:
    """Run all cells, at most `jobs` at a time and no more than the cluster has room for; see `processes.run_cells`.

    The cluster is the one that RAY_ADDRESS names, or one that is started on this machine for as long as this takes.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = load_ray()
    address = os.environ.get("RAY_ADDRESS")
    context = _reached(ray, address) if address else start(ray, ignore_reinit_error=True)
    cores = min(CORES_PER_CELL, int(ray.cluster_resources().get("CPU", 1)))
    task = ray.remote(num_cpus=cores, max_retries=0)(_work)
    waiting, running = deque(cells), dict[Any, Cell]()
    with context:
        queue = _queue_here(ray)
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    cell = waiting.popleft()
                    running[task.remote(cell, run_cell, queue)] = cell
                finished, _ = ray.wait(list(running), timeout=PATIENCE_S)
                for event in queue.get_nowait_batch(queue.qsize()):
                    on_event(event)
                for reference in finished:
                    cell = running.pop(reference)
                    on_outcome(cell, _outcome(ray, reference))
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _reached(ray: Any, address: str) -> Any:
    try:
        return ray.init(address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"no Ray cluster: {error}. Check RAY_ADDRESS, or unset it to use this machine alone") from None


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return CellFailure(f"Ray lost it: {str(error).strip()}")
    return outcome


def _work(cell: Cell, run_cell: RunCell, queue: Any) -> Outcome:
    """What a machine of the cluster does."""
    return attempt(lambda: run_cell(cell, queue.put))


def _queue_here(ray: Any) -> Any:
    """What the cells speak into, kept on the machine that listens: with another one it would be lost for all cells."""
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)})
