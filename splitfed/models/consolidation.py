"""Elastic weight consolidation (Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", arXiv
1612.00796): learn something new without losing what was learned before, by holding each weight as firmly as it matters.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.models.front import Front, initialize
from splitfed.models.gan import batches
from splitfed.types import Images

FISHER_IMAGES = 256
"""Images that the Fisher information is estimated from, one gradient each."""

STEM_BATCH = 256
RATE = 0.05
MOMENTUM = 0.9
"""Of the SGD that fits a front to the client's own images."""


@dataclass(frozen=True)
class Anchor:
    """Where weights are held, and how firmly.

    Attributes:
        weights: of each parameter, by name.
        importance: the diagonal Fisher information of each, in [0, 1]: relative to the most important weight, so that a
            penalty's weight means the same whatever the network and the loss.
    """

    weights: dict[str, Tensor]
    importance: dict[str, Tensor]

    def regularizer(self, module: nn.Module) -> Tensor:
        """½ Σ F (θ − θ*)², a scalar with gradient: the second term of the paper's eq. 3, without its λ."""
        terms = [
            (self.importance[name] * (parameter - self.weights[name]).square()).sum()
            for name, parameter in module.named_parameters()
            if name in self.weights
        ]
        return torch.stack(terms).sum() / 2


@torch.enable_grad()
def consolidate(front: Front, images: Images, *, epochs: int, generator: torch.Generator) -> Anchor:
    """Fit a copy of a front to images, and measure how much each of its weights matters for them.

    The copy gets a linear layer for its output, fitted by itself first, so that its random start does not pull at the
    front. The Fisher information is that of the classes that the fitted network itself says, as in the paper.

    Args:
        front: is not changed.
        images: a client's own.
        epochs: passes over the images, for the linear layer and then for both.
        generator: draws the layer, the order of the images, and the classes.
    """
    features = _stemmed(front, images.pixels)
    body = copy.deepcopy(front.body)
    head = nn.Linear(body(features[:2]).shape[1], len(images.classes))
    initialize(head, generator)
    network = nn.Sequential(body, head)
    for part in (head, network):
        _fit(network, part, features, images.labels, epochs=epochs, generator=generator)
    chosen = torch.randperm(len(images), generator=generator)[:FISHER_IMAGES]
    return Anchor(
        weights={name: weight.detach().clone() for name, weight in _trained(body).items()},
        importance=_importance(network.eval(), body, features[chosen], generator),
    )


@torch.no_grad()
def _stemmed(front: Front, pixels: Tensor) -> Tensor:
    return torch.cat([front.stem(part) for part in torch.split(pixels, STEM_BATCH)])


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def _fit(
    network: nn.Module, part: nn.Module, features: Tensor, labels: Tensor, *, epochs: int, generator: torch.Generator
) -> None:
    """Train a part of the network to tell the labels."""
    optimizer = torch.optim.SGD(_trained(part).values(), lr=RATE, momentum=MOMENTUM)
    for _ in range(epochs):
        for rows in batches(len(labels), generator):
            network.zero_grad(set_to_none=True)
            F.cross_entropy(network(features[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _importance(network: nn.Module, body: nn.Module, features: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Mean square of each weight's gradient of the log-likelihood of one image, over the largest of all weights."""
    weights = _trained(body)
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for feature in features:
        scores = network(feature[None])
        said = torch.multinomial(scores.detach().softmax(dim=1), 1, generator=generator)[0]
        gradients = torch.autograd.grad(F.cross_entropy(scores, said), list(weights.values()))
        for square, gradient in zip(squares.values(), gradients, strict=True):
            square += gradient.square()
    largest = max(float(square.max()) for square in squares.values())
    return {name: square / max(largest, torch.finfo(square.dtype).tiny) for name, square in squares.items()}
