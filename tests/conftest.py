"""What the tests share: one thread (as a run has), and small real parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from splitfed import data
from splitfed.config.components import Component
from splitfed.config.load import validate
from splitfed.config.scenario import Cell, Scenario
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job

# how long an example takes says more about the machine than about the code
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> data.Splits:
    """A few real images, 8×8."""
    return data.split(data.load("digits"), train=480, aux=600, test=240, seed=0)


ScenarioOf = Callable[..., Scenario]


@pytest.fixture(scope="session")
def scenario_of() -> ScenarioOf:
    """A small scenario over the digits; keyword arguments replace tables or add to them."""

    def make(**tables: object) -> Scenario:
        table: dict[str, object] = {
            "name": "small",
            "data": {"name": "digits", "train": 480, "aux": 600, "test": 240},
            "model": {"width": 48},
            "federation": {"clients": 3, "rounds": 2, "batch_size": 32, "stream_deadline_s": 20},
            "attacker": {"margin_db": 1.0},
            "defense": [{"name": "none"}],
            "attack": [{"name": "ridge"}],
        }
        for key, value in tables.items():
            known = table.get(key)
            table[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
        return validate(table, source="test")

    return make


@pytest.fixture(scope="session")
def job_of(digits: data.Splits, scenario_of: ScenarioOf) -> Callable[..., Job]:
    """A job over the digits with this defense, and tables as `scenario_of` takes them."""

    def make(defense: str = "none", seed: int = 0, **tables: object) -> Job:
        options = tables.pop("options", {})
        assert isinstance(options, dict)
        component = {"name": defense, **options}
        scenario = scenario_of(defense=[component], **tables)
        return Job(
            run="small/cell",
            scenario=scenario,
            cell=Cell(name=defense, defense=Component.model_validate(component), seed=seed),
            shape=digits.train.shape,
            classes=len(digits.train.classes),
            secret="secret",
        )

    return make


@pytest.fixture(scope="session")
def shares(digits: data.Splits) -> list[ClientImages]:
    """What each of three clients holds."""
    own = data.partition(digits.train.labels, clients=3, seed=0)
    held_out = data.partition(digits.test.labels, clients=3, seed=0)
    return [ClientImages(digits.train[a], digits.test[b]) for a, b in zip(own, held_out, strict=True)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where runs of this test go."""
    return tmp_path / "runs"
