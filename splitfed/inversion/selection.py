"""Where to start, and which images are shown in the end: both by what the classifier says of them.

Source: Struppek et al. 2022, sections 3.2 and 3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.generators import ImageGenerator, images_of
from splitfed.inversion.crops import Crops
from splitfed.inversion.options import PlugAndPlayOptions
from splitfed.inversion.oracle import BudgetExhausted, Oracle
from splitfed.types import ImageShape

OnAnswers = Callable[[int, Tensor, Tensor], None]
"""Told how many of the pool's latents have been asked about, the images of the last question, and the answers."""


@dataclass(frozen=True)
class Pool:
    """Latents drawn from the prior, with what the classifier says of their images.

    Attributes:
        latents: (P, ...).
        confidence: (P, K), mean over an image and, if wanted, its mirror image.
        owners: the class that each was drawn for, int64, (P,); None where they were drawn for none.
        exhausted: the message of whoever answered no more before all of the pool was asked about; empty otherwise.
    """

    latents: Tensor
    confidence: Tensor
    owners: Tensor | None
    exhausted: str = ""

    def of_class(self, label: int) -> Tensor:
        """The positions of the latents that may stand for a class: all, or those that were drawn for it."""
        if self.owners is None:
            return torch.arange(len(self.latents))
        return torch.nonzero(self.owners == label)[:, 0]

    def best(self, label: int, count: int) -> Tensor:
        """The positions of those with the highest confidence, best first; all where there are fewer."""
        own = self.of_class(label)
        return own[self.confidence[own, label].argsort(descending=True, stable=True)[:count]]


def draw_pool(
    generator: ImageGenerator,
    oracle: Oracle,
    options: PlugAndPlayOptions,
    draws: torch.Generator,
    on_answers: OnAnswers,
) -> Pool:
    """Draw a pool and ask about all of it; a generator that knows the classes draws as many latents for each.

    Where the target answers no more, the pool is what was asked about until then.

    Raises:
        BudgetExhausted: before there was a latent for each class.
    """
    latents, owners = _drawn(generator, options.pool_size, oracle.classes, draws)
    parts: list[Tensor] = []
    exhausted = ""
    for start in range(0, len(latents), options.batch_size):
        images = images_of(generator, latents[start : start + options.batch_size])
        views = [images, images.flip(-1)] if options.mirror else [images]
        try:
            answers = [oracle.probabilities(view) for view in views]
        except BudgetExhausted as end:
            if not parts or (owners is not None and len(torch.unique(owners[:start])) < oracle.classes):
                raise
            exhausted = str(end)
            break
        parts.append(torch.stack(answers).mean(dim=0))
        on_answers(start + len(images), torch.cat(views), torch.cat(answers))
    asked = sum(map(len, parts))
    return Pool(latents[:asked], torch.cat(parts), None if owners is None else owners[:asked], exhausted)


def questions(options: PlugAndPlayOptions) -> int:
    """Images that the pool asks about."""
    return options.pool_size * (2 if options.mirror else 1)


def confidence_under_transforms(
    images: Tensor, label: int, oracle: Oracle, options: PlugAndPlayOptions, draws: torch.Generator
) -> Tensor:
    """What the classifier gives a class, mean over random transforms of each image, (B,), in [0, 1].

    All images get the same transforms, so that they are compared fairly. Of a classifier that answers labels it is the
    share of the transforms under which it names the class.

    Raises:
        BudgetExhausted: fewer questions are left than images times transforms; none was asked.
    """
    oracle.reserve(len(images) * options.transforms)
    crops = Crops(ImageShape(*images.shape[1:]), options.final_scale, options.final_ratio, options.final_flip)
    total = torch.zeros(len(images))
    for _ in range(options.transforms):
        views = torch.split(crops(images, draws), options.batch_size)
        total += torch.cat([oracle.probabilities(view)[:, label] for view in views])
    return total / options.transforms


def _drawn(generator: ImageGenerator, size: int, classes: int, draws: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Latents, and the class that each was drawn for; None where they were drawn for none."""
    if not generator.labeled:
        return generator.sample(size, draws), None
    each = -(-size // classes)
    latents = torch.cat([generator.sample(each, draws, label) for label in range(classes)])
    owners = torch.arange(classes).repeat_interleave(each)
    mixed = torch.randperm(len(owners), generator=draws)  # so that a pool that is cut off has all of them
    return latents[mixed], owners[mixed]
