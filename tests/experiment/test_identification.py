"""Who is found again, on real cells: one pool for all, through the front and by pixels; and what a perfect defense or
a network that adds nothing makes of a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from splitfed import defenses
from splitfed.config.scenario import Scenario
from splitfed.defenses.base import Defense, TapEvidence, TrainingPlan
from splitfed.defenses.laplace import laplace
from splitfed.experiment import run as experiment
from splitfed.experiment.identification import Identification, identify
from splitfed.experiment.truth import Truth
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.order import evaluation_batches
from splitfed.models.front import Front, PlainFront, initialize
from splitfed.records.results import CellResult, Results
from splitfed.types import Observation, Phase, Reconstruction

ScenarioOf = Callable[..., Scenario]
JobOf = Callable[..., Job]

AUDIT = 3
"""The round after the last of `scenario_of`."""


@pytest.fixture(scope="module")
def results(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """No defense, noise, and noise after training that drowns everything, where nobody looks at the training; a network
    that cannot learn among the attacks."""
    scenario = scenario_of(
        defense=[
            {"name": "none"},
            {"name": "laplace", "scale": 1.0},
            {"name": "gaussian", "sigma": 1e4},
        ],
        attack=[
            {"name": "ridge"},
            {"name": "posterior_mean"},
            {"name": "decoder", "learning_rate": 1e-12, "max_epochs": 2, "width": 16},
        ],
        attacker={"training_streams": False},
    )
    return experiment.run(scenario, out=tmp_path_factory.mktemp("runs")).results


def cell(results: Results, name: str) -> CellResult:
    return next(entry for entry in results.cells if entry.defense == name)


def test_a_front_without_noise_identifies_all_and_noise_some(results: Results) -> None:
    none, laplace = cell(results, "none"), cell(results, "laplace")
    assert (none.reid_matched, none.reid, none.reid_by) == (1.0, 1.0, "matched")
    assert none.reid_pool == 480
    assert laplace.reid_matched is not None
    assert laplace.reid_chance_in_class is not None
    assert 3 * laplace.reid_chance_in_class < laplace.reid_matched < 1.0
    for entry in (none, laplace):
        by_pixels = [score.reid_top1 for score in entry.attacks.values()]
        assert entry.reid == max(entry.reid_matched or 0, *(rate or 0 for rate in by_pixels))
        assert {score.reid_chance for score in entry.attacks.values()} == {1 / 480}
        assert entry.reid_chance_in_class == pytest.approx(10 / 480, rel=0.05)


def test_what_nobody_can_exceed_stands_beside_what_was_reached(results: Results) -> None:
    """No attack, and not the front, beats the ideal attacker; a front without noise leaves it no error."""
    for entry in results.cells:
        assert entry.gates["below_ideal"], entry.gate_details["below_ideal"]
    none, laplace, perfect = (cell(results, name).ideal for name in ("none", "laplace", "gaussian"))
    assert none is not None
    assert laplace is not None
    assert perfect is not None
    assert (none.channel, none.top1, none.mse, none.information_bound_bits) == ("none", 1.0, 0.0, None)
    assert none.information_bits == pytest.approx(np.log2(480))
    found, reached = cell(results, "laplace").reid_matched, cell(results, "laplace").attacks
    assert laplace.channel == "laplace"
    assert laplace.top1 is not None
    assert found is not None
    assert found == pytest.approx(laplace.top1, abs=0.1)
    for score in reached.values():
        assert score.pool_mse is not None
        assert laplace.mse is not None
        assert score.pool_mse > laplace.mse
    assert laplace.information_bits is not None
    assert laplace.information_bound_bits is not None
    assert laplace.fano_top1 is not None
    assert laplace.fano_mse is not None
    assert laplace.information_bits < laplace.information_bound_bits
    assert laplace.top1 < laplace.fano_top1
    assert laplace.mse is not None
    assert laplace.fano_mse < laplace.mse
    # the labels, ten of them, are all that is known
    assert perfect.information_bits == pytest.approx(np.log2(10), abs=0.1)
    assert perfect.top1 == pytest.approx(10 / 480, rel=0.1)


def test_each_defense_is_compared_with_none_on_the_same_images(results: Results) -> None:
    none = cell(results, "none")
    assert none.against_none == {}
    before = none.strongest_score
    assert before is not None
    for name in ("laplace", "gaussian"):
        entry = cell(results, name)
        after = entry.strongest_score
        assert after is not None
        for score in ("psnr_db", "ssim"):
            found = entry.against_none[score]
            assert found.n == after.n == before.n == 480
            assert found.attacks == (entry.strongest, none.strongest)
            assert found.mean == pytest.approx(getattr(after, score) - getattr(before, score), abs=1e-5)
            assert found.ci95[1] is not None
            assert found.ci95[1] < 0


def test_noise_that_is_less_than_the_defense_says_is_caught(job_of: JobOf, shares: list[ClientImages]) -> None:
    """A defense that states twice the noise that it draws: the front finds more than the ideal attacker could."""
    honest, boasting = (identified_in_noise(job_of(), shares, stated=scale) for scale in (0.3, 0.6))
    gate, broken = honest.below_ideal({}), boasting.below_ideal({})
    assert gate is not None
    assert broken is not None
    assert gate.passed, gate.detail
    assert 0.1 < honest.matched < 0.99
    assert not broken.passed
    assert "matched identified" in broken.detail


def test_an_attack_that_knows_more_than_its_observations_is_caught(job_of: JobOf, shares: list[ClientImages]) -> None:
    found = identified_in_noise(job_of(), shares, stated=0.3)
    gate = found.below_ideal({"cheat": few(shares)})
    assert gate is not None
    assert not gate.passed
    assert "cheat has a mean squared error" in gate.detail


def test_a_network_that_adds_nothing_is_named_and_no_attack_of_its_own(results: Results) -> None:
    """Its own training loss falls, since ridge is beneath it."""
    none = cell(results, "none")
    assert none.valid, none.gate_details
    assert none.attacks["decoder"].added_nothing
    assert not none.attacks["ridge"].added_nothing
    assert none.attacks["decoder"].at_cap, "one epoch is no plateau"
    assert not none.attacks["ridge"].at_cap
    assert none.strongest in ("ridge", "posterior_mean")
    assert "decoder added nothing" in none.gate_details["attack_learned"]


def test_a_network_that_adds_nothing_alone_makes_the_cell_invalid(scenario_of: ScenarioOf, run_dir: Path) -> None:
    lazy = {"name": "decoder", "learning_rate": 1e-12, "max_epochs": 1, "width": 16}
    (entry,) = experiment.run(scenario_of(federation={"rounds": 1}, attack=[lazy]), out=run_dir).results.cells
    assert not entry.gates["attack_learned"]
    assert "no attack added anything" in entry.gate_details["attack_learned"]


def test_a_defense_that_lets_nothing_through_is_a_valid_cell_with_no_leak(results: Results) -> None:
    perfect = cell(results, "gaussian")
    assert perfect.valid, perfect.gate_details
    assert "no better than guessing" in perfect.gate_details["attack_learned"]
    assert perfect.reid is not None
    assert perfect.reid_chance_in_class is not None
    assert perfect.reid < 4 * perfect.reid_chance_in_class
    best = perfect.strongest_score
    assert best is not None
    assert best.psnr_excess_db is not None
    assert abs(best.psnr_excess_db) < 0.3


@pytest.mark.parametrize("constant", [True, False])
def test_an_activation_that_is_always_the_same_finds_nobody(
    job_of: JobOf, shares: list[ClientImages], constant: bool
) -> None:
    found = identified(job_of(), shares, constant=constant)
    assert found.silent == constant
    assert found.matched == (0.0 if constant else 1.0)


def test_the_pool_prefers_what_all_attacks_reconstructed_and_spans_all_clients(
    job_of: JobOf, shares: list[ClientImages], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitfed.experiment.identification.POOL", 100)
    found = identified(job_of(), shares, constant=False)
    chosen = {row[1] for row in found.rows}
    assert len(found.rows) == 100
    assert chosen == {0, 1, 2}
    # an expensive attack reconstructed 40 observations: all of them are in the pool
    assert found.by_pixels(few(shares)) == (1.0, 1 / 100, 100)
    assert {tuple(row) for row in few(shares).index.tolist()} <= set(found.rows)
    strange = replace(few(shares), index=few(shares).index + 1000)
    assert found.by_pixels(strange) is None


def few(shares: list[ClientImages]) -> Reconstruction:
    """Perfect reconstructions of the first 40 observations of the last client."""
    index = np.array([[AUDIT, 2, at // 32, at % 32] for at in range(40)], dtype=np.int64)
    return Reconstruction(index, shares[2].train.pixels[:40])


def identified(job: Job, shares: list[ClientImages], *, constant: bool) -> Identification:
    front: Front = PlainFront(shares[0].train.shape, 48)
    initialize(front, torch.Generator().manual_seed(0))
    if constant:
        silence(front)
    return identified_by(job, shares, front, defenses.build("none", {}), lambda activation: activation)


def identified_in_noise(job: Job, shares: list[ClientImages], *, stated: float) -> Identification:
    """By a front whose activations carry Laplace noise of scale 0.3, and a defense that states another."""
    front: Front = PlainFront(shares[0].train.shape, 48)
    initialize(front, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    return identified_by(
        job,
        shares,
        front,
        defenses.build("laplace", {"scale": stated}),
        lambda activation: activation + laplace(activation.shape, 0.3, generator),
    )


def identified_by(
    job: Job, shares: list[ClientImages], front: Front, defense: Defense, noisy: Callable[[Tensor], Tensor]
) -> Identification:
    observed = [
        Observation(
            "run", AUDIT, client, Phase.AUDIT, step, noisy(sent(front, own.train.pixels[rows])), own.train.labels[rows]
        )
        for client, own in enumerate(shares)
        for step, rows in enumerate(evaluation_batches(job, len(own.train)))
    ]
    first = shares[0].train[:32]
    plan = TrainingPlan((1,), 32, 2, 1, 10)
    clean = sent(front, first.pixels)
    evidence = TapEvidence(front, first.pixels, first.labels, clean, clean, [], plan)
    return identify(observed, [few(shares)], Truth(job, shares), defense, evidence)


@torch.no_grad()
def sent(front: Front, pixels: Tensor) -> Tensor:
    activation: Tensor = front(pixels)
    return activation


@torch.no_grad()
def silence(front: Front) -> None:
    for layer in front.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.zero_()
