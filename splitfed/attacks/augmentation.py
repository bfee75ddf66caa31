"""More images for an attack to learn from: mirrored and shifted copies of its own.

Whoever holds the front can ask it about any image. A decoder that sees only some thousand images soon knows them by
heart, unless a defense's noise makes each look new every time.

torchvision's transforms draw once for a whole batch, and from the generator of the process; here each image has draws
of its own, from a generator that is passed in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SHARE = 0.5
"""Of the images that are mirrored, and of those that are shifted."""
FARTHEST_SHARE = 1 / 14
"""Longest shift as a share of the image's edge: 2 pixels of 28."""


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right or not, shifted in both directions or not; edges are repeated.

    Args:
        pixels: (N, C, H, W); left as they are.
        generator: of all draws.

    Returns:
        (N, C, H, W), in the range of `pixels`.
    """
    return _shifted(_mirrored(pixels, generator), generator)


def _mirrored(pixels: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(pixels), generator=generator) < SHARE
    return torch.where(chosen[:, None, None, None], pixels.flip(-1), pixels)


def _shifted(pixels: Tensor, generator: torch.Generator) -> Tensor:
    number, channels, height, width = pixels.shape
    farthest = max(1, round(FARTHEST_SHARE * min(height, width)))
    offsets = torch.randint(2 * farthest + 1, (2, number), generator=generator)
    stay = torch.rand(number, generator=generator) >= SHARE
    offsets[:, stay] = farthest
    padded = F.pad(pixels, (farthest,) * 4, mode="replicate")
    rows = offsets[0, :, None] + torch.arange(height)
    columns = offsets[1, :, None] + torch.arange(width)
    image = torch.arange(number)[:, None, None, None]
    channel = torch.arange(channels)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
