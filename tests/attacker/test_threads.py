"""How many threads the attacker learns with is a setting of the scenario, not a matter of the machine or of --jobs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from splitfed import data
from splitfed.attacker import protocol
from splitfed.attacker.work import Attacker
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.mounted_attack import attacker_config
from splitfed.records.bus import Bus
from splitfed.records.store import RunStore
from splitfed.wire.observations import ObservationWriter
from splitfed.wire.tap import Tap
from tests.attacker.quick import finish, prepare
from tests.views.fabricated import manifest


def threads_of(scenario: Scenario, splits: Splits, run_dir: Path) -> int:
    with RunStore.create(run_dir, "small", manifest(scenario.model_dump(mode="json"))) as store:
        here = RunContext(scenario, store, Bus(), data.load("digits"), splits)
        return attacker_config(CellContext.of(here, scenario.cells()[0]), "127.0.0.1:1").threads


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_they_are_what_the_scenario_says_whatever_the_cores(
    cores: int,
    scenario_of: Callable[..., Scenario],
    digits: Splits,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads_of(scenario_of(), digits, run_dir / "default") == 2
    assert threads_of(scenario_of(attacker={"threads": 3}), digits, run_dir / "chosen") == 3


def test_the_final_attacks_learn_with_them(tmp_path: Path) -> None:
    settings = prepare(tmp_path).model_copy(update={"threads": 3})
    finish(settings)
    seen: list[int] = []

    def notice(message: protocol.Message) -> None:
        if isinstance(message, protocol.Learned):
            seen.append(torch.get_num_threads())

    Attacker(settings, Tap(ObservationWriter(settings.observations)), notice).run()
    assert set(seen) == {3}
