"""The attacker's own images as candidates for what is behind an activation, each with its likelihood.

The likelihood of a randomized defense is the defense's own (`Knowledge.channel`); where the defense does not say, it is
a Gaussian whose variance on each number is measured. A front that draws nothing has no likelihood: there it is a
Gaussian about as wide as the way from an image's activation to that of the nearest other one. An exponent β that is
fitted on held-out images makes up for what is wrong with either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import BATCH
from splitfed.attacks.inverter import Target
from splitfed.attacks.seen import Seen
from splitfed.models.channel import joined, log_likelihood, take
from splitfed.types import Channel

FEWEST_OF_CLASS = 10
"""Candidates of a class, below which those of all classes are candidates."""
LEAST_SCALE = 1e-6
"""Of a measured noise: numbers that never differ would have none."""
NEAREST_OF = 512
"""Images whose nearest neighbor is looked up to see how far apart activations are."""


@dataclass(frozen=True)
class Candidates:
    """Images and what is sent for them.

    Attributes:
        images: pixels as rows, (M, p).
        labels: int64, (M,).
        channel: how what is sent for each is distributed.
    """

    images: Tensor
    labels: Tensor
    channel: Channel

    def __len__(self) -> int:
        return len(self.images)

    def of_class(self, label: int) -> Candidates:
        """Those of this class; all, where it has few."""
        places = torch.nonzero(self.labels == label)[:, 0]
        return self if len(places) < FEWEST_OF_CLASS else self[places]

    def __getitem__(self, places: Tensor) -> Candidates:
        return Candidates(self.images[places], self.labels[places], take(self.channel, places))

    def by_class(self, seen: Seen, batch: int) -> Iterator[tuple[Tensor, Candidates]]:
        """Batches of what was seen, by class: their places in ``seen``, and the candidates for them."""
        for label in torch.unique(seen.labels).tolist():
            own = self.of_class(label)
            for places in torch.split(torch.nonzero(seen.labels == label)[:, 0], batch):
                yield places, own

    def scores(self, seen: Seen) -> Tensor:
        """log p(z | image) of each candidate, nats, (n, M)."""
        return log_likelihood(seen.rows, self.channel)


@torch.no_grad()
def candidates(target: Target, places: Tensor) -> Candidates:
    """The auxiliary images at these places."""
    own = target.auxiliary
    channel = _channel(target, own.pixels[places])
    return Candidates(own.pixels[places].flatten(1), own.labels[places], channel)


def _channel(target: Target, pixels: Tensor) -> Channel:
    knowledge = target.knowledge
    batches = torch.split(pixels, BATCH)
    said = [knowledge.channel(batch) for batch in batches]
    known = [channel for channel in said if channel is not None]
    if len(known) == len(said):
        return joined(known)
    location = torch.cat([knowledge.expected(batch).flatten(1).float() for batch in batches])
    scale = _measured(target, location.shape[1]) if knowledge.randomized else _apart(location)
    return Channel("gaussian", location, scale.expand_as(location))


def _measured(target: Target, width: int) -> Tensor:
    """The standard deviation of the noise on each number, (d,), on the validation part."""
    drawn, knowledge = target.validation.seen.rows, target.knowledge
    pixels = target.auxiliary.pixels[target.auxiliary.validation]
    expected = torch.cat([knowledge.expected(batch).flatten(1).float() for batch in torch.split(pixels, BATCH)])
    assert drawn.shape[1] == width
    return (drawn - expected).square().mean(dim=0).sqrt().clamp_min(LEAST_SCALE)


def _apart(location: Tensor) -> Tensor:
    """Root mean square of a number's difference between an image and the one whose activation is nearest."""
    chosen = torch.linspace(0, len(location) - 1, min(NEAREST_OF, len(location))).long()
    nearest = torch.cdist(location[chosen], location).topk(2, largest=False).values[:, 1]
    return (nearest.square().mean() / location.shape[1]).sqrt().clamp_min(LEAST_SCALE)
