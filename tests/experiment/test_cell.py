"""A cell whose attacker saw a part, or attacked through a front that made none of its observations, is INVALID."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from splitfed.attacker.config import AttackerConfig
from splitfed.config.scenario import Scenario
from splitfed.experiment import run as experiment
from splitfed.experiment.context import CellContext
from splitfed.experiment.mounted_attack import attacker_config
from splitfed.federation.client import StreamReport
from splitfed.federation.client_app import connect_over_grpc
from splitfed.federation.job import Job
from splitfed.federation.task import Task
from splitfed.records.results import CellResult
from splitfed.types import Phase
from splitfed.wire.link import Link
from splitfed.wire.session import Hello

ScenarioOf = Callable[..., Scenario]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacker does not wait long for observations that will not come."""

    def impatient(context: CellContext, upstream: str) -> AttackerConfig:
        return attacker_config(context, upstream).model_copy(update={"settle_s": 0.5})

    monkeypatch.setattr("splitfed.experiment.mounted_attack.attacker_config", impatient)


def failed(entry: CellResult) -> set[str]:
    return {name for name, passed in entry.gates.items() if not passed}


def test_a_tap_that_saw_a_part_makes_the_cell_invalid_and_scores_say_of_how_many(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client's audit goes past the relay, as after a break of its stream."""

    def connect_past_the_relay(job: Job, *rest: Any) -> Callable[..., AbstractContextManager[Link]]:
        honest = connect_over_grpc(job, *rest)

        def connect(addresses: Sequence[str], hello: Hello) -> AbstractContextManager[Link]:
            past = hello.client == 0 and hello.phase is Phase.AUDIT
            return honest(addresses[-1:] if past else addresses, hello)

        return connect

    monkeypatch.setattr("splitfed.federation.client_app.connect_over_grpc", connect_past_the_relay)
    (entry,) = experiment.run(scenario_of(federation={"rounds": 1}), out=run_dir).results.cells
    assert failed(entry) == {"tap_coverage"}
    assert "the tap saw 320 of 480 activations" in entry.gate_details["tap_coverage"]
    score = entry.attacks["ridge"]
    assert (score.n, score.sent) == (320, 480)
    assert not entry.valid


def test_observations_that_an_older_front_made_make_the_cell_invalid(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients audit through the front of the round before: noise of the stated scale hides it from other gates."""
    sent: dict[int, dict[str, Tensor]] = {}
    train, evaluate = Task.train, Task.evaluate

    def remember(task: Task, round_number: int, addresses: Sequence[str]) -> StreamReport:
        sent[task.client.number] = {name: value.clone() for name, value in task.front.state_dict().items()}
        return train(task, round_number, addresses)

    def through_the_old_front(task: Task, phase: Phase, number: int, addresses: Sequence[str]) -> StreamReport:
        if phase is Phase.AUDIT:
            task.front.load_state_dict(sent[task.client.number])
        return evaluate(task, phase, number, addresses)

    monkeypatch.setattr(Task, "train", remember)
    monkeypatch.setattr(Task, "evaluate", through_the_old_front)
    scenario = scenario_of(federation={"learning_rate": 0.01}, defense=[{"name": "laplace"}])
    (entry,) = experiment.run(scenario, out=run_dir).results.cells
    assert failed(entry) == {"held_front"}
    assert "6 of 6 tapped batches were made by another front" in entry.gate_details["held_front"]


def test_a_healthy_cell_passes_both(scenario_of: ScenarioOf, run_dir: Path) -> None:
    scenario = scenario_of(
        federation={"rounds": 1, "codec": "int8"}, defense=[{"name": "laplace"}], attack=[{"name": "ridge"}]
    )
    (entry,) = experiment.run(scenario, out=run_dir).results.cells
    assert entry.valid, entry.gate_details
    assert entry.gate_details["held_front"].startswith("6 tapped batches, made once more from their images")
    assert entry.gate_details["tap_coverage"].startswith("the tap saw 480 of 480")
