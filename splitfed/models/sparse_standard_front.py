"""The front of the paper's ablation "Sparse-Standard": one sparse layer, then the linear layer that is tapped."""

from __future__ import annotations

import torch
from torch import nn

from splitfed.models.front import hidden
from splitfed.models.sparse import SparseCodingLayer
from splitfed.models.sparse_front import SparseStemFront
from splitfed.types import ImageShape


class SparseStandardFront(SparseStemFront):
    """SCL(C→16), Flatten, Linear, ReLU (DESIGN, section 4): no batch norm, and no second sparse layer."""

    OUT_CHANNELS = 16

    def __init__(
        self,
        shape: ImageShape,
        width: int,
        hidden_layers: int = 0,
        *,
        l1_weight: float,
        kernel_size: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            stem=SparseCodingLayer(
                shape.channels, self.OUT_CHANNELS, kernel_size=kernel_size, l1_weight=l1_weight, generator=generator
            ),
            body=nn.Sequential(
                nn.Flatten(),
                nn.Linear(self.OUT_CHANNELS * shape.height * shape.width, width),
                nn.ReLU(),
                *hidden(width, hidden_layers),
            ),
        )
