"""The verdict on a cell: an attacker that moves the victim, or attacks another front, makes it INVALID."""

from __future__ import annotations

import pytest
import torch

from splitfed.attacker.protocol import Attacked, Done
from splitfed.config.components import Component
from splitfed.config.scenario import Cell
from splitfed.experiment.attack_outcome import AttackOutcome
from splitfed.experiment.reference import reference_gate
from splitfed.experiment.verdict import (
    after_attack,
    failed_cell,
    strongest,
    victim_fingerprint,
)
from splitfed.federation.outcome import FederationResult
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import victim_unchanged
from splitfed.models.back import Back
from splitfed.models.front import PlainFront
from splitfed.records.results import BaselineScore
from splitfed.types import FitEvidence, Images, ImageShape, Reconstruction
from tests.views.fabricated import cell_result, changed


@pytest.fixture
def result() -> FederationResult:
    front, back = PlainFront(ImageShape(1, 4, 4), 8), Back(8, 8, 2)
    return FederationResult(front, back, 0.9, 0.9, 64.0, 1.0, [(0.1, 0.9)], {}, {})


BASELINES = {"class_mean": BaselineScore(psnr_db=19.5, ssim=0.5, ssim_cropped=0.4)}


def done(before: str, after: str) -> Done:
    return Done(front_before=before, front_after=after, observed=1, unparsed=0)


def test_an_attack_that_leaves_the_victim_alone_passes(result: FederationResult) -> None:
    held = fingerprint(result.front.state_dict())
    assert victim_unchanged(victim_fingerprint(result), after_attack(result, done(held, held))).passed


def test_an_attacker_that_moves_the_front_is_caught(result: FederationResult) -> None:
    held = fingerprint(result.front.state_dict())
    moved = PlainFront(ImageShape(1, 4, 4), 8)
    after = after_attack(result, done(held, fingerprint(moved.state_dict())))
    assert not victim_unchanged(victim_fingerprint(result), after).passed


def test_an_attack_on_another_front_than_the_victims_is_caught(result: FederationResult) -> None:
    other = fingerprint(PlainFront(ImageShape(1, 4, 4), 8).state_dict())
    assert not victim_unchanged(victim_fingerprint(result), after_attack(result, done(other, other))).passed


def test_a_server_whose_back_moved_during_the_attack_is_caught(result: FederationResult) -> None:
    before = victim_fingerprint(result)
    held = fingerprint(result.front.state_dict())
    with torch.no_grad():
        next(result.back.parameters()).add_(1e-6)
    assert not victim_unchanged(before, after_attack(result, done(held, held))).passed


def test_an_attacker_that_never_finished_is_caught(result: FederationResult) -> None:
    assert not victim_unchanged(victim_fingerprint(result), after_attack(result, None)).passed


def outcome(name: str, validation_ssim: float, *, is_control: bool = False) -> AttackOutcome:
    fit = FitEvidence(
        first_loss=1.0,
        last_loss=0.5,
        parameters_moved=True,
        epochs=1,
        validation_psnr_db=20.0,
        validation_ssim=validation_ssim,
        plateaued=True,
    )
    report = Attacked(attack=name, is_control=is_control, fit=fit, reconstructions="x.npz", seconds=1.0)
    images = Images(torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64), ("only",))
    return AttackOutcome(report, Reconstruction(torch.zeros(1, 4).long().numpy(), images.pixels), images)


def test_the_strongest_is_chosen_by_the_attackers_own_validation_and_is_no_control() -> None:
    found = [outcome("ridge", 0.4), outcome("decoder", 0.6), outcome("untrained", 0.9, is_control=True)]
    assert strongest(found) == "decoder"
    assert strongest([found[2]]) is None


def test_of_equal_attacks_the_first_is_the_strongest_and_one_that_diverged_never_is() -> None:
    found = [outcome("decoder", 0.6), outcome("whitebox", 0.6 + 1e-7), outcome("diverged", float("nan"))]
    assert strongest(found) == "decoder"
    assert strongest([*found, outcome("dictionary", 0.601)]) == "dictionary"
    assert strongest(found[2:]) is None


def test_an_undefended_cell_that_could_not_be_trained_vouches_for_nothing() -> None:
    cell = Cell(name="none", defense=Component(name="none"), seed=0)
    entry = failed_cell(cell=cell, majority_rate=0.2, reason="it diverged")
    gate = reference_gate(entry, BASELINES, 3.0)
    assert (gate.passed, gate.detail) == (False, "the undefended cell was not completed")


def test_a_reference_whose_psnr_was_not_finite_and_is_stored_as_nothing_fails_the_gate() -> None:
    cell = cell_result()
    unknown = cell.attacks["decoder"].model_copy(update={"psnr_db": None})
    entry = changed(cell, attacks={"decoder": unknown})
    assert not reference_gate(entry, BASELINES, 3.0).passed
