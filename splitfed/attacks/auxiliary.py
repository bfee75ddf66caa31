"""The attacker's own images, split once into a part to fit on and a part to judge by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.attacks.seen import Seen
from splitfed.errors import AttackError
from splitfed.types import ImageShape, Knowledge

VALIDATION_EVERY = 10
"""One image of so many is for validation."""
FEWEST_IMAGES = 20
"""Below this the validation part would hold a single image."""
BATCH = 512
"""Images per query of the front or of a network: sparse fronts need memory in proportion."""

Predict = Callable[[Seen], Tensor]
"""What was seen of B images to pixels as rows (B, C·H·W)."""


@dataclass(frozen=True)
class Auxiliary:
    """The auxiliary pixels and which of them are for what.

    The split is made once and kept from front to front: weights that were fitted on an image must never be
    judged by it.

    Attributes:
        pixels: float32, (N, C, H, W), in [0, 1]; all of them, as the attacker got them.
        labels: int64, (N,).
        classes: how many there are.
        fit: positions to fit on.
        validation: positions to judge by: the penalty, the plateau, the strongest attack.
    """

    pixels: Tensor
    labels: Tensor
    classes: int
    fit: Tensor
    validation: Tensor

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width."""
        return ImageShape(*self.pixels.shape[1:])


@dataclass(frozen=True)
class Pairs:
    """What was seen and the images behind it.

    Attributes:
        seen: one draw of the defense's randomness.
        targets: float32, (n, C·H·W), in [0, 1].
    """

    seen: Seen
    targets: Tensor

    @property
    def features(self) -> Tensor:
        """float32, (n, d)."""
        return self.seen.features

    @property
    def labels(self) -> Tensor:
        """int64, (n,)."""
        return self.seen.labels

    def __getitem__(self, places: Tensor) -> Pairs:
        return Pairs(self.seen[places], self.targets[places])


def split_auxiliary(knowledge: Knowledge, *, before: Auxiliary | None) -> Auxiliary:
    """The split of the attacker's images: of each ten in a row, one drawn by lot is for validation.

    What an image is for depends on its place alone, so an attack that was shown more and more images has the same split
    as one that sees all of them at once. ``before`` is the split with the front before.

    Raises:
        AttackError: fewer than `FEWEST_IMAGES` images, or they do not begin with those of ``before``.
    """
    images = knowledge.auxiliary
    pixels = images.pixels
    number = int(pixels.shape[0])
    known = 0 if before is None else int(before.pixels.shape[0])
    if before is not None and not torch.equal(pixels[:known], before.pixels):
        raise AttackError("the auxiliary images do not begin with those of the front before: make a new attack")
    if number < FEWEST_IMAGES:
        raise AttackError(f"{number} auxiliary images: an attack needs at least {FEWEST_IMAGES}")
    tens = torch.arange(0, number, VALIDATION_EVERY)
    lots = torch.randint(VALIDATION_EVERY, (len(tens),), generator=torch.Generator().manual_seed(0))
    drawn = tens + lots
    held_out = torch.zeros(number, dtype=torch.bool)
    held_out[drawn[drawn < number]] = True
    fit, validation = torch.nonzero(~held_out)[:, 0], torch.nonzero(held_out)[:, 0]
    return Auxiliary(pixels, images.labels, len(images.classes), fit, validation)


@torch.no_grad()
def observe(knowledge: Knowledge, pixels: Tensor, labels: Tensor, generator: torch.Generator) -> Pairs:
    """What the tap would see of these images: one draw of the defense's randomness."""
    parts = [knowledge.observe(batch, generator).flatten(1).float() for batch in torch.split(pixels, BATCH)]
    rows = torch.cat(parts)
    return Pairs(Seen(rows, knowledge.features(rows), labels), pixels.flatten(1))


def others_than(places: Tensor, number: int) -> Tensor:
    """The positions of so many that are not among ``places``, ascending."""
    kept = torch.ones(number, dtype=torch.bool)
    kept[places] = False
    return torch.nonzero(kept)[:, 0]


@torch.no_grad()
def predict_rows(predict: Predict, seen: Seen) -> Tensor:
    """A predictor over much that was seen, batch by batch: (n, C·H·W)."""
    return torch.cat([predict(batch) for batch in seen.split(BATCH)])
