"""Confidence intervals over images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

RESAMPLES = 1000
"""Enough that the ends of a 95 % interval move by a few percent of its width from one seed to another."""


def bootstrap_ci95(values: Tensor, *, seed: int) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of ``values``, (B,), in their own unit.

    Raises:
        ValueError: there is no value.

    >>> import torch
    >>> bootstrap_ci95(torch.full((10,), 3.0), seed=0)
    (3.0, 3.0)
    """
    sample = values.detach().cpu().double().numpy()
    if sample.size == 0:
        raise ValueError("a bootstrap needs at least one value")
    rng = np.random.default_rng(seed)
    means = [sample[rng.integers(0, sample.size, sample.size)].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
