"""Two linear, two convolutional or two sparse coding layers: what figure 6 of arXiv 2403.14772 compares.

Each is a front, from pixels to features as rows; a classifier stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

import torch
from torch import nn

from splitfed.models.front import Front, Normalize, PlainFront, initialize
from splitfed.models.sparse_front import SparseFront, SparseStemFront
from splitfed.types import ImageShape

KERNEL_SIZE = 5
L1_WEIGHT = 0.5
"""λ of both sparse coding layers, the strongest setting of the paper and the default of the defense `sca`."""
DICTIONARY_RATE = 0.2
"""Of the fast update of the second dictionary; the default of `sca`."""

Build = Callable[[ImageShape, int, torch.Generator], Front]
"""Builds a front from the shape of an image, the width of linear layers, and what draws the weights."""


def two_linear_layers(shape: ImageShape, width: int, generator: torch.Generator) -> Front:
    """Flatten, then twice (Linear, ReLU): features (B, width)."""
    front = PlainFront(shape, width, hidden_layers=1)
    initialize(front, generator)
    return front


def two_convolutional_layers(shape: ImageShape, _width: int, generator: torch.Generator) -> Front:
    """Twice (Conv2d, ReLU), as many features and as large kernels as in `SparseFront`: (B, features·H·W)."""
    first, second = SparseFront.FIRST_CHANNELS, sparse_channels(shape)
    body = nn.Sequential(
        nn.Conv2d(shape.channels, first, KERNEL_SIZE, padding=KERNEL_SIZE // 2),
        nn.ReLU(),
        nn.Conv2d(first, second, KERNEL_SIZE, padding=KERNEL_SIZE // 2),
        nn.ReLU(),
        nn.Flatten(),
    )
    _initialize_convolutions(body, generator)
    return Front(stem=Normalize(), body=body)


def two_sparse_layers(shape: ImageShape, _width: int, generator: torch.Generator) -> SparseStemFront:
    """Twice (sparse coding layer, BatchNorm), those of `SparseFront`, before its linear layer: (B, features·H·W)."""
    whole = SparseFront(
        shape,
        width=1,  # of the linear layer, which is left away
        l1_weight=L1_WEIGHT,
        kernel_size=KERNEL_SIZE,
        dictionary_rate=DICTIONARY_RATE,
        generator=generator,
    )
    layers = takewhile(lambda layer: not isinstance(layer, nn.Linear), whole.body.children())
    return SparseStemFront(stem=whole.stem, body=nn.Sequential(*layers))


def sparse_channels(shape: ImageShape) -> int:
    """Features of the second sparse coding layer (DESIGN, section 4)."""
    return 28 if shape.channels == 1 else 32


TWO_LAYERS: dict[str, Build] = {
    "two linear layers": two_linear_layers,
    "two convolutional layers": two_convolutional_layers,
    "two sparse coding layers": two_sparse_layers,
}


@torch.no_grad()
def _initialize_convolutions(module: nn.Module, generator: torch.Generator) -> None:
    """As `initialize` does linear layers: uniform within ±1/√fan_in, PyTorch's own range."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=generator)
