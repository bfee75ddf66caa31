"""Cells over a Ray cluster of two machines, which are two nodes on this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitfed.config.components import Component
from splitfed.config.scenario import Cell, Scenario
from splitfed.experiment import run as experiment
from splitfed.records.events import Event, Notice
from splitfed.records.results import CellResult
from splitfed.runners.processes import Say
from splitfed.runners.ray_package import START_ATTEMPTS
from splitfed.runners.unfinished import Cause, CellFailure, Outcome
from tests.runners.on_ray import RAY_WARNINGS, ray_or_skip
from tests.views.fabricated import cell_result, changed

pytestmark = [pytest.mark.slow, *RAY_WARNINGS]

CORES = 2
"""Of each node: room for one cell."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and a second node, each with room for one cell."""
    ray_or_skip()
    nodes = head()
    try:
        nodes.add_node(num_cpus=CORES)
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
    finally:
        nodes.shutdown()


def head() -> Any:
    """A cluster of one node; started anew where a busy machine made Ray wait too long for its own processes."""
    from ray.cluster_utils import Cluster

    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return Cluster(initialize_head=True, head_node_args={"num_cpus": CORES, "include_dashboard": False})
        except Exception:
            if attempt == START_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def run(work: Any, jobs: int, on_event: Callable[[Event], None]) -> dict[str, Outcome]:
    from splitfed.runners.ray_cluster import run_cells

    outcomes: dict[str, Outcome] = {}

    def close(cell: Cell, outcome: Outcome) -> None:
        outcomes[cell.name] = outcome

    cells = [Cell(name=name, defense=Component(name="none"), seed=seed) for seed, name in enumerate("ab")]
    run_cells(cells, work, jobs=jobs, on_event=on_event, on_outcome=close)
    return outcomes


class Outlast:
    """A cell that says on which node it is, and stays there until a file of its name says that it may end."""

    def __init__(self, may_end: Path) -> None:
        self._may_end = may_end

    def __call__(self, cell: Cell, say: Say) -> CellResult:
        import ray

        say(Notice(message=f"{cell.name} {ray.get_runtime_context().get_node_id()}"))
        while not (self._may_end / cell.name).exists():
            time.sleep(0.1)
        return changed(cell_result(), cell=cell.name)


def test_each_machine_takes_a_cell_and_one_that_is_lost_takes_its_cell_with_it(cluster: Any, tmp_path: Path) -> None:
    places: dict[str, str] = {}
    lost: list[str] = []

    def on_event(event: Event) -> None:
        assert isinstance(event, Notice)
        cell, node = event.message.split()
        places[cell] = node
        if len(places) == 2:
            second = next(iter(cluster.worker_nodes))
            lost.extend(name for name, at in places.items() if at == second.node_id)
            cluster.remove_node(second, allow_graceful=False)
            for name in places.keys() - set(lost):
                (tmp_path / name).touch()

    outcomes = run(Outlast(tmp_path), 2, on_event)
    assert len(set(places.values())) == 2
    (gone,) = lost
    (kept,) = places.keys() - {gone}
    assert outcomes[kept] == changed(cell_result(), cell=kept)
    failure = outcomes[gone]
    assert isinstance(failure, CellFailure)
    assert failure.cause is Cause.HINDERED
    assert failure.reason.startswith("Ray lost it")


def test_a_scenario_runs_over_both(cluster: Any, scenario_of: Callable[..., Scenario], tmp_path: Path) -> None:
    scenario = scenario_of(federation={"rounds": 1}, defense=[{"name": "none"}, {"name": "laplace"}])
    results = experiment.run(scenario, out=tmp_path, jobs=2, runner="ray").results
    assert [cell.cell for cell in results.cells] == ["none", "laplace"]
    assert results.valid, [cell.gate_details for cell in results.cells]
    assert len(cluster.list_all_nodes()) == 2
