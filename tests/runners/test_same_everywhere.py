"""One scenario, one seed: the same weights bit by bit, and the same results, wherever the clients run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.experiment import run as experiment
from splitfed.federation.job import Job
from splitfed.federation.shares import shares
from splitfed.records.store import RunStore
from tests.federation.harness import train
from tests.runners.everywhere import Trained, measured, trained
from tests.runners.on_ray import RAY_WARNINGS, ray_or_skip

ScenarioOf = Callable[..., Scenario]

DEFENSES = [
    {"name": "none"},
    {"name": "laplace"},  # random in training and in the audit
    {"name": "sca"},  # prepared before the first round; compiled loops; batch norm
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenario(scenario_of: ScenarioOf) -> Scenario:
    """Small, with a defense of each kind."""
    return scenario_of(
        data={"train": 240, "aux": 300, "test": 120}, defense=DEFENSES, attacker={"margin_db": 0.0, "threads": 1}
    )


@pytest.fixture(scope="module")
def here(scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """The run that all others are held against: clients are threads of this process, their streams are real."""
    return experiment.run(scenario, out=tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("defense", [defense["name"] for defense in DEFENSES])
def test_without_a_wire_the_weights_are_the_same(
    defense: str, scenario: Scenario, here: RunStore, tmp_path: Path
) -> None:
    (cell,) = (cell for cell in scenario.cells() if cell.name == defense)
    options = scenario.data
    splits: Splits = data.split(
        data.load(options.name),
        train=options.train,
        aux=options.aux,
        test=options.test,
        seed=scenario.seed,
        by=options.split,
    )
    shape, classes = splits.train.shape, len(splits.train.classes)
    job = Job("same/cell", scenario, cell, shape, classes, secret="secret")
    train(job, shares(scenario, splits, cell.seed), direct=True, checkpoint=tmp_path / "cell.pt")
    assert Trained.of(tmp_path / "cell.pt") == trained(here)[defense]


RUNNERS = [
    pytest.param({"runner": "local", "jobs": 2}, id="cells-in-processes"),
    pytest.param({"runner": "deploy"}, id="roles-in-processes"),
    pytest.param({"runner": "ray", "jobs": 1}, id="clients-on-ray", marks=RAY_WARNINGS),
    pytest.param({"runner": "ray", "jobs": 2}, id="cells-on-ray", marks=RAY_WARNINGS),
]
"""Ways to run a scenario, as arguments of `experiment.run`: whoever adds a runner adds a line."""


@pytest.mark.parametrize("way", RUNNERS)
def test_weights_and_results_are_the_same(
    way: dict[str, object], scenario: Scenario, here: RunStore, tmp_path: Path
) -> None:
    if way["runner"] == "ray":
        ray_or_skip()
    there = experiment.run(scenario, out=tmp_path, **way)  # type: ignore[arg-type]
    assert trained(there) == trained(here)
    assert measured(there) == measured(here)
