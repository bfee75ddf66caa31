"""The network of the decoder: a correction on top of a linear map."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.models.front import initialise

AVERAGING = 0.99
"""Decay per step of the running average of the weights: it spans about two epochs of 5,400 images."""


class Residual(nn.Module):
    """One hidden layer with a linear path around it: (B, d) -> (B, p).

    Deeper or convolutional networks cost more time than they gained here.
    """

    def __init__(self, inputs: int, width: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.out = nn.Linear(width, outputs)
        self.around = nn.Linear(inputs, outputs, bias=False)
        initialise(self, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Whitened features (B, d) to pixels as rows (B, p)."""
        result: Tensor = self.out(F.relu(self.hidden(inputs))) + self.around(inputs)
        return result

    @torch.no_grad()
    def silence(self) -> None:
        """Make the output zero and leave the hidden layer as it is: training then starts from nothing added."""
        for weight in (self.out.weight, self.out.bias, self.around.weight):
            weight.zero_()


class Training:
    """A residual network in training.

    Attributes:
        network: the weights that the optimiser moves.
        average: their running average, which scores better and more steadily.
        best: the average at the moment of the last `keep`.
    """

    def __init__(self, network: Residual) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self._steps = 0

    def after_step(self) -> None:
        """Follow a step of the optimiser."""
        self._steps += 1
        # a plain mean at first, so that a short training is not dominated by its start
        decay = min(AVERAGING, self._steps / (self._steps + 10))
        for average, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - decay)

    def keep(self) -> None:
        """Take the present average as the best."""
        self.best.load_state_dict(self.average.state_dict())

    def resume(self) -> None:
        """Go on from the best."""
        self.network.load_state_dict(self.best.state_dict())
        self.average.load_state_dict(self.best.state_dict())

    def silence(self) -> None:
        """Start from nothing added, in all three."""
        for network in (self.network, self.average, self.best):
            network.silence()
