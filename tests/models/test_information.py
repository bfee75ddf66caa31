"""The bound of the information: exact where it is known, and above what is estimated everywhere."""

from __future__ import annotations

import math

import pytest
import torch

from splitfed.metrics.ideal import ideal_attacker
from splitfed.models.channel import draw, log_likelihood
from splitfed.models.information import information_bound_bits
from splitfed.types import Channel


def test_of_gaussian_noise_it_is_the_capacity_at_that_covariance() -> None:
    location = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    channel = Channel("gaussian", location, torch.full_like(location, 0.5))
    assert information_bound_bits([channel]) == pytest.approx(math.log2(1 + 1 / 0.25) / 2)
    # a second look: half the noise
    assert information_bound_bits([channel, channel]) == pytest.approx(math.log2(1 + 2 / 0.25) / 2)


def test_the_determinant_of_images_is_that_of_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    location = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    scale = torch.rand(6, generator=generator, dtype=torch.float64) + 0.5
    total = torch.cov(location.T, correction=0) + torch.diag(scale**2)
    exact = (torch.linalg.slogdet(total).logabsdet - (scale**2).log().sum()) / 2 / math.log(2)
    channel = Channel("gaussian", location, scale.expand_as(location))
    assert information_bound_bits([channel]) == pytest.approx(float(exact))


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("own_scales", [False, True])
@pytest.mark.parametrize("in_clear", [False, True])
def test_no_estimate_is_above_it(law: str, scale: float, own_scales: bool, in_clear: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    location = torch.randn(64, 4, generator=generator)
    spread = torch.rand(64, 4, generator=generator) + 0.5 if own_scales else torch.ones(64, 4)
    assert law in ("gaussian", "laplace")
    channel = Channel(law, location, scale * spread)  # type: ignore[arg-type]
    labels = torch.arange(64) % 4 if in_clear else None
    found = ideal_attacker(
        [log_likelihood(draw(channel, generator), channel) for _ in range(20)], torch.rand(64, 2), labels
    ).information_bits
    assert found.mean <= information_bound_bits([channel], labels) + 3 * found.error


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_an_activation_that_is_always_the_same_tells_nothing(law: str) -> None:
    channel = Channel(law, torch.ones(10, 5), torch.full((10, 5), 0.3))  # type: ignore[arg-type]
    assert information_bound_bits([channel]) == pytest.approx(0.0, abs=1e-9)
    labels = torch.arange(10) % 2
    assert information_bound_bits([channel], labels) == pytest.approx(1.0)
