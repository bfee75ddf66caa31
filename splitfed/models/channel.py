"""How likely an activation is, given the image behind it: the likelihood of a defense's noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from splitfed.types import Channel


def log_likelihood(seen: Tensor, channel: Channel) -> Tensor:
    """log p(zᵢ | front(xⱼ)) in nats: (N, M), for N activations (N, d) and a channel of M images.

    The numbers of an activation have independent noise, so that their log-likelihoods add up:

        laplace:  −Σₖ |zₖ − μₖ| / bₖ − Σₖ log 2bₖ
        gaussian: −Σₖ (zₖ − μₖ)² / 2σₖ² − Σₖ log σₖ√(2π)
    """
    if channel.law == "laplace":
        return _laplace(seen, channel.location, channel.scale)
    return _gaussian(seen, channel.location, channel.scale)


def draw(channel: Channel, generator: torch.Generator) -> Tensor:
    """One activation of each of its images, (M, d)."""
    shape = channel.location.shape
    if channel.law == "gaussian":
        noise = torch.randn(shape, generator=generator)
    else:  # the difference of two exponential numbers is a Laplace one
        first, second = (torch.empty(shape).exponential_(generator=generator) for _ in range(2))
        noise = first - second
    return channel.location + channel.scale * noise


def variance(channel: Channel) -> Tensor:
    """Of the noise on each number, (M, d)."""
    return channel.scale.square() * (2.0 if channel.law == "laplace" else 1.0)


def take(channel: Channel, places: Tensor) -> Channel:
    """The channel of some of its images."""
    return Channel(channel.law, channel.location[places], channel.scale[places])


def joined(channels: list[Channel]) -> Channel:
    """One channel of the images of several, which are of one law."""
    location = torch.cat([channel.location for channel in channels])
    return Channel(channels[0].law, location, torch.cat([channel.scale for channel in channels]))


def _laplace(seen: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    constant = -(2 * scale).log().sum(dim=1)
    if bool((scale == scale[:1]).all()):
        # of one scale for all images: distances between scaled vectors, which PyTorch computes in one go
        return constant - torch.cdist(seen / scale[0], location / scale[0], p=1.0)
    return torch.stack([constant - ((row - location).abs() / scale).sum(dim=1) for row in seen])


def _gaussian(seen: Tensor, location: Tensor, scale: Tensor) -> Tensor:
    # around the mean, and in float64: it is a difference of large, nearly equal numbers
    center = location.mean(dim=0)
    z, mean, precision = (seen - center).double(), (location - center).double(), scale.double() ** -2
    squares = (precision * mean.square()).sum(dim=1)
    if bool((scale == scale[:1]).all()):
        distance = (z.square() @ precision[0])[:, None] - 2 * (z * precision[0]) @ mean.T + squares
    else:
        distance = z.square() @ precision.T - 2 * z @ (mean * precision).T + squares
    constant = scale.double().log().sum(dim=1) + location.shape[1] * math.log(2 * math.pi) / 2
    return (-distance / 2 - constant).float()
