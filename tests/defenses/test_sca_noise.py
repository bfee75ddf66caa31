"""Calibrated noise on the sphere: the sensitivity is a bound that is reached, and the ε follows from it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from splitfed.defenses import build
from splitfed.defenses.base import TapEvidence, TrainingPlan
from splitfed.defenses.sca_noise import sensitivity
from splitfed.models.bottleneck_fronts import UnitNorm
from splitfed.models.front import FrontSpec
from splitfed.seeding import generator
from splitfed.types import ImageShape, Phase

SPEC = FrontSpec(ImageShape(1, 8, 8), width=24)


def evidence(plan: TrainingPlan) -> TapEvidence:
    defense = build("sca_noise", {})
    front = defense.build_front(SPEC, generator(0, "front"))
    nothing = torch.zeros(0)
    return TapEvidence(front, nothing, nothing, nothing, nothing, [], plan)


@pytest.mark.parametrize("dimensions", [2, 8, 32])
def test_no_two_points_of_the_sphere_are_further_apart_than_the_sensitivity(dimensions: int) -> None:
    points = UnitNorm()(torch.randn(400, dimensions, generator=generator(0, "points")))
    assert torch.cdist(points, points, p=1).max() <= sensitivity(dimensions)
    corner = torch.full((1, dimensions), dimensions**-0.5)
    assert torch.cdist(corner, -corner, p=1).item() == pytest.approx(sensitivity(dimensions))


def test_the_likelihood_of_an_activation_never_changes_by_more_than_epsilon() -> None:
    """The definition of local differential privacy, at the two points that are furthest apart."""
    scale, dimensions = 0.5, 8
    corner = torch.full((dimensions,), dimensions**-0.5)
    one, other = (torch.distributions.Laplace(sign * corner, scale) for sign in (1, -1))
    draws = one.sample((2000,))
    ratio = (one.log_prob(draws) - other.log_prob(draws)).sum(dim=1)  # type: ignore[no-untyped-call]
    epsilon = sensitivity(dimensions) / scale
    assert ratio.max() <= epsilon * (1 + 1e-5)
    assert ratio.max() > 0.9 * epsilon


def test_figures_compose_over_rounds_and_batches() -> None:
    plan = TrainingPlan(images=(100,), batch_size=32, rounds=4, local_epochs=2, classes=10)
    figures = build("sca_noise", {"dimensions": 4, "scale": 2.0}).figures(evidence(plan))
    assert figures == {
        "local_epsilon": pytest.approx(2.0),
        "local_epsilon_rounds": pytest.approx(16.0),
        "local_epsilon_rounds_batch_size": pytest.approx(512.0),
    }
    some = replace(plan, images=(100, 100), client_rounds=(1, 3))
    most_often = build("sca_noise", {"dimensions": 4, "scale": 2.0}).figures(evidence(some))
    assert most_often["local_epsilon_rounds"] == pytest.approx(12.0)
    default = build("sca_noise", {}).figures(evidence(plan))["local_epsilon"]
    assert default == pytest.approx(2 * math.sqrt(8) / 0.5)


def test_what_leaves_comes_from_the_sphere_in_both_threats() -> None:
    defense = build("sca_noise", {"dimensions": 5})
    pixels = torch.rand(6, 1, 8, 8, generator=generator(0, "pixels"))
    for hidden_layers in (0, 2):
        spec = FrontSpec(SPEC.shape, SPEC.width, hidden_layers)
        front = defense.build_front(spec, generator(0, "front")).eval()
        output = front(pixels)
        assert not front.nonnegative
        assert torch.allclose(output.norm(dim=1), torch.ones(6))
        assert defense.protect(output, generator(0, "protect"), Phase.TRAIN).shape == (6, 5)
        linear = [module for module in front.body.children() if isinstance(module, torch.nn.Linear)]
        assert [layer.out_features for layer in linear] == [24] * (hidden_layers + 1) + [5]


def test_a_vector_of_zeros_stays_one() -> None:
    assert torch.equal(UnitNorm()(torch.zeros(1, 8)), torch.zeros(1, 8))
