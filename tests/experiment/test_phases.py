"""Whole cells whose defense acts in one phase, or draws anew for each observation of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitfed.config.scenario import Scenario
from splitfed.experiment import run as experiment
from splitfed.records.results import CellResult, Results

ScenarioOf = Callable[..., Scenario]


@pytest.fixture(scope="module")
def results(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Noise after training only, the same always, and noise of another law."""
    scenario = scenario_of(
        defense=[
            {"name": "gaussian", "sigma": 2.0},
            {"name": "gaussian", "sigma": 2.0, "always": True},
            {"name": "laplace", "scale": 1.0},
        ],
        attack=[{"name": "ridge"}],
        federation={"local_epochs": 3},
    )
    return experiment.run(scenario, out=tmp_path_factory.mktemp("runs")).results


def cell(results: Results, defense: str, **params: object) -> CellResult:
    return next(each for each in results.cells if each.defense == defense and params.items() <= each.params.items())


def known(value: float | None) -> float:
    assert value is not None
    return value


def test_a_defense_that_acts_after_training_only_is_scored_by_what_it_sends_in_training(results: Results) -> None:
    found = results.cells[0]
    assert found.params == {"sigma": 2.0}
    assert found.strongest == "ridge@TRAIN2"
    training, audit = found.attacks["ridge@TRAIN2"], found.attacks["ridge"]
    assert (training.phase, audit.phase) == ("TRAIN", "AUDIT")
    assert known(training.psnr_db) > known(audit.psnr_db) + 2
    assert training.sent == 3 * audit.sent
    assert found.strongest_score == training
    assert found.reid == training.reid_top1
    assert found.reid_by == "ridge@TRAIN2"
    assert found.valid


def test_one_that_always_acts_is_scored_by_the_front_that_is_known_best(results: Results) -> None:
    found = cell(results, "gaussian", always=True)
    assert found.strongest == "ridge"
    assert found.attacks["ridge@TRAIN2"].phase == "TRAIN"


def test_what_linking_is_worth_stands_beside_the_audit_alone(results: Results) -> None:
    found = cell(results, "laplace")
    linked = found.linked_oracle
    assert linked is not None
    assert (linked.n, linked.observations) == (480, 4.0)
    # the audit alone, by the same search, is what is reported of it
    assert linked.audit_reid_matched == found.reid_matched
    assert known(linked.reid_matched) > 1.3 * known(linked.audit_reid_matched)
    assert known(linked.psnr_db) > known(linked.audit_psnr_db)
    assert known(linked.ssim) > known(linked.audit_ssim)


def test_where_a_phase_is_clean_nothing_has_to_be_linked(results: Results) -> None:
    assert results.cells[0].linked_oracle is None
    assert cell(results, "gaussian", always=True).linked_oracle is not None


def test_training_may_be_left_alone(scenario_of: ScenarioOf, tmp_path: Path) -> None:
    scenario = scenario_of(
        defense=[{"name": "laplace"}], attack=[{"name": "ridge"}], attacker={"training_streams": False}
    )
    (found,) = experiment.run(scenario, out=tmp_path).results.cells
    assert set(found.attacks) == {"ridge"}
    assert found.linked_oracle is None
