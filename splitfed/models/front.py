"""Fronts: the layers that stay with the client. What leaves is the output of the first linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitfed.types import ImageShape


@dataclass(frozen=True)
class FrontSpec:
    """What a front has to fit.

    Attributes:
        shape: of one image.
        width: d, the numbers per image behind each linear layer.
        hidden_layers: layers (Linear(d, d), ReLU) that stay with the client behind the first linear layer: none in
            the split threat, all hidden layers of the network in the end-to-end threat.
    """

    shape: ImageShape
    width: int
    hidden_layers: int = 0


class Normalize(nn.Module):
    """[0, 1] -> [−1, 1], the same for every defense."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels * 2 - 1


class Front(nn.Module):
    """The client's part of a network, in two stages.

    ``stem`` has nothing to train: its output for an image is always the same, so a client computes it once per
    image and keeps it. ``body`` is trained.
    """

    nonnegative: ClassVar[bool] = True
    """Whether the output is never negative: as behind a ReLU."""
    expensive: ClassVar[bool] = False
    """Whether a pass over some thousand images takes many seconds."""

    def __init__(self, stem: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.stem = stem.requires_grad_(False)
        self.body = body

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in [0, 1] -> activation (B, width)."""
        activation: Tensor = self.body(self.stem(pixels))
        return activation

    def trace(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The body's output for the stem's, and what its ReLUs gave on the way, the last included."""
        hidden_outputs = []
        for module in self.body if isinstance(self.body, nn.Sequential) else [self.body]:
            features = module(features)
            if isinstance(module, nn.ReLU):
                hidden_outputs.append(features)
        return features, tuple(hidden_outputs)

    def after_step(self, own: Tensor) -> None:
        """Called after each optimizer step: updates that are not gradient steps.

        Args:
            own: bool, (B,), which images of the step are the client's own; a defense generated the others.
        """

    def after_average(self) -> None:
        """Called when averaged weights were loaded: restores what an average breaks."""


class PlainFront(Front):
    """Flatten, Linear(C·H·W, width), ReLU (DESIGN, section 4), then hidden layers that stay with the client."""

    def __init__(self, shape: ImageShape, width: int, hidden_layers: int = 0) -> None:
        super().__init__(
            stem=nn.Sequential(Normalize(), nn.Flatten()),
            body=nn.Sequential(nn.Linear(shape.pixels, width), nn.ReLU(), *hidden(width, hidden_layers)),
        )


def hidden(width: int, layers: int) -> list[nn.Module]:
    """So many hidden layers: Linear(width, width), ReLU each."""
    return [module for _ in range(layers) for module in (nn.Linear(width, width), nn.ReLU())]


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all linear and convolutional layers from `generator`: uniform within ±1/√fan_in, PyTorch's
    own range."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=generator)
