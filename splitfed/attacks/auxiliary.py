"""The attacker's own images, split once into a part to fit on and a part to judge by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.errors import AttackError
from splitfed.types import ImageShape, Knowledge

VALIDATION_SHARE = 0.1
FEWEST_IMAGES = 20
"""Below this the validation part would hold a single image."""
BATCH = 512
"""Images per query of the front or of a network: sparse fronts need memory in proportion."""

Predict = Callable[[Tensor], Tensor]
"""Features (B, d) to pixels as rows (B, C·H·W)."""


@dataclass(frozen=True)
class Auxiliary:
    """The auxiliary pixels and which of them are for what.

    The split is made once and kept from front to front: weights that were fitted on an image must never be
    judged by it.

    Attributes:
        pixels: float32, (N, C, H, W), in [0, 1]; all of them, as the attacker got them.
        fit: positions to fit on.
        validation: positions to judge by: the penalty, the plateau, the strongest attack.
    """

    pixels: Tensor
    fit: Tensor
    validation: Tensor

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width."""
        return ImageShape(*self.pixels.shape[1:])


@dataclass(frozen=True)
class Pairs:
    """Activations and the images behind them.

    Attributes:
        features: float32, (n, d), one draw of the defense's randomness.
        targets: float32, (n, C·H·W), in [0, 1].
    """

    features: Tensor
    targets: Tensor

    def mse(self, predict: Predict) -> float:
        """Mean squared error of a predictor, over all pixels."""
        return float((predict_rows(predict, self.features) - self.targets).square().mean())


def split_auxiliary(knowledge: Knowledge, generator: torch.Generator, *, before: Auxiliary | None) -> Auxiliary:
    """The split of the attacker's images: the one of ``before``, else a new one drawn from ``generator``.

    Raises:
        AttackError: fewer than `FEWEST_IMAGES` images, or others than those of ``before``.
    """
    pixels = knowledge.auxiliary.pixels
    if before is not None:
        if not torch.equal(pixels, before.pixels):
            raise AttackError("the auxiliary images changed between two fronts: begin anew with a new attack")
        return before
    count = int(pixels.shape[0])
    if count < FEWEST_IMAGES:
        raise AttackError(f"{count} auxiliary images: an attack needs at least {FEWEST_IMAGES}")
    order = torch.randperm(count, generator=generator)
    held_out = round(VALIDATION_SHARE * count)
    return Auxiliary(pixels, fit=order[held_out:], validation=order[:held_out])


@torch.no_grad()
def observe(knowledge: Knowledge, pixels: Tensor, generator: torch.Generator) -> Pairs:
    """What the tap would see of these images: one draw of the defense's randomness."""
    parts = [knowledge.observe(batch, generator).flatten(1).float() for batch in torch.split(pixels, BATCH)]
    return Pairs(torch.cat(parts), pixels.flatten(1))


@torch.no_grad()
def predict_rows(predict: Predict, features: Tensor) -> Tensor:
    """A predictor over many features, batch by batch: (n, C·H·W)."""
    return torch.cat([predict(batch) for batch in torch.split(features, BATCH)])
