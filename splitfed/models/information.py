"""How much an activation tells of its image at most, in bits, by the noise of its channel alone.

Of all noisy numbers with given second moments Gaussian ones have the largest entropy (Cover and Thomas 2006, theorem
8.6.5), of all with a given mean distance from a point Laplace ones (section 12.1). What is sent cannot have more, and
the entropy of the noise is known: I(x; z) = h(z) − h(z | x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from splitfed.models.channel import take, variance
from splitfed.types import Channel


def information_bound_bits(channels: Sequence[Channel], labels: Tensor | None = None) -> float:
    """An upper bound of I(image; what is seen), for all images whose locations have these means and covariances.

    Args:
        channels: of the same N images, one for each observation of an image; the draws are independent.
        labels: int64, (N,), where they travel in clear; then their own entropy counts, and each class by itself.
    """
    if labels is None:
        return _of_class(channels) / math.log(2)
    parts = [torch.nonzero(labels == label)[:, 0] for label in torch.unique(labels).tolist()]
    shares = [len(places) / len(labels) for places in parts]
    own = [_of_class([take(channel, places) for channel in channels]) for places in parts]
    return sum(share * (nats - math.log(share)) for share, nats in zip(shares, own, strict=True)) / math.log(2)


def _of_class(channels: Sequence[Channel]) -> float:
    """In nats."""
    gaussian = _by_second_moments(channels)
    if any(channel.law != "laplace" for channel in channels):
        return gaussian
    return min(gaussian, sum(map(_by_distances, channels)))


def _by_second_moments(channels: Sequence[Channel]) -> float:
    """½·log det 2πe·Cov(z) − h(z | x), with the determinant of N by N numbers in place of as many as are sent."""
    gram, excess = torch.zeros((), dtype=torch.float64), 0.0
    for channel in channels:
        location, noise = channel.location.double(), variance(channel).double().mean(dim=0)
        scaled = (location - location.mean(dim=0)) / noise.sqrt()
        gram = gram + scaled @ scaled.T / len(location)
        entropies = _noise_entropy(channel).mean(dim=0)
        tells = _varies(channel)
        excess += float(((2 * math.pi * math.e * noise).log() / 2 - entropies)[tells].sum())
    identity = torch.eye(len(gram), dtype=torch.float64)
    return float(torch.linalg.slogdet(identity + gram).logabsdet) / 2 + excess


def _by_distances(channel: Channel) -> float:
    """Σₖ log 2e·E|zₖ − cₖ| − h(zₖ | x), where E|zₖ − cₖ| is at most that of the noise and that of the locations."""
    location, scale = channel.location.double(), channel.scale.double()
    away = (location - location.median(dim=0).values).abs().mean(dim=0) + scale.mean(dim=0)
    per_number = (2 * math.e * away).log() - _noise_entropy(channel).mean(dim=0)
    return float(per_number[_varies(channel)].sum())


def _noise_entropy(channel: Channel) -> Tensor:
    """Differential entropy of the noise on each number, nats, float64, (N, d)."""
    scale = channel.scale.double()
    return (2 * math.e * scale).log() if channel.law == "laplace" else (2 * math.pi * math.e * scale**2).log() / 2


def _varies(channel: Channel) -> Tensor:
    """Which numbers are distributed otherwise for one image than for another, bool, (d,); the others tell nothing."""
    return (channel.location != channel.location[:1]).any(dim=0) | (channel.scale != channel.scale[:1]).any(dim=0)
