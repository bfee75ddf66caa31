"""Descent over latents: the published method's Adam, through the classifier itself or one that was taught to be it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from splitfed.generators import ImageGenerator
from splitfed.inversion.crops import Crops
from splitfed.inversion.losses import LOSSES
from splitfed.inversion.options import PlugAndPlayOptions

DECAY_AT = (0.6, 0.8)
"""Shares of the steps at which the learning rate falls to a tenth (published: 30 and 40 of 50)."""
DECAY = 0.1


class DescentStep(NamedTuple):
    """Where the latents stand.

    Attributes:
        number: of steps taken, from 0.
        latents: (B, ...).
        images: what was made of them, (B, C, H, W).
        loss: at a crop of these images, (B,); after the last step, that before it.
        confidence: what the classifier that is descended through gives the wanted class there, (B,).
    """

    number: int
    latents: Tensor
    images: Tensor
    loss: Tensor
    confidence: Tensor


def descend(
    latents: Tensor,
    wanted: Tensor,
    classify: Callable[[Tensor], Tensor],
    generator: ImageGenerator,
    options: PlugAndPlayOptions,
    draws: torch.Generator,
    *,
    first_step: int = 0,
    last_step: int | None = None,
) -> Iterator[DescentStep]:
    """The latents before each step; each is optimized by itself.

    Args:
        latents: to start from, (B, ...).
        wanted: the class that each is to be of, int64, (B,).
        classify: images to logits, differentiably.
        generator: makes the images, and knows where latents lie.
        options: loss, steps, learning rate, crops, and whether latents are held.
        draws: of the crops.
        first_step: where in the schedule to begin.
        last_step: where to end; by default after all steps.
    """
    here = latents.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([here], betas=options.betas)
    crops = Crops(generator.shape, options.crop_scale, options.crop_ratio)
    for number in range(first_step, options.steps if last_step is None else last_step):
        with torch.enable_grad():
            images = generator.synthesize(here)
            logits = classify(crops(images, draws))
            loss = LOSSES[options.loss](logits, wanted)
            # asked for, not accumulated: the classifier's own weights have no part in this
            (here.grad,) = torch.autograd.grad(loss.sum(), [here])
        confidence = logits.detach().softmax(dim=1).gather(1, wanted[:, None])[:, 0]
        yield DescentStep(number, here.detach().clone(), images.detach(), loss.detach(), confidence)
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * DECAY ** sum(number >= at * options.steps for at in DECAY_AT)
        optimizer.step()
        if options.hold:
            with torch.no_grad():
                here.copy_(generator.prior.hold(here))
    with torch.no_grad():
        images = generator.synthesize(here)
    yield DescentStep(number + 1, here.detach().clone(), images, loss.detach(), confidence)
