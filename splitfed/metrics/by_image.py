"""Scores of single images, as a client tells them that alone holds the originals: rounded, so that they tell less."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.metrics.per_image import METRICS

DECIMALS = {"psnr_db": 1, "ssim": 2, "ssim_cropped": 2}
"""That are told of each score. A mean over some hundred images is off by less than a table shows."""


def told_scores(reconstructions: Tensor, originals: Tensor) -> dict[str, Tensor]:
    """Each of `METRICS` that applies to images of this size, by name: float64, (N,), rounded to `DECIMALS`.

    Args:
        reconstructions: float32, (N, C, H, W), in [0, 1].
        originals: the same shape and order.

    >>> {name: values.tolist() for name, values in told_scores(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)).items()}
    {'psnr_db': [0.0], 'ssim': [0.0]}
    """
    return {
        name: torch.round(metric.of_images(reconstructions, originals).double(), decimals=DECIMALS[name])
        for name, metric in METRICS.items()
        if metric.applies_to(originals)
    }
