"""Gaussian noise comes after training, and only then; or always, where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from splitfed.defenses import build
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.metrics.findings import gaussian_scale
from splitfed.metrics.fingerprint import fingerprint
from splitfed.seeding import generator
from splitfed.types import Phase
from tests.federation.harness import train


def test_training_is_that_of_no_defense(job_of: Callable[..., Job], shares: Sequence[ClientImages]) -> None:
    bare, noisy = (train(job_of(name), shares, direct=True) for name in ("none", "gaussian"))
    assert fingerprint(bare.front.state_dict()) == fingerprint(noisy.front.state_dict())
    assert fingerprint(bare.back.state_dict()) == fingerprint(noisy.back.state_dict())
    assert [loss for loss, _ in bare.history] == [loss for loss, _ in noisy.history]
    assert bare.train_accuracy != noisy.train_accuracy


def test_the_noise_is_added_and_has_the_stated_deviation() -> None:
    defense = build("gaussian", {"sigma": 2.0})
    output = torch.rand(200, 100)
    for phase in (Phase.TEST, Phase.AUDIT):
        noise = defense.protect(output, generator(0, "protect"), phase) - output
        assert abs(gaussian_scale(noise) - 2.0) < 0.05
        assert abs(float(noise.mean())) < 0.05
    assert torch.equal(defense.protect(output, generator(0, "protect"), Phase.TRAIN), output)


def test_the_mechanism_that_an_attack_is_told_is_that_of_the_phase() -> None:
    output = torch.rand(3, 5)
    assert build("gaussian", {}).channel(output, Phase.TRAIN) is None
    for phase in Phase:
        channel = build("gaussian", {"always": True}).channel(output, phase)
        assert channel is not None
        assert torch.equal(channel.scale, torch.full_like(output, 0.5))


def test_always_is_in_training_too() -> None:
    defense = build("gaussian", {"sigma": 2.0, "always": True})
    output = torch.rand(200, 100)
    for phase in Phase:
        noise = defense.protect(output, generator(0, "protect"), phase) - output
        assert abs(gaussian_scale(noise) - 2.0) < 0.05


def test_training_with_it_always_is_another_training(
    job_of: Callable[..., Job], shares: Sequence[ClientImages]
) -> None:
    bare, noisy = (
        train(job_of("gaussian", options={"always": always}), shares, direct=True) for always in (False, True)
    )
    assert fingerprint(bare.front.state_dict()) != fingerprint(noisy.front.state_dict())
