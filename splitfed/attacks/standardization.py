"""Images as a sparse coding layer sees them: each with mean 0 and variance 1, and what is lost on the way."""

from __future__ import annotations

import torch
from torch import Tensor

FLATTEST = 1e-3
"""Standard deviation below which an image counts as this flat: 8 bits of gray levels are 4e-3 apart."""


def moments(pixels: Tensor) -> Tensor:
    """Mean and logarithm of the standard deviation of each image's pixels as rows (B, p): (B, 2)."""
    scale = pixels.std(dim=1, correction=0).clamp_min(FLATTEST)
    return torch.stack([pixels.mean(dim=1), scale.log()], dim=1)


def standardized(pixels: Tensor) -> Tensor:
    """Pixels as rows (B, p), each image with mean 0 and variance 1, then its `moments`: (B, p + 2)."""
    lost = moments(pixels)
    return torch.cat([(pixels - lost[:, :1]) / lost[:, 1:].exp(), lost], dim=1)


def pixels_of(rows: Tensor) -> Tensor:
    """What `standardized` took apart, (B, p + 2), as pixels (B, p)."""
    return rows[:, :-2] * rows[:, -1:].exp() + rows[:, -2:-1]
