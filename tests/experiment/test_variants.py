"""Every variant of split learning runs as a scenario, with tap, attack and gates, and its results say which it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from splitfed.config.scenario import Scenario
from splitfed.config.tables import FederationOptions
from splitfed.experiment import run as experiment
from splitfed.experiment.results_keeper import training_info
from splitfed.records.results import Results
from splitfed.types import Phase
from splitfed.views.run import Run
from splitfed.wire.observations import read_observations

ScenarioOf = Callable[..., Scenario]


def run(scenario: Scenario, run_dir: Path) -> tuple[Run, Results]:
    found = Run(experiment.run(scenario, out=run_dir).path)
    return found, found.results


def test_labels_that_stay_leave_training_as_it_is_and_attacks_without_them(
    scenario_of: ScenarioOf, run_dir: Path
) -> None:
    """What leaks of the images is the same activation, which an attack that has to guess the label makes no more of;
    that no label travels is seen in what the tap recorded."""
    there, here = (
        run(scenario_of(federation={"labels": labels}, attacker={"keep_rounds": 0}), run_dir / labels)
        for labels in ("server", "client")
    )
    (one,), (other,) = there[1].cells, here[1].cells
    assert other.valid, other.gate_details
    assert (one.accuracy, one.train_accuracy) == (other.accuracy, other.train_accuracy)
    sent, likewise = (
        torch.cat([o.activation for o in read_observations(made.path / "cells" / "none" / "observations")])
        for made, _ in (there, here)
    )
    assert torch.equal(sent.sort(dim=0).values, likewise.sort(dim=0).values)
    known, guessed = one.attacks["ridge"], other.attacks["ridge"]
    assert (known.n, known.sent) == (guessed.n, guessed.sent)
    assert known.psnr_db is not None
    assert guessed.psnr_db is not None
    assert guessed.psnr_db <= known.psnr_db
    for (made, _), labeled in ((there, True), (here, False)):
        seen = [
            o for phase in Phase for o in read_observations(made.path / "cells" / "none" / "observations", phase=phase)
        ]
        assert {o.phase for o in seen} == set(Phase)
        assert all((o.labels is not None) is labeled for o in seen)
    assert here[1].training is not None
    assert (here[1].training.labels, here[1].training.repeats) == ("client", True)


def test_one_back_for_all_and_a_part_of_the_clients(scenario_of: ScenarioOf, run_dir: Path) -> None:
    federation = {"variant": "sflv2", "client_fraction": 0.67, "codec": "float16"}
    made, results = run(scenario_of(federation=federation), run_dir)
    (entry,) = results.cells
    assert entry.valid, entry.gate_details
    assert entry.missed_rounds == {}
    assert entry.gate_details["tap_coverage"].startswith("the tap saw 480 of 480")
    assert results.training is not None
    assert (results.training.codec, results.training.repeats) == ("float16", False)
    told = (made.path / "events.jsonl").read_text(encoding="utf-8")
    assert "whose step comes first is up to the network" in told
    assert "another run gives other numbers" in made.table()


@pytest.mark.parametrize(
    ("options", "repeats"),
    [
        ({}, True),
        ({"labels": "client", "client_fraction": 0.5}, True),
        ({"variant": "sflv2"}, False),
        ({"variant": "sflv2", "clients": 1}, True),
        ({"variant": "sflv2", "client_fraction": 0.4}, True),
        ({"variant": "sflv2", "client_fraction": 0.6}, False),
    ],
)
def test_what_repeats_is_said_so(options: dict[str, object], repeats: bool) -> None:
    assert training_info(FederationOptions.model_validate(options)).repeats is repeats
