"""The front of the sparse coding architecture: sparse layers, batch norms, then the linear layer that is tapped."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitfed.models.front import Front, hidden
from splitfed.models.sparse import SparseCodingLayer
from splitfed.types import ImageShape

_ROUNDING = 1e-6
"""How far from 1 the norm of a normalized atom may be in float32."""


class LearningSparseLayer(nn.Module):
    """A sparse coding layer that remembers its last batch, for the dictionary update after the optimizer step."""

    def __init__(self, layer: SparseCodingLayer, rate: float) -> None:
        super().__init__()
        self.layer = layer
        self.rate = rate
        self._last: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        codes: Tensor = self.layer(x)
        if self.training:
            self._last = x.detach(), codes.detach()
        return codes

    def update_dictionary(self) -> None:
        """The paper's fast update: ΔΩ ∝ R ⊛ (X − R ⊛ Ω), on the last training batch."""
        if self._last is not None:
            self.layer.update_dictionary(*self._last, rate=self.rate)
            self._last = None


class SparseStemFront(Front):
    """A front that begins with a sparse coding layer.

    The first dictionary is learned before training and then fixed, so its codes belong to the stem: a client computes
    them once per image. Later dictionaries learn twice: by the implicit gradient, and by the fast update after each
    step (paper, section 3).
    """

    @property
    def first_layer(self) -> SparseCodingLayer:
        """The layer whose dictionary is learned once, before training."""
        assert isinstance(self.stem, SparseCodingLayer)
        return self.stem

    def sparse_layers(self) -> list[SparseCodingLayer]:
        """All sparse coding layers, from the image on."""
        return [module for module in self.modules() if isinstance(module, SparseCodingLayer)]

    def after_step(self) -> None:
        for module in self.body.modules():
            if isinstance(module, LearningSparseLayer):
                module.update_dictionary()

    def after_average(self) -> None:
        """Renormalize the atoms. Those of norm 1 stay as they are, to the bit: the codes that clients keep depend on
        the first dictionary, and dividing by 1 ± 1e-7 would only round it."""
        for layer in self.sparse_layers():
            norms = torch.linalg.vector_norm(layer.dictionary.detach(), dim=(1, 2, 3))
            if bool(((norms - 1).abs() > _ROUNDING).any()):
                layer.normalize_()


class SparseFront(SparseStemFront):
    """SCL(C→16), BatchNorm, SCL(16→28 gray, 16→32 RGB), BatchNorm, Flatten, Linear, ReLU (DESIGN, section 4)."""

    FIRST_CHANNELS = 16
    expensive = True

    def __init__(
        self,
        shape: ImageShape,
        width: int,
        hidden_layers: int = 0,
        *,
        l1_weight: float,
        kernel_size: int,
        dictionary_rate: float,
        generator: torch.Generator,
    ) -> None:
        out_channels = 28 if shape.channels == 1 else 32
        first = SparseCodingLayer(
            shape.channels,
            self.FIRST_CHANNELS,
            kernel_size=kernel_size,
            l1_weight=l1_weight,
            generator=generator,
        )
        second = SparseCodingLayer(
            self.FIRST_CHANNELS, out_channels, kernel_size=kernel_size, l1_weight=l1_weight, generator=generator
        )
        super().__init__(
            stem=first,
            body=nn.Sequential(
                nn.BatchNorm2d(self.FIRST_CHANNELS),
                LearningSparseLayer(second, dictionary_rate),
                nn.BatchNorm2d(out_channels),
                nn.Flatten(),
                nn.Linear(out_channels * shape.height * shape.width, width),
                nn.ReLU(),
                *hidden(width, hidden_layers),
            ),
        )
