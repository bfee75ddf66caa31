"""The network of the decoder: a correction on top of a linear map."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.models.front import initialize

AVERAGING = 0.99
"""Decay per step of the running average of the weights: it spans about two epochs of 5,400 images."""


class Block(nn.Module):
    """x + Linear(GELU(Linear(LayerNorm(x)))), which is x itself before training."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.normalize = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        result: Tensor = x + self.out(F.gelu(self.hidden(self.normalize(x))))
        return result


class Correction(nn.Module, ABC):
    """A network whose output is added to ridge's image."""

    @abstractmethod
    def silence(self) -> None:
        """Back to the start: the output is what it is before any training, the layers before the last stay."""


class Residual(Correction):
    """Linear, residual blocks, GELU, linear: (B, d) -> (B, p).

    There is no linear path around the blocks: ridge has the best linear map already, and the noise of a randomized
    defense would go through a path that is trained anew straight to the pixels.
    """

    def __init__(
        self, inputs: int, outputs: int, *, width: int, hidden: int, blocks: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(Block(width, hidden) for _ in range(blocks)))
        self.out = nn.Linear(width, outputs)
        initialize(self, generator)
        for block in self.blocks:
            assert isinstance(block, Block)
            _zero(block.out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Whitened features (B, d) to pixels as rows (B, p)."""
        result: Tensor = self.out(self.hidden(inputs))
        return result

    def hidden(self, inputs: Tensor) -> Tensor:
        """What the last layer sees: (B, d) -> (B, width)."""
        return F.gelu(self.blocks(self.first(inputs)))

    def silence(self) -> None:
        """Make the output zero and leave the layers before it: training then starts from nothing added."""
        _zero(self.out)


@torch.no_grad()
def _zero(layer: nn.Linear) -> None:
    layer.weight.zero_()
    layer.bias.zero_()


class Training:
    """A residual network in training.

    Attributes:
        network: the weights that the optimizer moves.
        average: their running average, which scores better and more steadily.
        best: the average at the moment of the last `keep`.
    """

    def __init__(self, network: Correction) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self._steps = 0

    def after_step(self) -> None:
        """Follow a step of the optimizer."""
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
