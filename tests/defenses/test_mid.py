"""The information bottleneck: its divergence is that of the Gaussians that it draws from, and it bounds what leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from splitfed.defenses import build
from splitfed.defenses.mid import divergence
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.front import FrontSpec
from splitfed.seeding import generator
from splitfed.types import ImageShape, Phase
from tests.defenses.audit import audited

JobOf = Callable[..., Job]


def test_the_divergence_is_that_of_the_distributions() -> None:
    output = torch.randn(5, 12, generator=generator(0, "output"))
    mean, log_variance = output.chunk(2, dim=1)
    exact = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    assert torch.allclose(divergence(output), exact.sum(dim=1).mean())
    assert divergence(torch.zeros(5, 12)) == 0


@pytest.mark.parametrize("phase", Phase)
def test_draws_have_the_mean_and_the_deviation_of_the_front(phase: Phase) -> None:
    output = torch.tensor([[1.0, -2.0, 0.0, 2.0]]).expand(20000, 4)  # means 1 and −2, variances 1 and e²
    draws = build("mid", {}).protect(output, generator(0, "protect"), phase)
    assert draws.mean(dim=0).tolist() == pytest.approx([1.0, -2.0], abs=0.1)
    assert draws.std(dim=0).tolist() == pytest.approx([1.0, 2.718], rel=0.03)


@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_the_bottleneck_stands_behind_the_last_linear_layer(hidden_layers: int) -> None:
    front = build("mid", {}).build_front(FrontSpec(ImageShape(1, 8, 8), 24, hidden_layers), generator(0, "front"))
    linear = [module for module in front.body.children() if isinstance(module, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [24] * (hidden_layers + 1) + [48]
    assert list(front.body.children())[-1] is linear[-1]
    assert not front.nonnegative


@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_the_bottleneck_may_stand_in_place_of_the_last_layer(hidden_layers: int) -> None:
    """The network then has as many layers as under other defenses."""
    spec = FrontSpec(ImageShape(1, 8, 8), 24, hidden_layers)
    front = build("mid", {"layers": "same"}).build_front(spec, generator(0, "front"))
    plain = build("none", {}).build_front(spec, generator(0, "front"))
    sizes = [
        [layer.out_features for layer in each.body.children() if isinstance(layer, torch.nn.Linear)]
        for each in (front, plain)
    ]
    assert sizes == [[24] * hidden_layers + [48], [24] * hidden_layers + [24]]
    assert isinstance(list(front.body.children())[-1], torch.nn.Linear)
    assert front(torch.rand(2, 1, 8, 8)).shape == (2, 48)


def test_a_dearer_bit_makes_the_code_say_less(job_of: JobOf, shares: Sequence[ClientImages]) -> None:
    bounds = []
    for beta in (0.001, 0.1):
        job = job_of("mid", options={"beta": beta}, federation={"rounds": 2})
        evidence = audited(job, shares)
        bounds.append(job.defense().figures(evidence)["information_bound_nats"])
    assert bounds[1] < bounds[0] / 2
