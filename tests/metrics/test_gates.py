"""Each gate passes on sound evidence and fails on evidence that was broken on purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from splitfed.metrics import fingerprint
from splitfed.metrics.findings import (
    density_within,
    gaussian_scale,
    is_identity,
    laplace_scale,
    noise_scale_within,
)
from splitfed.metrics.gates import (
    GateResult,
    added_nothing,
    attack_beats_class_mean,
    attack_learned,
    aux_disjoint,
    clients_took_part,
    completed,
    defense_acts,
    finite,
    held_front,
    sealed_wire,
    tap_coverage,
    victim_unchanged,
)
from splitfed.types import FitEvidence, Images


def fit_of(first_loss: float, last_loss: float, moved: bool) -> FitEvidence:
    return FitEvidence(first_loss, last_loss, moved, 1, 20.0, 0.5, True)


def images(seed: int) -> Images:
    pixels = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Images(pixels, torch.zeros(20, dtype=torch.int64), ("all",))


def test_a_cell_that_could_not_be_trained_fails_with_its_reason() -> None:
    assert completed().passed
    assert completed("round 1: it diverged") == ("completed", False, "round 1: it diverged")


def test_clients_that_were_all_there_pass_and_a_missed_round_fails_unless_it_is_allowed() -> None:
    def gate(missed: dict[int, list[int]], allowed: int = 0) -> GateResult:
        return clients_took_part(missed, rounds=6, allowed=allowed, reason="round 1: no image")

    assert gate({}).passed
    assert gate({}).detail == "all clients in all 6 rounds and the audit"
    one = gate({2: [3]})
    assert not one.passed
    assert one.detail == "client 2 missed round 3: 1 missed, 0 allowed; first reason: round 1: no image"
    assert gate({2: [3]}, allowed=1).passed
    assert not gate({2: [3], 0: [1]}, allowed=1).passed
    assert "client 0 missed the preparation, round 1, the audit" in gate({0: [0, 1, 7]}, allowed=2).detail


def test_an_attack_that_learned_passes() -> None:
    assert attack_learned({"decoder": fit_of(1.0, 0.5, True)}).passed


@pytest.mark.parametrize(
    ("fit", "why"),
    [
        (fit_of(1.0, 0.5, False), "did not move"),
        (fit_of(1.0, 1.0, True), "did not fall"),
        (fit_of(1.0, 2.0, True), "did not fall"),
        (fit_of(1.0, float("nan"), True), "is not finite"),
    ],
)
def test_one_attack_that_did_not_learn_fails_the_gate(fit: FitEvidence, why: str) -> None:
    gate = attack_learned({"ridge": fit_of(1.0, 0.5, True), "decoder": fit})
    assert not gate.passed
    assert gate.detail.startswith("decoder: ")
    assert why in gate.detail


def from_start(gain_db: float, gain_ssim: float, *, moved: bool = True) -> FitEvidence:
    """A network on a closed form whose training loss fell, as ridge makes it fall, whatever the network does."""
    return replace(
        fit_of(1.0, 0.5, moved),
        start_psnr_db=20.0,
        start_ssim=0.5,
        validation_psnr_db=20.0 + gain_db,
        validation_ssim=0.5 + gain_ssim,
    )


@pytest.mark.parametrize(
    ("gain_db", "gain_ssim", "idle"),
    [
        (0.0, 0.0, True),
        (1e-12, 1e-12, True),  # a learning rate of 1e-12
        (0.009, 0.0009, True),
        (-1.0, -0.1, True),
        (float("nan"), float("nan"), True),
        (0.011, 0.0, False),  # healthy runs at the edge
        (0.0, 0.0011, False),
        (-0.5, 0.0011, False),
    ],
)
def test_a_network_is_held_against_the_closed_form_that_it_starts_from(
    gain_db: float, gain_ssim: float, idle: bool
) -> None:
    fits = {"ridge": from_start(3.0, 0.2), "decoder": from_start(gain_db, gain_ssim)}
    assert added_nothing(fits["decoder"]) == idle
    gate = attack_learned(fits)
    assert gate.passed, "ridge did its work"
    assert ("decoder added nothing" in gate.detail) == idle
    alone = attack_learned({"decoder": fits["decoder"]})
    assert alone.passed != idle
    assert ("no attack added anything" in alone.detail) == idle


def test_where_activations_say_nothing_attacks_that_learn_nothing_did_their_work() -> None:
    fits = {"ridge": from_start(0.0, 0.0, moved=False), "decoder": from_start(0.0, 0.0)}
    assert not attack_learned(fits).passed
    silent = attack_learned(fits, silent=True)
    assert silent.passed
    assert silent.detail == (
        "ridge added nothing; decoder added nothing; the activations tell private images apart no better than "
        "guessing does"
    )
    assert not attack_learned({**fits, "decoder": fit_of(1.0, float("nan"), True)}, silent=True).passed
    assert not attack_learned(fits, {"whitebox": "its file is damaged"}, silent=True).passed


def test_no_attack_at_all_fails() -> None:
    assert not attack_learned({}).passed


def test_a_moved_victim_fails() -> None:
    front = torch.nn.Linear(4, 3)
    before = fingerprint(front.state_dict())
    assert victim_unchanged(before, fingerprint(front.state_dict())).passed
    with torch.no_grad():
        front.bias[1] = torch.nextafter(front.bias[1], torch.tensor(10.0))
    assert not victim_unchanged(before, fingerprint(front.state_dict())).passed


def test_a_fingerprint_tells_shapes_names_and_signs_of_zero_apart() -> None:
    weights = torch.zeros(2, 3)
    prints = [
        fingerprint({"a": weights}),
        fingerprint({"b": weights}),
        fingerprint({"a": weights.T}),
        fingerprint({"a": weights.double()}),
        fingerprint({"a": -weights}),
    ]
    assert len(set(prints)) == len(prints)


def test_a_front_that_made_the_observations_passes_and_another_fails() -> None:
    assert held_front(held="a", final="a", checked=6, differing=[]).passed
    other = held_front(held="a", final="b", checked=6, differing=[])
    assert (other.passed, other.detail) == (False, "the attacker held a, trained was b")
    stale = held_front(held="a", final="a", checked=6, differing=["client 0, step 0", "client 0, step 4"])
    assert not stale.passed
    assert stale.detail == "2 of 6 tapped batches were made by another front: client 0, step 0"
    assert not held_front(held="", final="a", checked=6, differing=[]).passed
    assert not held_front(held="a", final="a", checked=0, differing=[]).passed


def test_a_tap_that_saw_a_part_fails_unless_the_scenario_asks_for_no_more() -> None:
    assert tap_coverage(480, 480, wanted=1.0).passed
    partly = tap_coverage(320, 480, wanted=1.0)
    assert not partly.passed
    assert partly.detail == "the tap saw 320 of 480 activations under the final front, 100% wanted"
    assert tap_coverage(320, 480, wanted=0.6).passed
    assert not tap_coverage(0, 0, wanted=1.0).passed
    assert tap_coverage(480, 480, wanted=1.0, by="the server").detail.startswith("the server saw 480 of 480")


@pytest.mark.parametrize(
    ("read", "ciphertext", "says"),
    [
        (0, 9, "sealed by TLS: the wire attacker saw ciphertext, 0 of 480 activations; no leakage was measured"),
        (480, 0, "was not seen to be: the tap read 480 activations, and found 0 connections in ciphertext"),
        (1, 9, "was not seen to be: the tap read 1 activations, and found 9 connections in ciphertext"),
        (0, 0, "was not seen to be: the tap read 0 activations, and found 0 connections in ciphertext"),
    ],
)
def test_a_sealed_wire_is_never_a_pass_and_one_that_was_not_seen_sealed_is_not_called_so(
    read: int, ciphertext: int, says: str
) -> None:
    gate = sealed_wire(read=read, sent=480, ciphertext=ciphertext)
    assert (gate.name, gate.passed) == ("tap_coverage", False)
    assert says in gate.detail
    assert gate.detail.startswith("sealed") == (ciphertext > 0 and not read)


def test_an_attack_near_the_class_mean_fails_on_the_undefended_cell() -> None:
    assert attack_beats_class_mean(attack_psnr_db=28.0, class_mean_psnr_db=19.5, margin_db=3.0).passed
    weak = attack_beats_class_mean(attack_psnr_db=22.0, class_mean_psnr_db=19.5, margin_db=3.0)
    assert not weak.passed
    assert "+2.50 dB" in weak.detail
    nan = attack_beats_class_mean(attack_psnr_db=float("nan"), class_mean_psnr_db=19.5, margin_db=3.0)
    assert not nan.passed


def laplace_noise(scale: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    plus, minus = (torch.empty(400, 100).exponential_(generator=generator) for _ in range(2))
    return scale * (plus - minus)


def test_noise_of_the_stated_scale_passes_and_noise_that_is_off_fails() -> None:
    def gate(noise: torch.Tensor) -> bool:
        return defense_acts([noise_scale_within(laplace_scale(noise), 0.5)]).passed

    assert gate(laplace_noise(0.5))
    assert not gate(laplace_noise(0.5) * 0)
    assert not gate(laplace_noise(0.46))
    assert not gate(laplace_noise(0.54))
    assert not gate(laplace_noise(float("nan")))


def test_the_gaussian_scale_is_the_standard_deviation() -> None:
    noise = 0.3 * torch.randn(400, 100, generator=torch.Generator().manual_seed(0))
    assert noise_scale_within(gaussian_scale(noise), 0.3, tolerance=0.02).acts


def test_density_outside_its_range_fails() -> None:
    code = torch.zeros(10, 10)
    code[0] = 1.0
    assert density_within(code, low=0.05, high=0.2).acts
    assert not density_within(code, low=0.2, high=0.5).acts
    assert not density_within(torch.ones(10, 10), low=0.05, high=0.2).acts


def test_a_defense_that_claims_to_do_nothing_must_do_nothing() -> None:
    plain = torch.rand(5, 4)
    assert is_identity(plain.clone(), plain).acts
    assert not is_identity(plain + 1e-6, plain).acts


def test_a_defense_that_measured_nothing_fails() -> None:
    assert not defense_acts([]).passed


def test_an_attack_that_ended_at_its_cap_is_said_to_have() -> None:
    plateaued = FitEvidence(0.2, 0.1, True, 7, 20.0, 0.5, True, 18.0, 0.4)
    capped = replace(plateaued, plateaued=False)
    assert attack_learned({"decoder": plateaued}).detail == "decoder: 18.00 -> 20.00 dB, SSIM 0.400 -> 0.500"
    gate = attack_learned({"decoder": capped})
    assert gate.passed
    assert gate.detail.endswith("0.500, at its cap after 7")


def test_one_shared_image_fails() -> None:
    auxiliary, victims = images(0), images(1)
    assert aux_disjoint(auxiliary, victims).passed
    victims.pixels[3] = auxiliary.pixels[11]
    gate = aux_disjoint(auxiliary, victims)
    assert not gate.passed
    assert gate.detail.startswith("1 of 20")


@pytest.mark.parametrize(("psnr_db", "passes"), [(34.9, True), (35.1, False), (60.0, False)])
def test_a_near_duplicate_fails_and_one_that_is_just_further_does_not(psnr_db: float, passes: bool) -> None:
    auxiliary, victims = images(0), images(1)
    away = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(2))
    away *= 10 ** (-psnr_db / 20) / away.square().mean().sqrt()
    victims.pixels[3] = auxiliary.pixels[11] + away
    gate = aux_disjoint(auxiliary, victims)
    assert gate.passed == passes
    assert ("1 of the victims' images nearly equal" in gate.detail) == (not passes)
    assert ('data.split = "near_duplicate"' in gate.detail) == (not passes)


def test_one_shared_patient_fails() -> None:
    """Other images of a victim's patient are no images of the attacker's own."""
    known, held = (replace(images(n), groups=torch.arange(20) + 20 * n) for n in (0, 1))
    assert aux_disjoint(known, held).passed
    assert known.groups is not None
    known.groups[3] = 25
    gate = aux_disjoint(known, held)
    assert not gate.passed
    assert "1 of the victims' 20 groups" in gate.detail
    assert aux_disjoint(known, images(1)).passed  # where groups are not known, content alone is compared


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_number_anywhere_is_found(bad: float) -> None:
    results = {"accuracy": 0.9, "attacks": {"decoder": {"psnr_db": 20.0, "ssim_ci95": [0.1, bad]}}}
    gate = finite(results)
    assert not gate.passed
    assert "attacks.decoder.ssim_ci95[1]" in gate.detail
