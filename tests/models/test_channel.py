"""The likelihood of a defense's noise, against torch's own distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Laplace, Normal

from splitfed.models.channel import draw, joined, log_likelihood, take, variance
from splitfed.types import Channel


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
@pytest.mark.parametrize("varied", [False, True])
def test_it_is_that_of_independent_numbers(law: str, varied: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    location = torch.randn(7, 40, generator=generator)
    scale = 0.2 + torch.rand(7, 40, generator=generator) if varied else torch.full((7, 40), 0.5)
    seen = torch.randn(5, 40, generator=generator)
    channel = Channel(law, location, scale)  # type: ignore[arg-type]
    kind = Laplace if law == "laplace" else Normal
    expected = kind(location, scale).log_prob(seen[:, None]).sum(dim=2)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(log_likelihood(seen, channel), expected, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(variance(channel), kind(location, scale).variance)


def test_parts_and_wholes() -> None:
    channel = Channel("gaussian", torch.arange(6.0).view(3, 2), torch.ones(3, 2))
    part = take(channel, torch.tensor([2, 0]))
    assert part.location.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert torch.equal(joined([part, channel]).location, torch.cat([part.location, channel.location]))


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
def test_draws_have_its_moments(law: str) -> None:
    location = torch.tensor([[-1.0, 2.0]]).expand(40_000, 2)
    channel = Channel(law, location, torch.tensor([[0.5, 3.0]]).expand(40_000, 2))  # type: ignore[arg-type]
    drawn = draw(channel, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(dim=0), location[0], atol=0.07, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), variance(channel)[0], atol=0, rtol=0.05)
    away = (drawn - location).abs().mean(dim=0)
    torch.testing.assert_close(away, channel.scale[0] * (1.0 if law == "laplace" else 0.79788), atol=0, rtol=0.03)
