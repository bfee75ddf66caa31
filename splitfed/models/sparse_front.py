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

    def update_dictionary(self, own: Tensor) -> None:
        """The paper's fast update: ΔΩ ∝ R ⊛ (X − R ⊛ Ω), on those of the last training batch that are ``own``, bool
        (B,): atoms are to describe private images, and not the decoys of another defense."""
        if self._last is None:
            return
        x, codes = self._last
        self._last = None
        if not bool(own.all()):
            x, codes = x[own], codes[own]
        if len(x):
            self.layer.update_dictionary(x, codes, rate=self.rate)


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

    def after_step(self, own: Tensor) -> None:
        for module in self.body.modules():
            if isinstance(module, LearningSparseLayer):
                module.update_dictionary(own)

    def after_average(self) -> None:
        """Renormalize the atoms. Those of norm 1 stay as they are, to the bit: the codes that clients keep depend on
        the first dictionary, and dividing by 1 ± 1e-7 would only round it."""
        for layer in self.sparse_layers():
            norms = torch.linalg.vector_norm(layer.dictionary.detach(), dim=(1, 2, 3))
            if bool(((norms - 1).abs() > _ROUNDING).any()):
                layer.normalize_()


class SparseFront(SparseStemFront):
    """SCL(C→16), BatchNorm, SCL(16→28 gray, 16→32 RGB), BatchNorm, Flatten, Linear, ReLU (DESIGN, section 4).

    Args:
        shape: of an image.
        width: of the linear layers.
        hidden_layers: linear layers behind the first.
        l1_weight: λ of the first sparse layer.
        second_l1_weight: λ of the second; None for the same.
        kernel_size: edge of an atom, pixels.
        dictionary_rate: of `LearningSparseLayer`.
        convolutional: whether Conv(5×5), ReLU, MaxPool(2) stand between the second batch norm and Flatten, as behind
            the first layers of the paper's networks for color images.
        generator: draws the dictionaries.
    """

    FIRST_CHANNELS = 16
    CONVOLVED_CHANNELS = 32
    expensive = True

    def __init__(
        self,
        shape: ImageShape,
        width: int,
        hidden_layers: int = 0,
        *,
        l1_weight: float,
        second_l1_weight: float | None = None,
        kernel_size: int,
        dictionary_rate: float,
        convolutional: bool = False,
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
            self.FIRST_CHANNELS,
            out_channels,
            kernel_size=kernel_size,
            l1_weight=l1_weight if second_l1_weight is None else second_l1_weight,
            generator=generator,
        )
        features = out_channels * shape.height * shape.width
        convolution: list[nn.Module] = []
        if convolutional:
            convolution = [nn.Conv2d(out_channels, self.CONVOLVED_CHANNELS, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
            features = self.CONVOLVED_CHANNELS * (shape.height // 2) * (shape.width // 2)
        super().__init__(
            stem=first,
            body=nn.Sequential(
                nn.BatchNorm2d(self.FIRST_CHANNELS),
                LearningSparseLayer(second, dictionary_rate),
                nn.BatchNorm2d(out_channels),
                *convolution,
                nn.Flatten(),
                nn.Linear(features, width),
                nn.ReLU(),
                *hidden(width, hidden_layers),
            ),
        )
