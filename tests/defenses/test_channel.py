"""What a defense says of its noise is what it draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splitfed import defenses
from splitfed.defenses import DEFENSES
from splitfed.models.channel import log_likelihood, variance
from splitfed.types import Channel, Phase

WIDTH = 6
DRAWS = 4000
NOISY: dict[str, dict[str, object]] = {
    "laplace": {"scale": 0.3},
    "gaussian": {"sigma": 0.2},
    "mid": {},
    "sca_noise": {"scale": 0.4},
    "stack": {"layers": [{"name": "nopeek"}, {"name": "laplace", "scale": 0.3}]},
}


def output(name: str) -> Tensor:
    width = 2 * WIDTH if name == "mid" else WIDTH
    return torch.randn(1, width, generator=torch.Generator().manual_seed(0))


def test_every_randomized_defense_of_ours_is_here() -> None:
    own = {name for name, kind in DEFENSES.items() if kind.__module__.startswith("splitfed.") and kind.randomized}
    assert own <= set(NOISY)


@pytest.mark.parametrize("name", NOISY)
def test_the_channel_has_the_moments_and_the_entropy_of_the_draws(name: str) -> None:
    defense = defenses.build(name, dict(NOISY[name]))
    clean = output(name)
    channel = defense.channel(clean)
    assert isinstance(channel, Channel)
    drawn = defense.protect(clean.expand(DRAWS, -1), torch.Generator().manual_seed(1), Phase.AUDIT)
    error = 5 * (variance(channel)[0] / DRAWS).sqrt()
    assert bool(((drawn.mean(dim=0) - channel.location[0]).abs() < error).all())
    torch.testing.assert_close(drawn.var(dim=0), variance(channel)[0], rtol=0.15, atol=0)
    # the draws are likeliest under this law at this scale, and less so under another one
    others = [Channel(channel.law, channel.location, channel.scale * factor) for factor in (0.8, 1.25)] + [
        Channel("gaussian" if channel.law == "laplace" else "laplace", channel.location, channel.scale)
    ]
    own = log_likelihood(drawn, channel).mean()
    assert all(float(own) > float(log_likelihood(drawn, other).mean()) for other in others)
    torch.testing.assert_close(defense.expected(clean), channel.location)


@pytest.mark.parametrize("name", ["none", "nopeek", "sca"])
def test_a_defense_that_draws_nothing_has_no_channel(name: str) -> None:
    assert defenses.build(name, {}).channel(output(name)) is None
