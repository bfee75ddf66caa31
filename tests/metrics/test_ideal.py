"""The ideal attacker against brute force on small channels, and against attackers that cannot be better."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from splitfed.metrics.ideal import IdealAttacker, equal_rows, fano_mse, fano_top1, ideal_attacker
from splitfed.metrics.ideal_gate import below_ideal
from splitfed.models.channel import draw, log_likelihood
from splitfed.types import Channel

LOCATIONS = (-1.0, 0.2, 0.9)
SIGMA = 0.7
PIXELS = torch.tensor([0.0, 0.3, 1.0])


def ideal_of(
    channel: Channel, pixels: Tensor, labels: Tensor | None = None, *, draws: int, times: int = 1
) -> IdealAttacker:
    generator = torch.Generator().manual_seed(0)
    likelihoods = [
        sum((log_likelihood(draw(channel, generator), channel) for _ in range(times)), start=torch.zeros(()))
        for _ in range(draws)
    ]
    return ideal_attacker(likelihoods, pixels, labels)


def line(locations: tuple[float, ...], sigma: float) -> Channel:
    location = torch.tensor(locations)[:, None]
    return Channel("gaussian", location, torch.full_like(location, sigma))


def integrated(of: Callable[[np.ndarray, float], float]) -> float:
    """E over z of a function of the posterior and z, by quadrature."""

    def at(z: float) -> float:
        density = norm.pdf(z, LOCATIONS, SIGMA) / len(LOCATIONS)
        return float(density.sum() * of(density / density.sum(), z))

    return float(quad(at, -8, 8, limit=200, points=(-1.0, -0.4, 0.2, 0.55, 0.9))[0])


def test_it_is_what_numerical_integration_gives() -> None:
    found = ideal_of(line(LOCATIONS, SIGMA), PIXELS[:, None], draws=4_000)
    pixels = PIXELS.numpy()
    variance = integrated(lambda posterior, _: posterior @ pixels**2 - (posterior @ pixels) ** 2)
    remaining = integrated(lambda posterior, _: -(posterior * np.log2(posterior + 1e-300)).sum())
    for estimate, exact in (
        (found.top1, integrated(lambda posterior, _: posterior.max())),
        (found.mse, variance),
        (found.information_bits, math.log2(3) - remaining),
    ):
        assert abs(estimate.mean - exact) < 4 * estimate.error
        assert 0 < estimate.error < 0.02


def test_its_error_is_the_spread_of_its_means() -> None:
    """Over repetitions the mean is spread as it says."""
    found = ideal_of(line(LOCATIONS, SIGMA), PIXELS[:, None], draws=4_000)
    few = [IdealAttacker(*(part[at : at + 8] for part in parts(found))) for at in range(0, 4_000, 8)]
    spread = torch.tensor([each.top1.mean for each in few]).std()
    said = torch.tensor([each.top1.error**2 for each in few]).mean().sqrt()
    assert float(spread) == pytest.approx(float(said), rel=0.1)


def parts(found: IdealAttacker) -> tuple[Tensor, Tensor, Tensor]:
    return found.confidence, found.squared_error, found.remaining_bits


def test_a_label_in_clear_leaves_the_candidates_of_its_class() -> None:
    """Brute force: of two classes, each by itself."""
    generator = torch.Generator().manual_seed(1)
    location, pixels = torch.randn(6, 2, generator=generator), torch.rand(6, 1, generator=generator)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    channel = Channel("laplace", location, torch.full_like(location, 0.8))
    whole = ideal_of(channel, pixels, labels, draws=1_000)
    for label in (0, 1):
        own = labels == label
        alone = ideal_of(Channel("laplace", location[own], channel.scale[own]), pixels[own], draws=1_000)
        joint = 4 * math.hypot(alone.mse.error, whole.mse.error * 2)
        assert abs(float(whole.squared_error[:, own].mean()) - alone.mse.mean) < joint
    hidden = ideal_of(channel, pixels, draws=1_000)
    assert hidden.top1.mean < whole.top1.mean
    assert hidden.mse.mean > whole.mse.mean


@pytest.mark.parametrize("times", [1, 4])
def test_several_observations_are_one_of_less_noise(times: int) -> None:
    """Of Gaussian noise the mean of k observations says all: σ/√k."""
    several = ideal_of(line(LOCATIONS, SIGMA), PIXELS[:, None], draws=2_000, times=times)
    one = ideal_of(line(LOCATIONS, SIGMA / math.sqrt(times)), PIXELS[:, None], draws=2_000)
    assert abs(several.top1.mean - one.top1.mean) < 4 * math.hypot(several.top1.error, one.top1.error)
    assert abs(several.mse.mean - one.mse.mean) < 4 * math.hypot(several.mse.error, one.mse.error)


def test_a_front_that_draws_nothing_tells_all_apart_that_differ() -> None:
    activation = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [3.0, 0.0]])
    pixels = torch.tensor([0.0, 0.4, 0.5, 0.6])[:, None]
    found = ideal_attacker([equal_rows(activation)], pixels)
    assert (found.top1.mean, found.top1.error) == (0.75, 0.0)
    assert found.mse.mean == pytest.approx(0.2**2 / 2)  # two of four images, each 0.2 from their mean
    assert found.information_bits.mean == pytest.approx(1.5)
    told_apart = ideal_attacker([equal_rows(activation)], pixels, torch.tensor([0, 1, 0, 0]))
    assert (told_apart.top1.mean, told_apart.mse.mean) == (1.0, 0.0)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("in_clear", [False, True])
def test_what_follows_from_the_information_is_never_tighter_than_what_is_exact(sigma: float, in_clear: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.rand(60, 5, generator=generator)
    labels = torch.arange(60) % 3 if in_clear else None
    channel = Channel("gaussian", pixels, torch.full_like(pixels, sigma))
    found = ideal_of(channel, pixels, labels, draws=20)
    remaining = math.log2(60) - found.information_bits.mean
    assert found.top1.mean <= fano_top1(remaining, 20 if in_clear else 60) + 1e-9
    bound = fano_mse(remaining, pixels, labels)
    assert bound <= found.mse.mean + 1e-9
    if sigma >= 1.0:
        assert bound > 0.0


def test_fano_at_its_ends() -> None:
    assert fano_top1(0.0, 1) == 1.0
    assert fano_top1(math.log2(50), 50) == pytest.approx(1 / 50)
    alike = torch.zeros(5, 3)
    assert fano_mse(1.0, alike) == 0.0
    assert fano_mse(0.0, torch.rand(5, 3)) == 0.0


# the gate


@pytest.fixture(scope="module")
def noisy() -> tuple[Channel, Tensor, IdealAttacker]:
    """400 images of four numbers under noise that leaves some of them to be found."""
    pixels = torch.rand(400, 4, generator=torch.Generator().manual_seed(3))
    channel = Channel("laplace", pixels, torch.full_like(pixels, 0.06))
    return channel, pixels, ideal_of(channel, pixels, draws=8)


def seen_by_the_ideal(channel: Channel, pixels: Tensor, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """Hits, and squared errors, of the ideal attacker itself on one draw of noise of this scale."""
    sent = draw(
        Channel("laplace", channel.location, torch.full_like(channel.scale, scale)),
        torch.Generator().manual_seed(seed),
    )
    likelihoods = log_likelihood(sent, channel)
    hits = likelihoods.argmax(dim=1) == torch.arange(len(pixels))
    errors = (torch.softmax(likelihoods, dim=1) @ pixels - pixels).square().mean(dim=1)
    return hits, errors


@pytest.mark.parametrize("seed", range(5))
def test_the_ideal_attacker_itself_does_not_beat_itself(
    noisy: tuple[Channel, Tensor, IdealAttacker], seed: int
) -> None:
    channel, pixels, ideal = noisy
    hits, errors = seen_by_the_ideal(channel, pixels, 0.06, seed)
    everywhere = torch.arange(400)
    gate = below_ideal(ideal, {"a": hits}, {"a": (everywhere, errors), "few": (everywhere[:40], errors[:40])})
    assert gate.passed, gate.detail
    assert "none of 1 identifications and 2 attacks" in gate.detail


def test_noise_that_is_weaker_than_stated_is_caught(noisy: tuple[Channel, Tensor, IdealAttacker]) -> None:
    channel, pixels, ideal = noisy
    hits, errors = seen_by_the_ideal(channel, pixels, 0.03, 0)
    gate = below_ideal(ideal, {"a": hits}, {"a": (torch.arange(400), errors)})
    assert not gate.passed
    assert "a identified" in gate.detail
    assert "a has a mean squared error" in gate.detail


def test_an_attack_that_sees_an_image_twice_beats_the_ideal_of_one_observation_and_not_that_of_two(
    noisy: tuple[Channel, Tensor, IdealAttacker],
) -> None:
    channel, pixels, ideal = noisy
    generator = torch.Generator().manual_seed(4)
    likelihoods = log_likelihood(draw(channel, generator), channel) + log_likelihood(draw(channel, generator), channel)
    hits = {"linked": likelihoods.argmax(dim=1) == torch.arange(400)}
    assert not below_ideal(ideal, hits, {}).passed
    assert below_ideal(ideal_of(channel, pixels, draws=8, times=2), hits, {}).passed


def test_nobody_beats_an_ideal_that_knows_all_and_guessing_does_not_beat_one_that_knows_nothing() -> None:
    pixels = torch.rand(1000, 3, generator=torch.Generator().manual_seed(5))
    knows = ideal_attacker([equal_rows(pixels)], pixels)
    everywhere = torch.arange(1000)
    assert below_ideal(knows, {"a": torch.ones(1000, dtype=torch.bool)}, {"a": (everywhere, torch.zeros(1000))}).passed
    blind = ideal_attacker([equal_rows(torch.zeros(1000, 2))], pixels)
    lucky = torch.arange(1000) < 5  # one is expected
    mean = (pixels - pixels.mean(dim=0)).square().mean(dim=1)
    assert below_ideal(blind, {"a": lucky}, {"a": (everywhere, mean)}).passed
    assert not below_ideal(blind, {"a": everywhere < 15}, {}).passed
    assert not below_ideal(blind, {}, {"a": (everywhere, 0.8 * mean)}).passed
